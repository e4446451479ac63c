"""Meshes whose faults are known, and a check of every pair that is made in another way."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from pointe_blender.pipeline.geometry import Mesh
from pointe_blender.pipeline.meshing import surface
from pointe_blender.pipeline.metrics.surfaces import Surface, describe


def mesh(vertices: object, triangles: object) -> Mesh:
    places = np.asarray(vertices, dtype=np.float32)
    return Mesh(places, np.asarray(triangles, dtype=np.int32), np.zeros_like(places))


def joined(*parts: Mesh) -> Mesh:
    """Side by side in one; nothing is welded."""
    begins = np.cumsum([0, *(len(part.vertices) for part in parts)])
    triangles = [part.triangles + begin for part, begin in zip(parts, begins, strict=False)]
    return mesh(np.concatenate([part.vertices for part in parts]), np.concatenate(triangles))


def moved(thing: Mesh, by: tuple[float, float, float], scale: float = 1.0) -> Mesh:
    return mesh(thing.vertices * scale + np.float32(by), thing.triangles)


def cube() -> Mesh:
    """From 0 to 1; vertex 4 x + 2 y + z."""
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [t for a, b, c, d in faces for t in ((a, b, c), (a, c, d))]
    return mesh(list(product((0, 1), repeat=3)), triangles)


def tetrahedron() -> Mesh:
    """At the origin and the ends of the axes."""
    return mesh([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], [(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)])


def sheet(places: np.ndarray, twisted: bool) -> Mesh:
    """A grid (U, V, 3) of vertices that closes in both directions, upside down in the first if twisted."""
    u, v = places.shape[:2]
    index = np.arange(u * v).reshape(u, v)
    seam = index[:1, ::-1] if twisted else index[:1]
    index = np.concatenate([index, seam])
    index = np.concatenate([index, index[:, :1]], axis=1)
    a, b, c, d = (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:])
    triangles = np.stack([np.stack([a, b, c], axis=-1), np.stack([a, c, d], axis=-1)])
    return mesh(places.reshape(-1, 3), triangles.reshape(-1, 3))


def around(u: int, v: int) -> tuple[np.ndarray, np.ndarray]:
    angles = (np.arange(u) * 2 * np.pi / u, (np.arange(v) + 0.5) * 2 * np.pi / v)
    u_of, v_of = np.meshgrid(*angles, indexing="ij")
    return u_of, v_of


def ring(u: np.ndarray, across: np.ndarray, up: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(u) * across, np.sin(u) * across, up], axis=-1)


def torus() -> Mesh:
    u, v = around(48, 24)
    return sheet(ring(u, 1 + 0.4 * np.cos(v), 0.4 * np.sin(v)), twisted=False)


def balls(*places: tuple[float, float, float], side: int = 24) -> list[Mesh]:
    """Each of radius 0.3."""
    axis = np.linspace(-0.51, 0.51, side)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    ball = mesh(*surface((0.3 - np.linalg.norm(lattice, axis=-1)).astype(np.float32)))
    return [moved(ball, place) for place in places]


def test_a_cube() -> None:
    assert describe(cube()) == Surface(closed=True, components=1, self_intersections=0, volume=1.0)


def test_a_cube_inside_out_and_far_away_holds_minus_its_volume() -> None:
    inside_out = mesh(cube().vertices * 2 + 1000, cube().triangles[:, ::-1])
    assert describe(inside_out) == Surface(True, 1, 0, -8.0)


def test_a_torus() -> None:
    found = describe(torus())
    assert (found.closed, found.components, found.self_intersections) == (True, 1, 0)
    assert found.volume == pytest.approx(2 * np.pi**2 * 0.4**2, rel=0.02)


def test_a_cube_whose_faces_have_corners_of_their_own_is_one() -> None:
    """As files write it whose faces differ in colour; one corner is at a negative zero."""
    corners = cube().vertices[cube().triangles.reshape(-1)]
    corners[0] *= -1
    assert describe(mesh(corners, np.arange(36).reshape(-1, 3))) == describe(cube())


def test_a_triangle_of_two_corners_is_none() -> None:
    """As the poles of a globe have them."""
    vertices = [*tetrahedron().vertices, (0, 0, 0)]
    triangles = [*tetrahedron().triangles, (0, 4, 1)]
    assert describe(mesh(vertices, triangles)) == describe(tetrahedron())


def test_a_plane_is_open_and_nothing_is_in_it() -> None:
    found = describe(mesh([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], [(0, 1, 2), (0, 2, 3)]))
    assert (found.closed, found.components, found.self_intersections) == (False, 1, 0)
    assert math.isnan(found.volume)


def test_a_missing_a_doubled_and_a_turned_triangle_open_a_cube() -> None:
    whole = cube().triangles
    for triangles in (whole[1:], [*whole, whole[0]], [whole[0][::-1], *whole[1:]]):
        found = describe(mesh(cube().vertices, triangles))
        assert not found.closed and math.isnan(found.volume) and found.self_intersections == 0


def test_nothing_is_not_closed() -> None:
    found = describe(mesh(np.zeros((3, 3)), np.zeros((0, 3))))
    assert (found.closed, found.components, found.self_intersections) == (False, 0, 0)


def test_a_klein_bottle_closes_only_inside_out_and_goes_through_itself() -> None:
    u, v = around(16, 10)
    across = 2 + np.cos(u / 2) * np.sin(v) - np.sin(u / 2) * np.sin(2 * v)
    up = np.sin(u / 2) * np.sin(v) + np.cos(u / 2) * np.sin(2 * v)
    bottle = sheet(ring(u, across, up), twisted=True)
    found = describe(bottle)
    assert not found.closed and found.components == 1
    assert found.self_intersections == met(bottle) > 20


def test_a_spike_through_a_face_cuts_one_triangle_with_three() -> None:
    spike = moved(tetrahedron(), (0.6, 0.2, -0.2), scale=0.4)  # below the diagonal of the face z = 0
    spike.vertices[1:3] = [(0.65, 0.2, -0.2), (0.6, 0.25, -0.2)]
    assert describe(joined(cube(), spike)).self_intersections == 1 + 3


def test_balls_that_touch_cut_or_hold_each_other() -> None:
    apart = describe(joined(*balls((0, 0, 0), (0.7, 0, 0), (0, 2, 0))))
    assert (apart.closed, apart.components, apart.self_intersections) == (True, 3, 0)
    assert apart.volume == pytest.approx(3 * 4 / 3 * np.pi * 0.3**3, rel=0.02)
    within = joined(*balls((0, 0, 0)), moved(balls((0, 0, 0))[0], (0, 0, 0), scale=0.5))
    assert describe(within).self_intersections == 0
    through = joined(*balls((0, 0, 0), (0.21, 0.11, 0.05), side=10))
    found = describe(through)
    assert found.closed and found.components == 2 and found.self_intersections == met(through) > 20


def test_a_strip_that_folds_through_its_first_triangle() -> None:
    """Only the first and the last of the four share no corner."""
    vertices = [(0, 0, 0), (2, 0, 0), (1, 2, 0), (3, 3, 1), (1, 0.5, 1), (1, 0.5, -1)]
    folded = mesh(vertices, [(0, 1, 2), (1, 3, 2), (2, 3, 4), (3, 5, 4)])
    assert describe(folded).self_intersections == 2
    assert describe(mesh(vertices, folded.triangles[:3])).self_intersections == 0


FLAT = mesh([(0, 0, 0), (4, 0, 0), (0, 4, 0)], [(0, 1, 2)])


@pytest.mark.parametrize(
    ("other", "meets"),
    [
        ([(1, 1, 0), (2, 1, 0), (1, 2, 0)], True),  # lies within it
        ([(-1, 1, 0), (5, 1, 0), (-1, 2, 0)], True),  # lies across it, in its plane
        ([(3, 3, 0), (5, 3, 0), (3, 5, 0)], False),  # in its plane, in its box
        ([(1, 1, 0), (1, 1, 3), (1, 2, 3)], True),  # stands on it with a tip
        ([(2, 2, 0), (2, 2, 3), (3, 2, 3)], True),  # and on its edge
        ([(1, 0, 0), (2, 0, 0), (1, -1, 1)], True),  # edge along edge, corner nowhere on corner
        ([(1, 1, 1e-6), (2, 1, 1e-6), (1, 2, 1)], False),  # hovers
        ([(2.001, 2.001, -1), (2.001, 2.001, 3), (3, 2, 3)], False),  # passes by its edge
        ([(1, 1, -1), (1, 1, 1), (1, 1, 2)], False),  # a line has no area
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_what_touches_counts_and_what_is_near_does_not(
    other: list[tuple[float, float, float]], meets: bool, turned: bool
) -> None:
    both = joined(mesh(other, [(0, 1, 2)]), FLAT) if turned else joined(FLAT, mesh(other, [(0, 1, 2)]))
    assert describe(both).self_intersections == (2 if meets else 0)


def test_bodies_that_touch_in_a_corner_or_an_edge_are_closed_and_one() -> None:
    """Though four triangles meet at the edge once its ends are one."""
    for other in (moved(cube(), (1, 1, 1)), moved(cube(), (1, 1, 0))):
        assert describe(joined(cube(), other)) == Surface(True, 1, 0, 2.0)


def test_marching_cubes_of_noise_closes_and_never_cuts_itself() -> None:
    noise = np.random.default_rng(0).standard_normal((14, 14, 14)).astype(np.float32)
    made = mesh(*surface(noise))
    found = describe(made)
    assert found.closed and found.components > 10 and found.self_intersections == 0
    assert found.components == components(made.triangles)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 3, 64, 150])
def test_soups_of_triangles_meet_as_a_look_at_all_pairs_says(count: int, seed: int) -> None:
    """Of very different sizes; some share corners."""
    random = np.random.default_rng(seed)
    sizes = 10 ** random.uniform(-2, 0, (count, 1, 1))
    soup = random.uniform(-1, 1, (count, 1, 3)) + random.uniform(-1, 1, (count, 3, 3)) * sizes
    triangles = np.arange(3 * count).reshape(-1, 3)
    shared = random.random(count) < 0.3
    triangles[shared, 0] = np.roll(triangles, 1, axis=0)[shared, 1]
    made = mesh(soup.reshape(-1, 3), triangles)
    assert describe(made).self_intersections == met(made)


def met(thing: Mesh) -> int:
    """Triangles that an edge of another pierces, or whose edge pierces another, with no corner in common.

    In general position there is no other way to meet.
    """
    corners = thing.vertices.astype(np.float64)[thing.triangles]
    i, j = np.triu_indices(len(corners), 1)
    apart = (thing.triangles[i][:, :, None] != thing.triangles[j][:, None]).all(axis=(1, 2))
    i, j = i[apart], j[apart]
    meet = pierced(corners[i], corners[j]) | pierced(corners[j], corners[i])
    return len(np.union1d(i[meet], j[meet]))


def pierced(triangles: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether an edge of the others goes through the triangles: the signs of five tetrahedra say so."""
    a, b, c = np.moveaxis(triangles, 1, 0)
    found = np.zeros(len(a), dtype=bool)
    for k in range(3):
        p, q = others[:, k], others[:, k - 1]
        first, second, third = (side(p, q, *edge) for edge in ((a, b), (b, c), (c, a)))
        found |= (first == second) & (second == third) & (side(a, b, c, p) != side(a, b, c, q))
    return found


def side(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The signs of the volumes of tetrahedra."""
    return np.sign(np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a))


def components(triangles: np.ndarray) -> int:
    """One triangle after the other joins what it touches."""
    pieces: list[set[int]] = []
    for corners in map(set, triangles.tolist()):
        touched = [piece for piece in pieces if piece & corners]
        pieces = [piece for piece in pieces if not piece & corners]
        pieces.append(corners.union(*touched))
    return len(pieces)
