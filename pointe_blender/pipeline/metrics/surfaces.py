"""What a mesh is: whether it closes, how many pieces it has, what it holds and where it cuts itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import ceil, nan

import numpy as np

from ..geometry import Mesh, is_closed

PAIRS = 2**16  # of boxes or triangles looked at together: some 20 MB
ROUNDING = 1e-12  # of lengths as large as the triangles; below this, float64 cannot tell apart from together


@dataclass(frozen=True)
class Surface:
    """What `describe` finds.

    Attributes
    ----------
    closed
        Whether every edge belongs to exactly two triangles, which run along it in opposite directions.
    components
        How many pieces of triangles hang together by shared vertices; best is 1 where one object is expected.
    self_intersections
        How many triangles cut or touch another one with which they share no vertex; best is 0.
    volume
        Enclosed, in the cubed unit of the vertices, negative where the triangles are wound inside out; not a
        number where the surface is not closed.
    """

    closed: bool
    components: int
    self_intersections: int
    volume: float


def describe(mesh: Mesh) -> Surface:
    """Describe a mesh of any origin.

    Vertices at exactly the same place are one, as files repeat them where colours or texture coordinates
    change; a triangle with two such corners is none. A mesh that closes without that is closed all the same,
    though its pieces touch. Triangles without area cut nothing.

    Parameters
    ----------
    mesh
        In any unit, open or closed, wound in any way; vertices of no triangle are not looked at.
    """
    places, triangles = _merged(mesh)
    closed = len(triangles) > 0 and (is_closed(mesh.triangles) or is_closed(triangles))
    return Surface(
        closed=closed,
        components=_components(triangles, len(places)),
        self_intersections=_self_intersections(places[triangles], triangles),
        volume=_volume(places[triangles]) if closed else nan,
    )


def _merged(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Different places (P, 3) float64, and triangles (F, 3) of three different ones."""
    places, place_of = np.unique(mesh.vertices.astype(np.float64) + 0.0, axis=0, return_inverse=True)
    triangles = place_of.reshape(-1)[mesh.triangles]  # and -0.0 + 0.0 is 0.0
    return places, triangles[(triangles != np.roll(triangles, 1, axis=1)).all(axis=1)]


def _components(triangles: np.ndarray, places: int) -> int:
    """How many sets of triangles share no place."""
    label = np.arange(places)
    edges = triangles[:, [0, 1, 1, 2]].reshape(-1, 2)
    while len(edges := edges[label[edges[:, 0]] != label[edges[:, 1]]]):
        ends = label[edges]
        np.minimum.at(label, ends.max(axis=1), ends.min(axis=1))
        while (label[label] != label).any():
            label = label[label]
    return len(np.unique(label[triangles]))


