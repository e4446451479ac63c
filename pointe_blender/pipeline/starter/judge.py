"""The starter world's own classifier: a PointNet (Qi et al. 2017) that tells kind and main colour of a cloud.

P-FID and P-IS within this world are computed from its features and from its probabilities of kinds. It is
trained on real objects alone, with jitter, so that it judges shapes and not the noise of a sampler.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import weights
from ..geometry import PointCloud
from .kinds import KINDS
from .world import COLORS, draw_labels

BATCH = 64
REFERENCE_SEED = 8_000_001  # far from every seed of the training set


class JudgeNetwork(nn.Module):
    """Every point alone, then beside what the whole cloud looks like, then the whole again.

    Parameters
    ----------
    width, features
        Channels of a point alone, and of the whole.
    kinds, colors
        How many of either it tells apart.
    """

    def __init__(self, *, width: int, features: int, kinds: int, colors: int) -> None:
        super().__init__()
        self.input_proj = nn.Linear(6, width)
        self.alone = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.norm = nn.LayerNorm(2 * width)
        self.beside = nn.ModuleList((nn.Linear(2 * width, features), nn.Linear(features, features)))
        self.ln_post = nn.LayerNorm(features)
        self.hidden = nn.Linear(features, features)
        self.kinds = nn.Linear(features, kinds)
        self.colors = nn.Linear(features, colors)

    def features(self, clouds: Tensor) -> Tensor:
        """(B, N, 6) xyz in [-0.5, 0.5] and sRGB in [0, 1] -> (B, F)."""
        h = self.input_proj(clouds * 2 - clouds.new_tensor([0.0, 0, 0, 1, 1, 1]))
        for layer in self.alone:
            h = layer(functional.gelu(h))
        whole = h.amax(1, keepdim=True)
        h = self.norm(torch.cat((h, whole.expand_as(h)), -1))
        for layer in self.beside:
            h = functional.gelu(layer(h))
        out: Tensor = self.hidden(self.ln_post(h.amax(1)))
        return out

    def forward(self, clouds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, 6) -> (B, F) features and the logits of kinds and colours."""
        features = self.features(clouds)
        h = functional.gelu(features)
        return features, self.kinds(h), self.colors(h)


@dataclass(frozen=True)
class Judge:
    """The judge on a device: a `metrics.classifiers.Classifier`.

    Attributes
    ----------
    network
        Trained, in evaluation mode.
    device
        A torch device.
    """

    network: JudgeNetwork
    device: str

    @torch.inference_mode()
    def features(self, clouds: Tensor) -> tuple[Tensor, Tensor]:
        """Features and probabilities of kinds.

        Parameters
        ----------
        clouds
            (B, N, 6) float32: xyz in [-0.5, 0.5], the longest side of about 0.96, then sRGB in [0, 1].

        Returns
        -------
        tuple[Tensor, Tensor]
            (B, F), and (B, K) in the order of `KINDS`, on the CPU.
        """
        answers = [self.network(part.to(self.device)) for part in torch.split(clouds, BATCH)]
        features, kinds, _ = (torch.cat(parts).cpu() for parts in zip(*answers, strict=True))
        return features, kinds.softmax(-1)

    @torch.inference_mode()
    def answers(self, clouds: Tensor) -> list[tuple[str, str]]:
        """Kind and main colour of each of the clouds (B, N, 6)."""
        _, kinds, colors = self.network(clouds.to(self.device))
        names = zip(kinds.argmax(-1).tolist(), colors.argmax(-1).tolist(), strict=True)
        return [(list(KINDS)[kind], list(COLORS)[color]) for kind, color in names]


def load(device: str, folders: weights.Folders | None = None) -> Judge:
    """The judge that ships inside.

    Raises
    ------
    MissingModel, DamagedModel, MissingPackage
    """
    network = weights.load("starter-judge", device, folders or weights.default_folders())
    assert isinstance(network, JudgeNetwork)
    return Judge(network, device)


def references(count: int, seed: int) -> list[PointCloud]:
    """Real objects of the starter world, held-out pairs of kind and colour among them."""
    from .data import make

    labels = draw_labels(count, Random(seed), include_held_out=True)
    data = make(labels, REFERENCE_SEED + seed, views=0, wordings=1)
    return [PointCloud(cloud[:, :3].copy(), cloud[:, 3:].copy()) for cloud in data.points.float().numpy()]
