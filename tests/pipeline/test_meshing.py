"""Fields of known surfaces become closed, outward meshes of the right size; any field a closed one."""

from __future__ import annotations

import os
from collections.abc import Generator
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pointe_blender.pipeline import memory, meshing
from pointe_blender.pipeline.errors import NoSurface
from pointe_blender.pipeline.geometry import Mesh, PointCloud
from pointe_blender.pipeline.marching_cubes import marching_cubes
from pointe_blender.pipeline.starter import solids, world
from pointe_blender.pipeline.weights import Folders

PARITY = Path(os.environ.get("POINTE_PARITY", Path(__file__).parents[3] / "shared" / "parity"))
recorded = pytest.mark.skipif(not (PARITY / "mesh.npz").is_file(), reason="the recorded answers are not here")


def lattice(resolution: int) -> np.ndarray:
    """(R, R, R, 3) points of the cube, x slowest."""
    axis = np.linspace(-meshing.SIDE / 2, meshing.SIDE / 2, resolution)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def ball(resolution: int, radius: float = 0.35, centre: tuple[float, ...] = (0.05, -0.02, 0.1)) -> np.ndarray:
    return (radius - np.linalg.norm(lattice(resolution) - centre, axis=-1)).astype(np.float32)


def volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = vertices[triangles].astype(np.float64).transpose(1, 0, 2)
    return float(np.einsum("ij,ij", a, np.cross(b, c)) / 6)


