"""How alike clouds are, and sets of clouds: Chamfer distance, coverage, matching distance, 1-NN accuracy.

Coverage and minimum matching distance follow Achlioptas et al. 2018, "Learning Representations and Generative
Models for 3D Point Clouds" (arXiv:1707.02392), section 2; the accuracy of the nearest neighbour follows
Lopez-Paz and Oquab 2017 (arXiv:1610.06545), for clouds Yang et al. 2019, "PointFlow" (arXiv:1906.12320).
"""

from __future__ import annotations

import torch
from torch import Tensor

ENTRIES = 2**19  # of a block of distances between two clouds: 2 MiB, which stay in the cache


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
        (B,), in the clouds' unit; 0 for equal sets of points, and the lower the more alike.
    """
    distance = _Chamfer(a, b)
    return torch.stack([distance(i, i) for i in range(len(a))])


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
    distance = _Chamfer(a, b)
    return torch.stack([torch.stack([distance(i, j) for j in range(len(b))]) for i in range(len(a))])


def coverage(distances: Tensor) -> float:
    """Share of the reference clouds that are the nearest one to some generated cloud: how varied a set is.

    Parameters
    ----------
    distances
        (G, R): of every generated cloud to every reference cloud.

    Returns
    -------
    float
        From 1 / R to 1, and the higher the better.
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
        In the distances' unit, and the lower the better; how faithful a set is, however many clouds of it are
        far from all references.
    """
    return float(distances.amin(0).mean())


def nearest_neighbour_accuracy(between: Tensor, generated: Tensor, references: Tensor) -> float:
    """How often the cloud nearest to a cloud, of all others, is of its own set (1-NNA).

    Where several are equally near, each counts for its part. Both sets should have the same size: of unequal
    ones the larger is nearest more often, whatever is in it.

    Parameters
    ----------
    between
        (G, R): distances of every generated cloud to every reference cloud.
    generated, references
        (G, G) and (R, R): of every cloud to every other of its set; the diagonals are not looked at.

    Returns
    -------
    float
        From 0 to 1, and 0.5 is best: the sets cannot be told apart. Towards 1 they lie apart, towards 0 the
        clouds of one are copies of the other's.
    """
    distances = torch.cat([torch.cat([generated, between], 1), torch.cat([between.T, references], 1)])
    distances.fill_diagonal_(torch.inf)
    nearest = distances == distances.amin(1, keepdim=True)
    is_generated = torch.arange(len(distances), device=distances.device) < len(generated)
    own = nearest & (is_generated == is_generated[:, None])
    return float((own.sum(1) / nearest.sum(1)).mean())


class _Chamfer:
    """Distances of clouds (A, N, D) to clouds (B, M, D), by index, in memory that is taken once.

    Coordinates are subtracted before they are squared: a product of matrices is no faster for so few of them,
    and loses the small distances to rounding.
    """

    def __init__(self, a: Tensor, b: Tensor) -> None:
        rows = min(a.shape[1], max(1, ENTRIES // b.shape[1]))
        columns = a.transpose(1, 2).contiguous()[..., None]
        self.a = [cloud.split(rows, 1) for cloud in columns]  # (D, ≤ rows, 1) each
        self.b = b.transpose(1, 2).contiguous()[:, :, None]  # (B, D, 1, M)
        self.space = a.new_empty(2, rows, b.shape[1])

    def __call__(self, i: int, j: int) -> Tensor:
        """Of cloud i of a to cloud j of b: ()."""
        there, back = [], []
        for block in self.a[i]:
            squares, difference = self.space[:, : block.shape[1]]
            torch.sub(block[0], self.b[j, 0], out=squares).square_()
            for of_a, of_b in zip(block[1:], self.b[j, 1:], strict=True):
                torch.sub(of_a, of_b, out=difference)
                squares.addcmul_(difference, difference)
            there.append(squares.amin(1))
            back.append(squares.amin(0))
        return (torch.cat(there).sqrt().mean() + torch.stack(back).amin(0).sqrt().mean()) / 2
