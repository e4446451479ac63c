"""How two answers are compared, and what is said about it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pointe_blender.pipeline import meshing


class Case(NamedTuple):
    """One comparison; a difference is 0 or 1 where there is nothing in between."""

    name: str
    largest: float
    rms: float
    passed: bool


def close(
    name: str, ours: Tensor, theirs: Tensor | np.ndarray, *, largest: float = 1e-3, rms: float = 1e-4
) -> Case:
    """Differences below two limits."""
    theirs = torch.as_tensor(theirs)
    if ours.shape != theirs.shape:
        raise ValueError(f"{tuple(ours.shape)} instead of {tuple(theirs.shape)}")
    difference = (ours.double() - theirs.double()).abs()
    most, mean = difference.max().item(), difference.square().mean().sqrt().item()
    return Case(name, most, mean, most < largest and mean < rms)


def relative(name: str, ours: Tensor, theirs: np.ndarray) -> Case:
    """Differences over the root mean square of the recorded values."""
    scale = float(np.sqrt(np.mean(np.square(theirs, dtype=np.float64))))
    return close(name, ours / scale, theirs / scale, largest=np.inf)


def exact(name: str, equal: np.ndarray | bool) -> Case:
    """Equal everywhere; `rms` is the root of the share that is not."""
    wrong = 1 - np.mean(equal)
    return Case(name, float(wrong > 0), float(np.sqrt(wrong)), not wrong)


def same_points(name: str, ours: np.ndarray, theirs: np.ndarray) -> Case:
    """Every point has its nearest in the other set within 1e-5, both ways, and they are as many."""
    apart = np.concatenate(
        [
            np.abs(a - b[meshing.nearest(b.astype(np.float64), a.astype(np.float64))]).max(axis=1)
            for a, b in ((ours, theirs), (theirs, ours))
        ]
    )
    passed = len(ours) == len(theirs) and apart.max() < 1e-5
    return Case(name, float(apart.max()), float(np.sqrt(np.mean(apart**2))), bool(passed))


def resolution(vertices: np.ndarray) -> int:
    """The coarsest lattice of which every vertex lies on an edge."""
    for side in range(8, 257):
        cells = (vertices / meshing.SIDE + 0.5) * (side - 1)
        if (np.sort(np.abs(cells - cells.round()), axis=1)[:, 1] < 1e-3).all():
            return side
    raise ValueError("the vertices lie on no lattice")


def volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """What a closed mesh encloses; positive where triangles are right-handed."""
    a, b, c = (vertices[triangles[:, corner]].astype(np.float64) for corner in range(3))
    return float((np.cross(a, b) * c).sum() / 6)
