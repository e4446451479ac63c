"""The two things that come out: a coloured point cloud and a coloured triangle mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class PointCloud:
    """A coloured point cloud.

    Attributes
    ----------
    points
        (N, 3) float32, in the cube [-0.5, 0.5]³, z up.
    colors
        (N, 3) float32 sRGB in [0, 1].
    """

    points: np.ndarray
    colors: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, eq=False)
class Mesh:
    """A closed, right-handed triangle mesh with a colour at each vertex.

    Attributes
    ----------
    vertices
        (V, 3) float32, in the same space as the cloud it was made from.
    triangles
        (F, 3) int32 indices; counter-clockwise seen from outside.
    colors
        (V, 3) float32 sRGB in [0, 1].
    """

    vertices: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray
