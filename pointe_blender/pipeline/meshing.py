"""A point cloud to a coloured mesh: distances on a lattice, their surface, colours of the nearest points."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np
import torch

from .errors import NoSurface
from .geometry import Mesh, PointCloud
from .marching_cubes import marching_cubes

if TYPE_CHECKING:
    from .point_e.sdf import PointCloudSDF

SIDE = 1.02  # of the cube around the origin in which the field is sampled
SCORES = 2**24  # of one head in one decoder batch: 64 MiB in float32, where they are held at all
QUERIES = 2**15  # of one decoder batch at most, however few the latents
DISTANCES = 2**24  # entries of one batch of distances: 64 MiB


def mesh_from_cloud(
    network: PointCloudSDF, cloud: PointCloud, resolution: int, device: str
) -> Generator[tuple[int, int], None, Mesh]:
    """Yield (done, total) after each batch of lattice points; return the mesh.

    Parameters
    ----------
    network
        On `device`, in eval mode.
    cloud
        As sampled; neither centred nor scaled.
    resolution
        Lattice points along each side of the cube.

    Raises
    ------
    NoSurface
        The field is positive nowhere or everywhere.
    """
    field = yield from evaluate(network, cloud, resolution, device)
    vertices, triangles = surface(field)
    return Mesh(vertices, triangles, cloud.colors[nearest(cloud.points, vertices)])


def evaluate(
    network: PointCloudSDF, cloud: PointCloud, resolution: int, device: str
) -> Generator[tuple[int, int], None, np.ndarray]:
    """Yield (done, total) after each batch of lattice points; return the (R, R, R) float32 field, x slowest.

    The decoder sees at most 2²⁴ / N queries at once for N latents: 4096, as officially, for the released one.
    """
    points = cloud.points
    if len(points) > network.n_ctx:
        points = points[farthest_points(points, network.n_ctx)]
    total = resolution**3
    batch = min(QUERIES, max(1, SCORES // len(points)))
    axis = torch.arange(resolution, dtype=torch.float32) * (SIDE / (resolution - 1)) - SIDE / 2
    field = np.empty(total, dtype=np.float32)
    with torch.inference_mode():
        latents = network.encode(torch.from_numpy(points.T.copy())[None].to(device))
    for start in range(0, total, batch):
        with torch.inference_mode():
            index = torch.arange(start, min(start + batch, total))
            x, y, z = index // resolution**2, index // resolution % resolution, index % resolution
            queries = torch.stack((axis[x], axis[y], axis[z])).to(device)  # (3, M)
            field[start : start + batch] = network.decode(queries[None], latents)[0].float().cpu().numpy()
        yield min(start + batch, total), total
    return field.reshape(resolution, resolution, resolution)


def surface(field: np.ndarray, side: float = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """The closed surface where a field changes sign.

    Parameters
    ----------
    field
        (R, R, R) float32 over a cube around the origin, x slowest, inside positive.
    side
        Length of the cube's sides.

    Returns
    -------
    vertices
        (V, 3) float32.
    triangles
        (F, 3) int32, counter-clockwise seen from outside; every edge belongs to exactly two.

    Raises
    ------
    NoSurface
        The field is positive nowhere or everywhere, or holds what is not a number.
    """
    if not np.isfinite(field).all():
        raise NoSurface("The distance field holds values that are not numbers: choose the CPU as device.")
    if (field > 0).all() or not (field > 0).any():
        raise NoSurface("The distance field has no surface: try another seed or a denser cloud.")
    vertices, triangles = marching_cubes(field)
    return (vertices * (side / (len(field) - 1)) - side / 2).astype(np.float32), triangles


def is_closed(triangles: np.ndarray) -> bool:
    """Whether every edge of (F, 3) triangles is shared by exactly two, in opposite directions."""
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    forward, counts = np.unique(edges, axis=0, return_counts=True)
    return bool((counts == 1).all()) and {tuple(e) for e in forward} == {tuple(e) for e in forward[:, ::-1]}


def nearest(points: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(M,) int64: for each of the queries (M, 3) the index of the nearest of the points (N, 3)."""
    norms = np.sum(points**2, axis=1)
    found = np.empty(len(queries), dtype=np.int64)
    batch = max(1, DISTANCES // len(points))
    for start in range(0, len(queries), batch):
        some = queries[start : start + batch]
        # |q|² is the same for all points, but belongs to the official sum and so to its ties.
        squares = norms + np.sum(some**2, axis=1)[:, None] - 2 * (some @ points.T)
        found[start : start + batch] = np.argmin(squares, axis=1)
    return found


def farthest_points(points: np.ndarray, count: int, start: int = 0) -> np.ndarray:
    """(count,) int64 indices into points (N, 3): after `start`, always the one farthest from all before."""
    norms = np.sum(points**2, axis=1)
    chosen = np.empty(count, dtype=np.int64)
    farthest = start
    distances = np.full(len(points), np.inf, dtype=points.dtype)
    for i in range(count):
        chosen[i] = farthest
        squares = norms + norms[farthest] - 2 * (points @ points[farthest])
        distances = np.minimum(distances, squares)
        farthest = int(np.argmax(distances))
    return chosen
