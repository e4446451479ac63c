"""A prompt or a picture to what conditions the networks: CLIP's vector, or its grid of patch tokens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from . import memory, models, weights
from .errors import InvalidRequest
from .importing import import_open_clip

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
STARTER_MERGES = Path(__file__).parent / "starter" / "merges.txt.gz"
Tower = Literal["text", "visual"]
State = Mapping[str, Tensor]
Tokenizer = Callable[[list[str]], Tensor]

REMEMBERED = 256  # text vectors kept, by prompt


class Clip(nn.Module):
    """A CLIP network with its tokenizer and preprocessing.

    Parameters
    ----------
    network
        An `open_clip.CLIP`.
    tokenizer
        (B prompts) -> (B, context) int64, cut to the context with the end token last.
    bring
        Where `network` is on "meta": the tensors of one of its towers, asked for when that is first used.
    """

    def __init__(
        self, network: nn.Module, tokenizer: Tokenizer, bring: Callable[[Tower], State] | None = None
    ) -> None:
        super().__init__()
        self.network: Any = network
        self._tokenizer = tokenizer
        self._bring = bring
        self._brought: set[Tower] = set()
        self._texts: OrderedDict[str, Tensor] = OrderedDict()

    @classmethod
    def load(cls, name: str, device: str, folders: weights.Folders) -> Clip:
        """The checkpoint `name` for `device`, float32; the one already in memory if it is there.

        A prompt needs no eyes and a picture no words: either tower is loaded when it is first used, which
        raises what `weights.load_state` does.

        Raises
        ------
        MissingPackage
        """

        def make() -> Clip:
            architecture = models.CHECKPOINTS[name].architecture
            network: Any = models.build(architecture, "meta").eval().requires_grad_(False)
            network.attn_mask = network.attn_mask.to(device)
            merges = STARTER_MERGES if name.startswith("starter") else None
            tokenizer = build_tokenizer(models.ARCHITECTURES[architecture].config, merges)
            return cls(network, tokenizer, lambda tower: _tensors(tower, name, device, folders))

        return memory.keep(memory.Key(name, device, folders, cls.__name__), make)

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
            network = self.tower("text")
            tokens = self.tokenize(new).to(network.positional_embedding.device)
            vectors = network.encode_text(tokens, normalize=True)
            self._texts.update(zip(new, vectors.float(), strict=True))
        result = torch.stack([self._texts[prompt] for prompt in prompts])
        while len(self._texts) > REMEMBERED:
            self._texts.popitem(last=False)
        return result

    @torch.inference_mode()
    def image(self, images: Sequence[np.ndarray]) -> Tensor:
        """(B, D) float32 vectors of the pictures, L2-normalised."""
        network = self.tower("visual")
        vectors: Tensor = network.encode_image(self._pixels(images), normalize=True)
        return vectors.float()

    @torch.inference_mode()
    def grid(self, images: Sequence[np.ndarray]) -> Tensor:
        """(B, C, L) float32 patch tokens before the final norm, row by row, without the class token."""
        network = self.tower("visual")
        output = network.visual.forward_intermediates(
            self._pixels(images), indices=1, intermediates_only=True, output_fmt="NLC"
        )
        tokens: Tensor = output["image_intermediates"][-1]  # (B, L, C)
        return tokens.transpose(1, 2).contiguous().float()

    def tower(self, tower: Tower) -> Any:
        """The network, with the values of one of its towers; they are loaded here at the first time."""
        if self._bring is not None and tower not in self._brought:
            self.network.load_state_dict(self._bring(tower), strict=False, assign=True)
            self._brought.add(tower)
        return self.network

    def _pixels(self, images: Sequence[np.ndarray]) -> Tensor:
        pixels = torch.stack([self.preprocess(image) for image in images])
        return pixels.to(self.network.visual.class_embedding.device)


def _tensors(tower: Tower, name: str, device: str, folders: weights.Folders) -> State:
    """What belongs to a tower of the checkpoint `name`, on a device."""
    state = weights.load_state(name, folders).items()
    own = {key: value for key, value in state if key.startswith("visual.") == (tower == "visual")}
    # The table of words is looked up, not computed with: what is found there is widened by open_clip.
    kept = {key: value.to(device) for key, value in own.items() if key == "token_embedding.weight"}
    return {key: value.to(device, torch.float32) for key, value in own.items() if key not in kept} | kept


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
    network: nn.Module = import_open_clip("model").CLIP(**config)
    if network.attn_mask.device.type == "meta":
        # The causal mask belongs to no checkpoint, so nothing would fill it in.
        with torch.device("cpu"):
            network.attn_mask = torch.full(network.attn_mask.shape, -torch.inf).triu(1)
    return network


def build_tokenizer(config: Mapping[str, Any], merges: Path | None = None) -> Tokenizer:
    """The tokenizer for a network of `config`, whose vocabulary is read at the first prompt.

    `merges` is a gzipped list of pairs, OpenAI's if `None`.
    """
    context = config["text_cfg"]["context_length"]

    @cache
    def tokenizer() -> Tokenizer:
        module = import_open_clip("tokenizer")
        if merges is None:  # the module has read OpenAI's own
            return partial(module.tokenize, context_length=context)
        made: Tokenizer = module.SimpleTokenizer(str(merges), context_length=context)
        return made

    return lambda prompts: tokenizer()(prompts)
