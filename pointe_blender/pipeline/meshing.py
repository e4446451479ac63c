"""A point cloud to a coloured mesh: distances on a lattice, their surface, colours of the nearest points.

Distances are evaluated from coarse to fine where they matter to the surface; see lattice.py.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from .errors import NoSurface
from .geometry import Mesh, PointCloud
from .lattice import coarse_to_fine
from .marching_cubes import marching_cubes

SIDE = 1.02  # of the cube around the origin in which the field is sampled
SCORES = 2**24  # of one head in one decoder batch: 64 MiB in float32, where they are held at all
QUERIES = 2**15  # of one decoder batch at most, however few the latents
DISTANCES = 2**22  # entries of one batch of distances: 16 MiB
TOGETHER = 128  # queries, roughly, that look for their nearest points together
NOT_NUMBERS = "The distance field holds values that are not numbers: choose the CPU as device."


Encoded = TypeVar("Encoded")


class DistanceNetwork(Protocol[Encoded]):
    """What is asked of a network that tells distances to a cloud's surface, inside positive.

    Attributes
    ----------
    n_ctx
        Points it was trained on.
    """

    n_ctx: int

    def encode(self, points: Tensor) -> Encoded:
        """A cloud (B, 3, N), to be kept for all its queries."""

    def decode(self, queries: Tensor, encoded: Encoded) -> Tensor:
        """Distance at each query: (B, 3, M) -> (B, M)."""


def mesh_from_cloud(
    network: DistanceNetwork[Encoded], cloud: PointCloud, resolution: int, device: str
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

    Yields
    ------
    tuple of int
        How many points are evaluated, of how many as far as is known; their ratio never falls.

    Raises
    ------
    NoSurface
        The field is positive nowhere or everywhere, or holds what is not a number.
    """
    field = yield from evaluate(network, cloud, resolution, device)
    vertices, triangles = surface(field)
    return Mesh(vertices, triangles, cloud.colors[nearest(cloud.points, vertices)])


def evaluate(
    network: DistanceNetwork[Encoded], cloud: PointCloud, resolution: int, device: str
) -> Generator[tuple[int, int], None, np.ndarray]:
    """Yield (done, total) after each batch of lattice points; return the (R, R, R) float32 field, x slowest.

    Where the network was not asked, the field is of the right sign and of no particular size; its surface is
    that of the network on the whole lattice. The decoder sees at most 2²⁴ / N queries at once for N latents:
    4096, as officially, for the released one.

    Raises
    ------
    NoSurface
        The network returns what is not a number.
    """
    points = cloud.points
    if len(points) > network.n_ctx:
        points = points[farthest_points(points, network.n_ctx)]
    batch = min(QUERIES, max(1, SCORES // len(points)))
    axis = torch.arange(resolution, dtype=torch.float32) * (SIDE / (resolution - 1)) - SIDE / 2
    with torch.inference_mode():
        encoded = network.encode(torch.from_numpy(points.T.copy())[None].to(device))
    search = coarse_to_fine(resolution)
    wanted, done, total = next(search), 0, 0
    while True:
        values = np.empty(len(wanted.points), dtype=np.float32)
        end = done + len(values) + wanted.later
        for start in range(0, len(values), batch):
            some = slice(start, start + batch)
            with torch.inference_mode():
                queries = axis[torch.from_numpy(wanted.points[some].T)].to(device)  # (3, M)
                values[some] = network.decode(queries[None], encoded)[0].float().cpu().numpy()
            if not np.isfinite(values[some]).all():
                raise NoSurface(NOT_NUMBERS)
            before, done = done, done + len(values[some])
            total = max(done, min(end, total * done // before if before else end))
            yield done, total
        try:
            wanted = search.send(values)
        except StopIteration as settled:
            yield done, done
            field: np.ndarray = settled.value
            return field


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
        raise NoSurface(NOT_NUMBERS)
    if (field > 0).all() or not (field > 0).any():
        raise NoSurface("The distance field has no surface: try another seed or a denser cloud.")
    vertices, triangles = marching_cubes(field)
    return (vertices * (side / (len(field) - 1)) - side / 2).astype(np.float32), triangles


def nearest(points: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(M,) int64: for each of the queries (M, 3) the index of the nearest of the points (N, 3).

    Queries that lie together look together. Let d be the distance from the centre of their box to the point
    nearest to it, and r half the box's diagonal: each of them has a point within d + r, so the one nearest to
    it is within d + 2 r of the centre.
    """
    norms = np.sum(points**2, axis=1)
    largest = max(norms.max(), np.sum(queries**2, axis=1).max(initial=0))
    off = 4 * np.sqrt(
        np.finfo(norms.dtype).eps * largest
    )  # as a difference of squares a distance may be so far
    found = np.empty(len(queries), dtype=np.int64)
    groups = _neighbours(queries)
    batch = max(1, DISTANCES // len(points))
    for first in range(0, len(groups), batch):
        some = groups[first : first + batch]
        lowest = np.array([queries[group].min(axis=0) for group in some])
        highest = np.array([queries[group].max(axis=0) for group in some])
        centres, radii = (lowest + highest) / 2, np.linalg.norm(highest - lowest, axis=1) / 2
        apart = np.sqrt(np.maximum(_squares(points, norms, centres), 0))
        within = apart <= (apart.min(axis=1) + 2 * radii + off)[:, None]
        for group, candidates in zip(some, map(np.flatnonzero, within), strict=True):
            squares = _squares(points[candidates], norms[candidates], queries[group])
            found[group] = candidates[np.argmin(squares, axis=1)]
    return found


def _neighbours(queries: np.ndarray) -> list[np.ndarray]:
    """Indices of queries (M, 3) that lie together in a box, of a surface roughly TOGETHER."""
    if not len(queries):
        return []
    boxes = max(1, int(np.sqrt(len(queries) / TOGETHER / 3)))  # along each axis
    place = queries - queries.min(axis=0)
    box = (place * ((boxes - 0.5) / max(place.max(), 1e-9))).astype(np.int64)
    key = box @ np.array([boxes**2, boxes, 1])
    order = np.argsort(key, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(key[order])) + 1)


def _squares(points: np.ndarray, norms: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(M, N) squared distances of queries to points of these squared lengths."""
    # |q|² is the same for all points, but belongs to the official sum and so to its ties.
    squares: np.ndarray = norms + np.sum(queries**2, axis=1)[:, None] - 2 * (queries @ points.T)
    return squares


def farthest_points(points: np.ndarray, count: int, start: int = 0) -> np.ndarray:
    """(count,) int64 indices into points (N, 3): after `start`, always the one farthest from all before."""
    norms = np.sum(points**2, axis=1)
    chosen = np.empty(count, dtype=np.int64)
    farthest = start
    distances = np.full(len(points), np.inf, dtype=points.dtype)
    for i in range(count):
        chosen[i] = farthest
        squares = norms + norms[farthest] - 2 * (points @ points[farthest])
        np.minimum(distances, squares, out=distances)
        farthest = int(np.argmax(distances))
    return chosen
