"""Networks that see clouds and say what they are, for P-FID and P-IS.

P-FID is the Fréchet distance between the features of two sets of clouds, P-IS the inception score of the
probabilities of one (scores.py). Neither has a unit; P-FID is at least 0 and the lower the better, P-IS runs
from 1 to the number of classes and the higher the better. They compare only within one classifier and one
number of clouds and of points: the Point-E paper (arXiv:2212.08751) measures with the released classifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

from ..weights import load
from .pointnet import PointNet, normalised

if TYPE_CHECKING:
    from ..store import Folders

BATCH = 64  # of the official evaluator, on each device


class Classifier(Protocol):
    """What P-FID and P-IS need of a network."""

    def features(self, clouds: Tensor) -> tuple[Tensor, Tensor]:
        """Features and class probabilities.

        Parameters
        ----------
        clouds
            (B, N, 6) float32: xyz in any unit, then sRGB in [0, 1].

        Returns
        -------
        tuple[Tensor, Tensor]
            (B, F), and (B, K) whose rows add up to 1; float32, on the CPU.
        """
        ...


@dataclass(frozen=True)
class ShapeClassifier:
    """PointNet++ as the official evaluator asks it: positions alone, centred and scaled to the unit sphere.

    Clouds go through the network 64 at a time, in the given order, because its farthest-point sampling starts
    at another point for each place in a batch: figures depend, slightly, on that order.
    """

    network: PointNet
    device: str

    @torch.inference_mode()
    def features(self, clouds: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 512) features and (B, 40) probabilities of clouds (B, N ≥ 64, 6); colours are not looked at."""
        answers = [
            self.network(normalised(batch[..., :3]).float().to(self.device))
            for batch in torch.split(clouds, BATCH)
        ]
        features, probabilities = (torch.cat(parts).cpu() for parts in zip(*answers, strict=True))
        return features, probabilities


def released(device: str, folders: Folders) -> ShapeClassifier:
    """The classifier behind the published P-FID and P-IS: the checkpoint "pointnet", trained on ModelNet40.

    Parameters
    ----------
    device
        A torch device.
    folders
        Where checkpoints are.

    Raises
    ------
    MissingModel, DamagedModel, CannotWrite, MissingPackage
    """
    return ShapeClassifier(cast(PointNet, load("pointnet", device, folders)), device)
