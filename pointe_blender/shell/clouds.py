"""A file's cloud or mesh, moved into the pipeline's cube, and what was made of it moved back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..pipeline import Mesh, PointCloud, Result, files
from ..pipeline.errors import InvalidRequest
from ..pipeline.sampling import sample_surface

ON_A_SURFACE = 4096  # points: what the released network was trained on
FILL = 0.96  # of the cube's side: the surface needs room to close around it


@dataclass(frozen=True, eq=False)
class Given:
    """What a file holds.

    Attributes
    ----------
    cloud
        Its points in the cube; of a mesh, points on its surface.
    centre, size
        Of the cube where the points were.
    """

    cloud: PointCloud
    centre: np.ndarray
    size: float

    def back(self, result: Result) -> Result:
        """What was made of it, where the file has it."""
        clouds = [replace(cloud, points=self._back(cloud.points)) for cloud in result.clouds]
        meshes = [replace(mesh, vertices=self._back(mesh.vertices)) for mesh in result.meshes]
        return replace(result, clouds=tuple(clouds), meshes=tuple(meshes))

    def _back(self, points: np.ndarray) -> np.ndarray:
        moved: np.ndarray = points * self.size + self.centre
        return moved.astype(np.float32)


def load(path: Path) -> Given:
    """Read a cloud or a mesh in one of the four formats.

    Raises
    ------
    InvalidRequest
        The file is missing or damaged, or has nothing in it that can be used.
    """
    thing = files.load(path)
    cloud = on_surface(thing) if isinstance(thing, Mesh) else thing
    points = cloud.points
    if not len(points) or not np.isfinite(points).all():
        raise InvalidRequest(f"{path.name} has no points, or some that are not numbers: choose another file.")
    low, high = points.min(axis=0).astype(float), points.max(axis=0).astype(float)
    longest = float((high - low).max())
    if longest == 0.0:
        raise InvalidRequest(f"All points of {path.name} are in one place: choose another file.")
    centre, size = (low + high) / 2, longest / FILL
    if np.abs([low, high]).max() <= 0.5 < longest:  # made by the models, most likely: keep every bit of it
        centre, size = np.zeros(3), 1.0
    return Given(replace(cloud, points=((points - centre) / size).astype(np.float32)), centre, size)


def on_surface(mesh: Mesh) -> PointCloud:
    """Points on a mesh, evenly spread: the same each time.

    Raises
    ------
    InvalidRequest
        Its faces have no area.
    """
    draws = np.random.default_rng(0)
    points, triangle, weights = sample_surface(mesh.vertices, mesh.triangles, ON_A_SURFACE, draws)
    colors = np.einsum("nk,nkc->nc", weights, mesh.colors[mesh.triangles[triangle]])
    return PointCloud(points, colors.clip(0, 1).astype(np.float32))
