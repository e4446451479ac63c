"""Which of several clouds is most like what was asked for, in CLIP's eyes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from .conditioning import Clip
from .drawing import picture_of
from .geometry import PointCloud

AROUND = tuple(math.radians(degrees) for degrees in (35, -35, 145, 215))


def similarity(clip: Clip, wanted: Tensor, cloud: PointCloud) -> float:
    """Mean cosine between a prompt's or picture's vector and pictures of a cloud from four sides.

    Parameters
    ----------
    clip
        The network that made `wanted`.
    wanted
        (D,) float32, L2-normalised.
    cloud
        Any number of points.

    Returns
    -------
    float
        -1 to 1. R-precision as in Park et al. 2021 compares the same numbers.
    """
    seen = clip.image([picture_of(cloud, clip.side, azimuth) for azimuth in AROUND])  # (4, D)
    return float((seen @ wanted.to(seen.device)).mean())


def best_first(scores: Sequence[float]) -> list[int]:
    """Indices from the highest score down; equal ones keep their order."""
    return sorted(range(len(scores)), key=lambda i: -scores[i])
