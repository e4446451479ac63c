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


def is_closed(triangles: np.ndarray) -> bool:
    """Whether every edge of (F, 3) triangles is shared by exactly two, in opposite directions."""
    import numpy as np  # Blender starts without it

    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    corners = edges.max(initial=0) + 1
    forward, backward = np.sort(edges @ (corners, 1)), np.sort(edges @ (1, corners))  # a number for each edge
    return bool((np.diff(forward) > 0).all() and (forward == backward).all())