def area(vertices: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = vertices[triangles].astype(np.float64).transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def assert_closed(vertices: np.ndarray, triangles: np.ndarray) -> None:
    """Every edge has one triangle on each side, every vertex is used, and no two are in one place."""
    directed = np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    assert (directed[:, 0] != directed[:, 1]).all()
    assert len(np.unique(directed, axis=0)) == len(directed)
    np.testing.assert_array_equal(np.unique(directed, axis=0), np.unique(directed[:, ::-1], axis=0))
    np.testing.assert_array_equal(np.unique(triangles), np.arange(len(vertices)))
    assert len(np.unique(vertices.astype(np.float32), axis=0)) == len(vertices)


def euler(vertices: np.ndarray, triangles: np.ndarray) -> int:
    return len(vertices) - len(triangles) * 3 // 2 + len(triangles)


def test_a_ball():
    vertices, triangles = meshing.surface(ball(64))
    assert (vertices.dtype, triangles.dtype) == (np.float32, np.int32)
    assert_closed(vertices, triangles)
    assert euler(vertices, triangles) == 2
    assert volume(vertices, triangles) == pytest.approx(4 / 3 * np.pi * 0.35**3, rel=2e-3)
    assert area(vertices, triangles) == pytest.approx(4 * np.pi * 0.35**2, rel=2e-3)
    distances = np.linalg.norm(vertices - (0.05, -0.02, 0.1), axis=1)
    np.testing.assert_allclose(distances, 0.35, atol=2e-4)


def test_a_torus_has_one_hole_and_two_balls_have_two_surfaces():
    x, y, z = np.moveaxis(lattice(48), -1, 0)
    torus = 0.12 - np.hypot(np.hypot(x, y) - 0.3, z)
    assert_closed(*meshing.surface(torus))
    assert euler(*meshing.surface(torus)) == 0
    assert volume(*meshing.surface(torus)) == pytest.approx(2 * np.pi**2 * 0.3 * 0.12**2, rel=1e-2)
    balls = np.maximum(ball(48, 0.15, (-0.3, 0, 0)), ball(48, 0.15, (0.3, 0, 0)))
    assert euler(*meshing.surface(balls)) == 4


@pytest.mark.parametrize("signs", list(product((-1, 1), repeat=3)))
def test_every_cell_is_closed(signs):
    """All 256 cells, by the signs of three corners and all those of the other five."""
    sizes = np.random.default_rng(0).uniform(0.1, 1, 8)
    for others in product((-1, 1), repeat=5):
        vertices, triangles = marching_cubes((sizes * (*signs, *others)).reshape(2, 2, 2))
        if len(vertices):
            assert_closed(vertices, triangles)
            assert volume(vertices, triangles) > 0


def test_noise_is_closed():
    field = np.random.default_rng(0).standard_normal((20, 21, 22))
    vertices, triangles = marching_cubes(field)
    assert_closed(vertices, triangles)
    assert volume(vertices, triangles) == pytest.approx(field.size / 2, rel=0.2)


def test_exact_zeros_are_closed():
    field = np.random.default_rng(0).integers(-1, 2, (20, 20, 20)).astype(np.float32)
    assert_closed(*meshing.surface(field))


def test_what_reaches_the_border_is_closed_there():
    vertices, triangles = meshing.surface(ball(32, radius=0.7, centre=(0, 0, 0)))
    assert_closed(vertices, triangles)
    cell = meshing.SIDE / 31
    assert np.abs(vertices).max() == pytest.approx((meshing.SIDE + cell) / 2)


@pytest.mark.parametrize("field", [np.full((16, 16, 16), value) for value in (-1.0, 0.0, 1.0, np.nan)])
def test_no_surface_is_an_error(field):
    with pytest.raises(NoSurface):
        meshing.surface(field)


class Analytic(nn.Module):
    """In place of the trained network: the distance to a ball, and a record of what was asked."""

    def __init__(self, n_ctx: int = 64) -> None:
        super().__init__()
        self.n_ctx = n_ctx
        self.encoded: list[int] = []
        self.asked: list[int] = []

    def encode(self, points: Tensor) -> Tensor:
        self.encoded.append(points.shape[2])
        return points.transpose(1, 2)

    def decode(self, queries: Tensor, latents: Tensor) -> Tensor:
        assert torch.is_inference_mode_enabled()
        self.asked.append(queries.shape[2])
        centre = torch.tensor([0.05, -0.02, 0.1])[:, None]
        return 0.35 - (queries - centre).norm(dim=1)


def cloud_of(count: int) -> PointCloud:
    random = np.random.default_rng(0)
    points = random.normal(size=(count, 3))
    points = 0.35 * points / np.linalg.norm(points, axis=1, keepdims=True) + (0.05, -0.02, 0.1)
    return PointCloud(points.astype(np.float32), (points[:, :1] > 0.05).repeat(3, axis=1).astype(np.float32))


def finished(run: Generator[tuple[int, int], None, Any]) -> tuple[list[tuple[int, int]], Any]:
    """All the progress, and the result."""
    progress = []
    while True:
        try:
            progress.append(next(run))
        except StopIteration as stop:
            return progress, stop.value


def test_the_field_has_the_surface_of_the_network_on_the_lattice():
    network = Analytic()
    progress, field = finished(meshing.evaluate(network, cloud_of(50), 40, "cpu"))
    np.testing.assert_array_equal(field > 0, ball(40) > 0)
    for ours, theirs in zip(meshing.surface(field), meshing.surface(ball(40)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert network.encoded == [50]
    assert [done for done, _ in progress[:-1]] == np.cumsum(network.asked).tolist()
    assert sum(network.asked) < 0.25 * 40**3


def test_progress_never_falls_and_ends_complete():
    progress, _ = finished(meshing.evaluate(Analytic(n_ctx=4096), cloud_of(4096), 128, "cpu"))
    parts = [done / total for done, total in progress]
    assert (np.diff(parts) >= 0).all()
    assert progress[-1][0] == progress[-1][1]
    evaluated = np.array([done for done, _ in progress]) / progress[-1][0]
    np.testing.assert_allclose(parts, evaluated, atol=0.15)


def test_batches_shrink_with_the_number_of_latents():
    for points, largest in ((4096, 4096), (50, 2**15)):
        network = Analytic(n_ctx=points)
        finished(meshing.evaluate(network, cloud_of(points), 128, "cpu"))
        assert max(network.asked) <= largest
        assert largest / 4 < max(network.asked)


@pytest.mark.parametrize(
    ("kind", "resolution"), [("mug", 40), pytest.param("table", 64, marks=pytest.mark.slow)]
)
def test_a_trained_network_makes_the_mesh_of_its_whole_field(kind, resolution, tmp_path):
    """The network that comes along, on objects of its world."""
    network = memory.load("starter-sdf", "cpu", Folders(tmp_path))
    generator = torch.Generator().manual_seed(7)
    made = solids.normalised(world.build_all([world.Label(kind, "red")], Random(5)), generator)
    points = solids.sample_surface(made, 512, generator)
    colors = np.random.default_rng(0).random((512, 3), dtype=np.float32)
    cloud = PointCloud(points[0].numpy(), colors)
    progress, mesh = finished(meshing.mesh_from_cloud(network, cloud, resolution, "cpu"))

    axis = torch.arange(resolution) * (meshing.SIDE / (resolution - 1)) - meshing.SIDE / 2
    queries = torch.cartesian_prod(axis, axis, axis).T[None]
    with torch.inference_mode():
        encoded = network.encode(points.transpose(1, 2))
        parts = [network.decode(some, encoded)[0] for some in queries.split(16384, dim=2)]
    vertices, triangles = meshing.surface(torch.cat(parts).view((resolution,) * 3).numpy())
    # In batches of other sizes sums are rounded otherwise, which moves vertices where the field is flat.
    np.testing.assert_allclose(mesh.vertices, vertices, atol=1e-4)
    assert np.mean(np.abs(mesh.vertices - vertices) > 1e-5) < 1e-3
    np.testing.assert_array_equal(mesh.triangles, triangles)
    np.testing.assert_array_equal(mesh.colors, colors[meshing.nearest(cloud.points, vertices)])
    assert progress[-1][0] < 0.4 * resolution**3


def test_what_is_not_a_number_stops_at_once():
    network = Analytic()
    network.decode = lambda queries, _: torch.full(queries.shape[::2], torch.nan)
    with pytest.raises(NoSurface, match="choose the CPU"):
        next(meshing.evaluate(network, cloud_of(50), 40, "cpu"))


def test_a_network_of_fewer_points_sees_the_farthest_ones():
    network = Analytic(n_ctx=64)
    next(meshing.evaluate(network, cloud_of(500), 16, "cpu"))
    assert network.encoded == [64]


def test_closing_stops_after_the_batch():
    network = Analytic()
    run = meshing.mesh_from_cloud(network, cloud_of(50), 64, "cpu")
    for _ in range(3):
        next(run)
    run.close()
    assert len(network.asked) == 3


def test_a_mesh_has_the_colours_of_the_cloud():
    _, mesh = finished(meshing.mesh_from_cloud(Analytic(4096), cloud_of(4096), 24, "cpu"))
    assert isinstance(mesh, Mesh)
    assert_closed(mesh.vertices, mesh.triangles)
    away = np.abs(mesh.vertices[:, 0] - 0.05) > 0.05
    np.testing.assert_array_equal(mesh.colors[away, 0], mesh.vertices[away, 0] > 0.05)


@pytest.mark.parametrize("spread", [1.0, 1e-3, 0.0])
def test_the_nearest_is_that_of_all(spread):
    """Of points close together and queries around them and away from them, also where several are as near."""
    random = np.random.default_rng(0)
    points = (spread * random.normal(size=(400, 3))).astype(np.float32)
    points[300:] = points[:100]
    for queries in (random.normal(size=(5000, 3)), points[::-1], 2 * points, points[:1], points[:0]):
        queries = queries.astype(np.float32)
        squares = (points**2).sum(axis=1) + (queries**2).sum(axis=1)[:, None] - 2 * (queries @ points.T)
        chosen = np.take_along_axis(squares, meshing.nearest(points, queries)[:, None], axis=1)[:, 0]
        np.testing.assert_allclose(chosen, squares.min(axis=1), rtol=0, atol=1e-6)
        apart = np.linalg.norm(queries[:, None].astype(float) - points, axis=2)
        found = np.take_along_axis(apart, meshing.nearest(points, queries)[:, None], axis=1)[:, 0]
        np.testing.assert_allclose(found, apart.min(axis=1), atol=2e-3)


def test_nearest_and_farthest_against_the_definition():
    random = np.random.default_rng(0)
    points, queries = random.normal(size=(300, 3)), random.normal(size=(70, 3))
    apart = np.linalg.norm(queries[:, None] - points, axis=2)
    np.testing.assert_array_equal(meshing.nearest(points, queries), apart.argmin(axis=1))
    chosen = meshing.farthest_points(points, 20, start=7)
    assert chosen[0] == 7
    for i in range(1, 20):
        to_chosen = np.linalg.norm(points[:, None] - points[chosen[:i]], axis=2).min(axis=1)
        assert chosen[i] == to_chosen.argmax()


@recorded
def test_the_released_program_makes_the_same_mesh():
    with np.load(PARITY / "mesh.npz") as answers:
        vertices, triangles = meshing.surface(ball(24))
        order = [np.lexsort(v.round(4).T) for v in (vertices, answers["verts"])]
        np.testing.assert_allclose(vertices[order[0]], answers["verts"][order[1]], atol=1e-5)
        assert len(triangles) == len(answers["faces"])
        theirs = volume(answers["verts"], answers["faces"])
        assert volume(vertices, triangles) == pytest.approx(theirs, abs=1e-5)
