"""Points fall on a surface exactly as its area asks."""

from __future__ import annotations

import numpy as np
import pytest

from pointe_blender.pipeline.errors import InvalidRequest
from pointe_blender.pipeline.sampling import sample_surface

BOX = np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 2.0) for z in (0.0, 5.0)])
FACES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
SIDES = np.array([10.0, 10.0, 5.0, 5.0, 2.0, 2.0])  # their areas
TRIANGLES = FACES[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)

CHI_SQUARE = {11: 24.725, 15: 30.578}  # by degrees of freedom; exceeded by one fair draw in a hundred


def drawn(vertices: np.ndarray, triangles: np.ndarray, count: int, seed: int = 0):
    return sample_surface(vertices, triangles, count, np.random.default_rng(seed))


def chi_square(counts: np.ndarray, shares: np.ndarray) -> float:
    expected = shares / shares.sum() * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("count", [7, 4096])
def test_every_triangle_gets_its_share_to_within_one_point(count: int) -> None:
    _, triangle, _ = drawn(BOX, TRIANGLES, count)
    shares = np.repeat(SIDES / 2, 2) / SIDES.sum() * count
    assert np.abs(np.bincount(triangle, minlength=12) - shares).max() < 1.0
    assert (np.diff(triangle) >= 0).all()


def test_over_many_draws_the_rounding_is_fair() -> None:
    """Of three points on twelve triangles each triangle gets its share on average."""
    counts = sum(np.bincount(drawn(BOX, TRIANGLES, 3, seed)[1], minlength=12) for seed in range(4000))
    assert chi_square(counts, np.repeat(SIDES, 2)) < CHI_SQUARE[11]


def test_points_lie_on_their_triangle_where_the_weights_say() -> None:
    points, triangle, barycentric = drawn(BOX, TRIANGLES, 4096)
    assert points.dtype == np.float32 and points.shape == barycentric.shape == (4096, 3)
    assert (barycentric >= 0).all() and np.allclose(barycentric.sum(axis=1), 1.0)
    expected = (barycentric[..., None] * BOX[TRIANGLES[triangle]]).sum(axis=1)
    np.testing.assert_allclose(points, expected, atol=1e-6)
    on_a_side = np.isclose(points, 0.0, atol=1e-6) | np.isclose(points, [1.0, 2.0, 5.0], atol=1e-6)
    assert on_a_side.any(axis=1).all()


def test_they_are_even_within_a_triangle() -> None:
    """A triangle cut into sixteen equal ones gets as many points in each, by chi-square."""
    points, _, _ = drawn(np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0]]), np.array([[0, 1, 2]]), 8000)
    cells, inside = np.floor(points[:, :2]).astype(int), points[:, :2] % 1.0
    upper = inside.sum(axis=1) > 1.0
    counts = np.unique(np.column_stack((cells, upper)), axis=0, return_counts=True)[1]
    assert len(counts) == 16 and chi_square(counts, np.ones(16)) < CHI_SQUARE[15]


def test_collapsed_triangles_get_nothing_wherever_they_stand() -> None:
    collapsed = np.array([[0, 0, 0], [0, 1, 1], [3, 3, 7]])
    triangles = np.concatenate((collapsed, TRIANGLES[:6], collapsed, TRIANGLES[6:], collapsed))
    _, triangle, _ = drawn(BOX, triangles, 4096)
    assert not set(triangle) & {0, 1, 2, 9, 10, 11, 18, 19, 20}


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_does_not_matter(scale: float) -> None:
    points, triangle, _ = drawn(BOX, TRIANGLES, 1000)
    scaled, same, _ = drawn(BOX * scale, TRIANGLES, 1000)
    np.testing.assert_array_equal(triangle, same)
    np.testing.assert_allclose(scaled, points * scale, rtol=1e-5, atol=1e-6 * scale)


def test_equal_generators_draw_equal_points() -> None:
    for one, other in zip(drawn(BOX, TRIANGLES, 500), drawn(BOX, TRIANGLES, 500), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(drawn(BOX, TRIANGLES, 500)[0], drawn(BOX, TRIANGLES, 500, seed=1)[0])


@pytest.mark.parametrize("triangles", [np.empty((0, 3), int), np.array([[0, 0, 1], [2, 2, 2]])])
def test_without_area_it_is_refused(triangles: np.ndarray) -> None:
    with pytest.raises(InvalidRequest, match="no area: choose"):
        drawn(BOX, triangles, 10)
