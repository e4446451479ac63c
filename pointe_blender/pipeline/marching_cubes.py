"""The surface of a scalar field as a closed triangle mesh: marching cubes, its table derived from topology.

Lorensen and Cline, "Marching Cubes" (1987), closed by one rule. On every face of a cell the surface leaves
segments that part the positive corners from the others, each run of positive corners by itself. That depends
on the face alone, so the two cells beside it agree, and the segments on a cell's six faces join to loops.
Each loop is filled with a fan that has no diagonal within a face, where the neighbour could have the same:
so every edge of the mesh belongs to exactly two triangles, whatever the field.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, pairwise, product

import numpy as np

MARGIN = 5e-5  # of a cell: vertices keep this far from lattice points, so that no two coincide

Edge = tuple[int, int]  # two corners of a cell, the lower first

_SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1))
CORNERS = tuple(product((0, 1), repeat=3))
EDGES: tuple[Edge, ...] = tuple(
    (a, b) for a, b in combinations(range(8), 2) if np.abs(np.subtract(CORNERS[a], CORNERS[b])).sum() == 1
)
# The four corners of each face, counter-clockwise seen from outside the cell.
FACES = tuple(
    tuple(CORNERS.index((*uv[2 - axis :], side, *uv[: 2 - axis])) for uv in _SQUARE[:: 1 if side else -1])
    for axis, side in product(range(3), (0, 1))
)


def marching_cubes(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The surface between the positive values of a field and the others.

    Parameters
    ----------
    field
        (X, Y, Z) finite floats. What is positive at the border is closed half a cell beyond it.

    Returns
    -------
    vertices
        (V, 3) float64 in lattice units, one for each lattice edge whose ends differ in sign.
    triangles
        (F, 3) int32, counter-clockwise seen from where the field is not positive.
    """
    outside, field = _closed(field)
    strides = np.array([field.shape[1] * field.shape[2], field.shape[2], 1])
    inside = (field > 0).reshape(-1)
    # Nothing at the border is inside, so no difference is seen from the end of a row to the next one's start.
    cut = [np.flatnonzero(inside[stride:] != inside[:-stride]) for stride in strides]
    vertices = np.concatenate([_crossings(field, starts, axis) for axis, starts in enumerate(cut)])
    edge_keys = np.concatenate([axis * field.size + starts for axis, starts in enumerate(cut)])

    crossed = np.zeros(field.size, dtype=bool)
    for axis, starts in enumerate(cut):
        one, other = np.delete(strides, axis)
        for offset in (0, one, other, one + other):
            crossed[starts - offset] = True
    cells = np.flatnonzero(crossed)
    corners = np.array(CORNERS) @ strides
    case = np.zeros(len(cells), dtype=np.uint8)
    for bit, corner in enumerate(corners):
        case |= inside[cells + corner] * np.uint8(1 << bit)

    fans = _table()[case]  # (cells, 5, 3) edges of the cell
    used = fans[:, :, 0] >= 0
    first_corner = np.repeat(cells, used.sum(axis=1))
    offsets = np.array([_axis(edge) * field.size + corners[edge[0]] for edge in EDGES])
    triangles = np.searchsorted(edge_keys, first_corner[:, None] + offsets[fans[used]])
    return vertices - outside, triangles.astype(np.int32)


def _closed(field: np.ndarray) -> tuple[int, np.ndarray]:
    """The field, with one more layer all around, opposite to the border, where that is positive anywhere."""
    layers = [np.moveaxis(field, axis, 0)[side] for axis in range(3) for side in (0, -1)]
    if not any((layer > 0).any() for layer in layers):
        return 0, np.ascontiguousarray(field)
    field = np.pad(field, 1, mode="edge")
    for axis in range(3):
        for side in (0, -1):
            layer = np.moveaxis(field, axis, 0)[side]
            layer[...] = -np.abs(layer)
    return 1, field


def _crossings(field: np.ndarray, starts: np.ndarray, axis: int) -> np.ndarray:
    """Where (V, 3) the edges along an axis are cut that start at these places of the field in line (V,)."""
    vertices = np.stack(np.unravel_index(starts, field.shape), axis=1).astype(np.float64)
    values, stride = field.reshape(-1), int(np.prod(field.shape[axis + 1 :]))
    a, b = values[starts].astype(np.float64), values[starts + stride].astype(np.float64)
    vertices[:, axis] += np.clip(a / (a - b), MARGIN, 1.0 - MARGIN)
    return vertices


@cache
def _table() -> np.ndarray:
    """(256, 5, 3) int8: for each set of positive corners the triangles, as edges; -1 where unused."""
    table = np.full((256, 5, 3), -1, dtype=np.int8)
    for case in range(256):
        fans = [triangle for loop in _loops(case) for triangle in _fan(loop)]
        if fans:
            table[case, : len(fans)] = [[EDGES.index(edge) for edge in triangle] for triangle in fans]
    return table


def _loops(case: int) -> list[list[Edge]]:
    """The closed lines that the surface draws on a cell, counter-clockwise seen from the negative side."""
    follows: dict[Edge, Edge] = {}
    for face in FACES:
        positive = [bool(case >> corner & 1) for corner in face]
        for i in range(4):
            if positive[i] and not positive[i - 1]:
                last = next(j for j in range(i, i + 4) if not positive[(j + 1) % 4])
                entered, left = (face[i - 1], face[i]), (face[last % 4], face[(last + 1) % 4])
                follows[min(entered), max(entered)] = (min(left), max(left))
    loops = []
    while follows:
        edge, following = follows.popitem()
        loop = [edge]
        while following != edge:
            loop.append(following)
            following = follows.pop(following)
        loops.append(loop)
    return loops


def _fan(loop: list[Edge]) -> list[tuple[Edge, Edge, Edge]]:
    """Triangles that fill a loop: of the allowed fans the one with the longest diagonals.

    It differs least in volume from the tables that other programs use.
    """
    turns = [loop[i:] + loop[:i] for i in range(len(loop))]
    allowed = [
        turn for turn in turns if not any({*turn[0], *far} <= {*f} for far in turn[2:-1] for f in FACES)
    ]
    apex, *others = max(allowed, key=lambda turn: sum(_apart(turn[0], far) for far in turn[2:-1]))
    return [(apex, a, b) for a, b in pairwise(others)]


def _apart(a: Edge, b: Edge) -> int:
    """Square of twice the distance between the middles of two edges."""
    middles = np.array(CORNERS)[[*a, *b]]
    return int(((middles[0] + middles[1] - middles[2] - middles[3]) ** 2).sum())


def _axis(edge: Edge) -> int:
    return int(np.argmax(np.subtract(CORNERS[edge[1]], CORNERS[edge[0]])))
