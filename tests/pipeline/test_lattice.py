"""From coarse to fine comes the surface of the whole lattice, from a part of its values."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from random import Random

import numpy as np
import pytest
import torch

from pointe_blender.pipeline.lattice import coarse_to_fine
from pointe_blender.pipeline.marching_cubes import marching_cubes
from pointe_blender.pipeline.starter import solids, world

Field = Callable[[np.ndarray], np.ndarray]  # of points (..., 3), in a cube of side 2 around the origin


def lattice(resolution: int) -> np.ndarray:
    """(R, R, R, 3) points of the cube, x slowest."""
    axis = np.linspace(-1, 1, resolution)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def searched(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What coarse-to-fine evaluation makes of a field, and how often it asked for each point."""
    search = coarse_to_fine(len(field))
    asked = np.zeros(field.shape, dtype=int)
    wanted = next(search)
    while True:
        points = tuple(wanted.points.T)
        np.add.at(asked, points, 1)
        try:
            wanted = search.send(field[points])
        except StopIteration as settled:
            return settled.value, asked


def share(field: np.ndarray) -> float:
    """Of the lattice that was evaluated; the surface is that of the whole, to the last bit."""
    found, asked = searched(field.astype(np.float32))
    assert asked.max() == 1
    np.testing.assert_array_equal(found[asked == 1], field.astype(np.float32)[asked == 1])
    np.testing.assert_array_equal(found > 0, field > 0)
    for ours, theirs in zip(marching_cubes(found), marching_cubes(field.astype(np.float32)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    return float(asked.mean())


def ball(
    points: np.ndarray, radius: float = 0.7, centre: tuple[float, ...] = (0.1, -0.04, 0.2)
) -> np.ndarray:
    return radius - np.linalg.norm(points - centre, axis=-1)


def islands(points: np.ndarray) -> np.ndarray:
    """Forty balls, the smallest a third of a cell in radius, so that they may hold no lattice point."""
    random, cell = np.random.default_rng(4), 2 / (len(points) - 1)
    balls = zip(random.uniform(0.3, 3, 40) * cell, random.uniform(-0.9, 0.9, (40, 3)), strict=True)
    return reduce(np.maximum, (ball(points, radius, centre) for radius, centre in balls))


def plate(points: np.ndarray) -> np.ndarray:
    """Thinner than a cell, and askew."""
    x, y, z = np.moveaxis(points @ np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0], -1, 0)
    return np.minimum.reduce([0.9 / (len(points) - 1) - abs(z - 0.02), 0.8 - abs(x), 0.8 - abs(y)])


def torus(points: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(points, -1, 0)
    return 0.2 - np.hypot(np.hypot(x, y) - 0.6, z)


def shells(points: np.ndarray) -> np.ndarray:
    """One inside the other, two cells thick."""
    cell = 2 / (len(points) - 1)
    distances = np.linalg.norm(points, axis=-1), np.linalg.norm(points - 0.1, axis=-1)
    return np.maximum(cell - abs(distances[0] - 0.8), cell - abs(distances[1] - 0.3))


def steep(points: np.ndarray) -> np.ndarray:
    """Five times as steep as a distance."""
    return 5 * shells(points)


def uneven(points: np.ndarray) -> np.ndarray:
    """Up to four times as steep in one place as elsewhere."""
    return islands(points) * (1 + 3 * np.exp(-12 * np.square(points - (0.4, 0, 0)).sum(axis=-1)))


def rippled(points: np.ndarray) -> np.ndarray:
    x, y, _ = np.moveaxis(points, -1, 0)
    return ball(points) + 0.04 * np.sin(30 * x) * np.sin(30 * y)


@pytest.mark.parametrize("resolution", [33, 64])
@pytest.mark.parametrize("field", [ball, islands, plate, torus, shells, steep, uneven, rippled])
def test_the_surface_is_that_of_the_whole_lattice(field: Field, resolution: int) -> None:
    assert share(field(lattice(resolution))) < 0.5


@pytest.mark.parametrize("resolution", [2, 3, 9, 16, 17, 31, 40, 65])
def test_any_resolution_will_do(resolution: int) -> None:
    assert (share(ball(lattice(resolution))) == 1) == (resolution <= 16)


def test_the_share_falls_as_the_surface_becomes_a_smaller_part() -> None:
    shares = [share(torus(lattice(resolution))) for resolution in (32, 64, 128)]
    assert shares[0] > 1.5 * shares[1] > 2.25 * shares[2]
    assert shares[2] < 0.06


@pytest.mark.parametrize("kind", world.KINDS)
def test_every_object_of_the_starter_world(kind: str) -> None:
    generator = torch.Generator().manual_seed(3)
    made = solids.normalised(world.build_all([world.Label(kind, "red")], Random(5)), generator)
    points = torch.from_numpy(lattice(48).astype(np.float32) * 0.51).view(1, -1, 3)
    assert share(solids.signed_distance(made, points).view(48, 48, 48).numpy()) < 0.35


def test_noise_is_evaluated_everywhere() -> None:
    assert share(np.random.default_rng(0).standard_normal((48, 48, 48))) > 0.99


def test_a_ball_in_noise_is_evaluated_as_far_as_the_noise_reaches() -> None:
    noise = np.random.default_rng(0).standard_normal((48, 48, 48)) * 2 / 47
    assert share(ball(lattice(48)) + noise) < share(ball(lattice(48)) + 3 * noise)


def test_what_grows_out_of_the_surface_is_followed_to_its_end() -> None:
    """A rod of two by two lattice points of which the field elsewhere shows nothing."""
    field = ball(lattice(65), 0.4, (0, 0, 0))
    field[32:60, 33:35, 33:35] = 0.01
    assert share(field) < 0.3


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_a_field_of_one_sign_is_soon_known(value: float) -> None:
    field = np.full((64, 64, 64), value, dtype=np.float32)
    found, asked = searched(field)
    np.testing.assert_array_equal(found, field)
    assert asked.mean() < 0.02