def _volume(corners: np.ndarray) -> float:
    """Of triangles (F, 3, 3) that close: a sum of signed tetrahedra with one tip in their middle."""
    a, b, c = np.moveaxis(corners - corners.mean(axis=(0, 1)), 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _self_intersections(corners: np.ndarray, triangles: np.ndarray) -> int:
    """How many of triangles (F, 3, 3), made of such vertices (F, 3), meet another with other vertices."""
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    flat = np.linalg.norm(_normal(corners), axis=1) <= ROUNDING * longest**2
    corners, triangles = corners[~flat], triangles[~flat]
    found = np.zeros(len(triangles), dtype=bool)
    for pairs in _boxes_meet(corners):
        a, b = triangles[pairs[:, 0]], triangles[pairs[:, 1]]
        pairs = pairs[(a[:, :, None] != b[:, None]).all(axis=(1, 2))]
        found[pairs[_meet(corners[pairs[:, 0]], corners[pairs[:, 1]])]] = True
    return int(found.sum())


def _boxes_meet(corners: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs (P, 2) of the triangles (F, 3, 3) whose boxes meet, each once, some at a time.

    The triangles are leaves of a full binary tree that halves them at the median, along the longest side;
    pairs of its nodes are followed down while their boxes meet.
    """
    if not len(corners):
        return
    depth = (len(corners) - 1).bit_length()
    leaves = np.arange(2**depth)
    middles = corners.mean(axis=1)
    for level in range(depth):
        leaves = leaves.reshape(2**level, -1)
        places = middles[np.minimum(leaves, len(corners) - 1)]
        sides = np.ptp(places, axis=1).argmax(axis=1)
        along = np.take_along_axis(places, sides[:, None, None], axis=2)[..., 0]
        leaves = np.take_along_axis(leaves, along.argsort(axis=1), axis=1)
    leaves = leaves.reshape(-1)

    nothing = np.full((2**depth - len(corners), 3), np.inf)
    low = [np.concatenate([corners.min(axis=1), nothing])[leaves]]
    high = [np.concatenate([corners.max(axis=1), -nothing])[leaves]]
    for _ in range(depth):
        low.append(low[-1].reshape(-1, 2, 3).min(axis=1))
        high.append(high[-1].reshape(-1, 2, 3).max(axis=1))

    children = np.array(list(product((0, 1), repeat=2)))
    stack = [(depth, np.zeros((1, 2), dtype=np.int64))]
    while stack:
        level, pairs = stack.pop()
        i, j = pairs.T
        meet = (low[level][i] <= high[level][j]) & (low[level][j] <= high[level][i])
        pairs = pairs[meet.all(axis=1)]
        if level == 0:
            yield leaves[pairs[pairs[:, 0] < pairs[:, 1]]]
        elif len(pairs):
            pairs = (2 * pairs[:, None] + children).reshape(-1, 2)
            pairs = pairs[pairs[:, 0] <= pairs[:, 1]]
            stack += [(level - 1, some) for some in np.array_split(pairs, ceil(len(pairs) / PAIRS))]


def _meet(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which of the triangles a (P, 3, 3) meet the one of b: (P,).

    They do unless their shadows on one of 17 axes lie apart (Gottschalk, Lin and Manocha 1996): both normals,
    what is square to an edge of each, and, where they lie in a plane, what is square to an edge in it.
    """
    meeting = np.arange(len(a))
    for axis in _AXES:
        p, q = a[meeting], b[meeting]
        meeting = meeting[~_apart(p, q, axis(p, q))]
    found = np.zeros(len(a), dtype=bool)
    found[meeting] = True
    return found


def _apart(a: np.ndarray, b: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Whether the shadows of triangles (P, 3, 3) on axes (P, 3) lie apart, by more than rounding errors."""
    origin = a[:, :1]
    a, b = a - origin, b - origin
    reach = np.maximum(np.abs(a).max(axis=(1, 2)), np.abs(b).max(axis=(1, 2)))
    slack = ROUNDING * reach * np.abs(axis).sum(axis=1)
    of_a, of_b = np.einsum("pij,pj->pi", a, axis), np.einsum("pij,pj->pi", b, axis)
    gap = np.maximum(of_b.min(axis=1) - of_a.max(axis=1), of_a.min(axis=1) - of_b.max(axis=1))
    apart: np.ndarray = gap > slack
    return apart


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    square: np.ndarray = np.cross(a, b)
    return square


def _edge(triangles: np.ndarray, i: int) -> np.ndarray:
    edge: np.ndarray = triangles[:, (i + 1) % 3] - triangles[:, i]
    return edge


def _normal(triangles: np.ndarray) -> np.ndarray:
    return _cross(_edge(triangles, 0), _edge(triangles, 1))


def _normal_of(*pair: np.ndarray, one: int) -> np.ndarray:
    return _normal(pair[one])


def _square_to_edges(a: np.ndarray, b: np.ndarray, i: int, j: int) -> np.ndarray:
    return _cross(_edge(a, i), _edge(b, j))


def _square_in_plane_of(*pair: np.ndarray, one: int, i: int) -> np.ndarray:
    return _cross(_normal(pair[one]), _edge(pair[one], i))


_AXES: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
    *(partial(_normal_of, one=one) for one in (0, 1)),
    *(partial(_square_to_edges, i=i, j=j) for i, j in product(range(3), repeat=2)),
    *(partial(_square_in_plane_of, one=one, i=i) for one, i in product((0, 1), range(3))),
)
