"""How alike clouds are, and sets of clouds: Chamfer distance, coverage and minimum matching distance.

Coverage and minimum matching distance follow Achlioptas et al. 2018, "Learning Representations and Generative
Models for 3D Point Clouds" (arXiv:1707.02392), section 2.
"""

from __future__ import annotations

import torch
from torch import Tensor


def chamfer(a: Tensor, b: Tensor) -> Tensor:
    """Chamfer distance: the mean distance to the nearest point, from a to b and back, averaged.

    Distances are not squared, so that the result is a length; Achlioptas et al. add squares up.

    Parameters
    ----------
    a, b
        (B, N, D) and (B, M, D), in any unit.

    Returns
    -------
    Tensor
        (B,), in the clouds' unit; 0 for equal sets of points.
    """
    distance = torch.cdist(a, b)
    return (distance.amin(1).mean(1) + distance.amin(2).mean(1)) / 2


def chamfer_between(a: Tensor, b: Tensor) -> Tensor:
    """Chamfer distance of every cloud of one set to every cloud of another.

    Parameters
    ----------
    a, b
        (A, N, D) and (B, M, D), in any unit.

    Returns
    -------
    Tensor
        (A, B), in the clouds' unit.
    """
    return torch.stack([chamfer(cloud.expand(len(b), -1, -1), b) for cloud in a])


def coverage(distances: Tensor) -> float:
    """Share of the reference clouds that are the nearest one to some generated cloud: how varied a set is.

    Parameters
    ----------
    distances
        (G, R): of every generated cloud to every reference cloud.

    Returns
    -------
    float
        From 1 / R to 1.
    """
    return len(set(distances.argmin(1).tolist())) / distances.shape[1]


def matching_distance(distances: Tensor) -> float:
    """Minimum matching distance (MMD): the mean distance of a reference cloud to the nearest generated one.

    Parameters
    ----------
    distances
        (G, R): of every generated cloud to every reference cloud.

    Returns
    -------
    float
        In the distances' unit; how faithful a set is, however many clouds of it are far from all references.
    """
    return float(distances.amin(0).mean())
