"""A prompt or a picture to what conditions the networks: CLIP's vector, or its grid of patch tokens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import memory, models, weights
from .errors import InvalidRequest
from .importing import import_open_clip

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
STARTER_MERGES = Path(__file__).parent / "starter" / "merges.txt.gz"
REMEMBERED = 256  # text vectors kept, by prompt


class Clip:
    """A CLIP network with its tokenizer and preprocessing.

    Parameters
    ----------
    network
        An `open_clip.CLIP`.
    tokenizer
        (B prompts) -> (B, context) int64, cut to the context with the end token last.
    """

    def __init__(self, network: nn.Module, tokenizer: Callable[[list[str]], Tensor]) -> None:
        self.network: Any = network
        self._tokenizer = tokenizer
        self._texts: OrderedDict[str, Tensor] = OrderedDict()

    @classmethod
    def load(cls, name: str, device: str, folders: weights.Folders) -> Clip:
        """The checkpoint `name` on `device`; the one already in memory if it is there.

        Raises
        ------
        MissingPackage, MissingModel, DamagedModel
        """

        def make() -> Clip:
            config = models.ARCHITECTURES[models.CHECKPOINTS[name].architecture].config
            tokenizer = build_tokenizer(config, STARTER_MERGES if name.startswith("starter") else None)
            return cls(memory.load(name, device, folders), tokenizer)

        return memory.keep((cls, name, device, folders), make)

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        device: torch.device = self.network.logit_scale.device
        return device

    @property
    def dimension(self) -> int:
        """Width D of a text or image vector."""
        return int(self.network.visual.output_dim)

    @property
    def width(self) -> int:
        """Width C of a patch token."""
        return int(self.network.visual.class_embedding.shape[0])

    @property
    def cells(self) -> int:
        """Number L of patch tokens."""
        rows, columns = self.network.visual.grid_size
        return int(rows * columns)

    @property
    def side(self) -> int:
        """Pixels along each side of a preprocessed picture."""
        return int(self.network.visual.image_size[0])

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """(B, context) int64 tokens; what is too long is cut, the end token stays last."""
        return self._tokenizer(list(prompts))

    def preprocess(self, image: np.ndarray) -> Tensor:
        """A picture as the network wants it, as OpenAI's preprocessing.

        Parameters
        ----------
        image
            (H, W, 3 or 4) uint8 sRGB; alpha is laid over white.

        Returns
        -------
        (3, side, side) float32: the shorter side fitted, the centre kept, normalised.
        """
        from PIL import Image

        if image.ndim != 3 or image.shape[2] not in (3, 4) or image.dtype != np.uint8 or 0 in image.shape:
            raise InvalidRequest("A picture must be an array of height × width × 3 or 4 bytes.")
        picture = Image.fromarray(image)
        if image.shape[2] == 4:
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture).convert("RGB")
        width, height = (self.side * length // min(picture.size) for length in picture.size)
        fitted = picture.resize((width, height), Image.Resampling.BICUBIC)
        left, top = round((width - self.side) / 2), round((height - self.side) / 2)
        middle = fitted.crop((left, top, left + self.side, top + self.side))
        pixels = torch.from_numpy(np.array(middle)).permute(2, 0, 1)
        return normalise(pixels.float() / 255.0)

    @torch.inference_mode()
    def text(self, prompts: Sequence[str]) -> Tensor:
        """(B, D) float32 vectors of the prompts, L2-normalised; remembered by prompt."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._texts]
        if new:
            vectors = self.network.encode_text(self.tokenize(new).to(self.device), normalize=True)
            self._texts.update(zip(new, vectors.float(), strict=True))
        result = torch.stack([self._texts[prompt] for prompt in prompts])
        while len(self._texts) > REMEMBERED:
            self._texts.popitem(last=False)
        return result

    @torch.inference_mode()
    def image(self, images: Sequence[np.ndarray]) -> Tensor:
        """(B, D) float32 vectors of the pictures, L2-normalised."""
        vectors: Tensor = self.network.encode_image(self._pixels(images), normalize=True)
        return vectors.float()

    @torch.inference_mode()
    def grid(self, images: Sequence[np.ndarray]) -> Tensor:
        """(B, C, L) float32 patch tokens before the final norm, row by row, without the class token."""
        output = self.network.visual.forward_intermediates(
            self._pixels(images), indices=1, intermediates_only=True, output_fmt="NLC"
        )
        tokens: Tensor = output["image_intermediates"][-1]  # (B, L, C)
        return tokens.transpose(1, 2).contiguous().float()

    def _pixels(self, images: Sequence[np.ndarray]) -> Tensor:
        return torch.stack([self.preprocess(image) for image in images]).to(self.device)


def normalise(pixels: Tensor) -> Tensor:
    """RGB in [0, 1], (..., 3, H, W), shifted and scaled by the statistics of CLIP's training pictures."""
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (pixels - mean) / std


def build_network(config: Mapping[str, Any]) -> nn.Module:
    """The bare `open_clip.CLIP` of `config`, its tensors under OpenAI's names; on "meta" without values.

    Raises
    ------
    MissingPackage
        open_clip or something it needs is not installed.
    """
    network: nn.Module = import_open_clip().CLIP(**config)
    if network.attn_mask.device.type == "meta":
        # The causal mask belongs to no checkpoint, so nothing would fill it in.
        with torch.device("cpu"):
            network.attn_mask = torch.full(network.attn_mask.shape, -torch.inf).triu(1)
    return network


def build_tokenizer(config: Mapping[str, Any], merges: Path | None = None) -> Callable[[list[str]], Tensor]:
    """The tokenizer for a network of `config`; `merges` is a gzipped list of pairs, OpenAI's if `None`."""
    simple = import_open_clip().SimpleTokenizer
    options = {} if merges is None else {"bpe_path": str(merges)}
    context = config["text_cfg"]["context_length"]
    tokenizer: Callable[[list[str]], Tensor] = simple(context_length=context, **options)
    return tokenizer
