"""Pictures from all around: where things are in them, in which colours, and that nothing else changes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils.geometry import convex_hull_2d

from pointe_blender.pipeline import Mesh, PointCloud
from pointe_blender.pipeline.errors import CannotWrite, InvalidRequest
from pointe_blender.scene import opengl
from pointe_blender.scene.turntable import Camera, Engine, Turntable

SIZE = 48
SMALL = Camera(views=2, azimuth=0.4, size=SIZE)
RED = (0.8, 0.2, 0.1)
CUBE = np.array(list(itertools.product((-0.5, 0.5), repeat=3)), np.float32)
FACES = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)]
FACES += [(2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)]
ENGINES = ["CYCLES", "WORKBENCH", pytest.param("EEVEE", marks=pytest.mark.slow)]  # by a CPU, that one is


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    bpy.ops.wm.read_homefile(use_empty=True)
    yield


def box(size: tuple[float, float, float], color: Sequence[float] | np.ndarray = RED) -> Mesh:
    """Around the origin."""
    return Mesh(CUBE * np.float32(size), np.array(FACES, np.int32), np.tile(np.float32(color), (8, 1)))


def turn(
    thing: Mesh | PointCloud | bpy.types.Object,
    folder: Path,
    camera: Camera = SMALL,
    engine: Engine = "CYCLES",
    lit: bool = False,
    around: np.ndarray | None = CUBE,
) -> list[np.ndarray]:
    """(S, S, 3) uint8 of each view."""
    with Turntable(camera, engine, lit) as table:
        return [pixels(path) for path in table.render(thing, folder, "thing", around)]


def pixels(path: Path) -> np.ndarray:
    """(S, S, 3) uint8, the top row first."""
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = "Non-Color"
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    shown = values.reshape(image.size[1], image.size[0], -1)[::-1, :, :3]
    bpy.data.images.remove(image)
    return (shown * 255).round().astype(np.uint8)


def outline(points: np.ndarray, camera: Camera, view: int) -> np.ndarray:
    """(H, 2) corners, in pixels, of the hull of points as a pinhole camera sees them."""
    angle = camera.azimuth + 2 * np.pi * view / camera.views
    level, high = np.cos(camera.elevation), np.sin(camera.elevation)
    eye = np.array([np.sin(angle) * level, -np.cos(angle) * level, high])
    right = np.array([np.cos(angle), np.sin(angle), 0.0])
    seen = points @ np.stack((right, np.cross(eye, right), eye), axis=1)
    scale = camera.size / 2 / np.tan(camera.field / 2) / (camera.distance - seen[:, 2:])
    spots = camera.size / 2 + seen[:, :2] * scale * (1, -1)
    return spots[convex_hull_2d(spots.tolist())]


def inside(hull: np.ndarray, margin: float) -> np.ndarray:
    """(S, S) bool: which pixels' middles are in a convex hull grown by so many pixels."""
    grid = np.stack(np.meshgrid(*[np.arange(SIZE) + 0.5] * 2), axis=-1)
    edges = np.roll(hull, -1, axis=0) - hull
    normals = np.stack((edges[:, 1], -edges[:, 0]), axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    away = np.einsum("ek,hwek->hwe", normals, grid[:, :, None] - hull)
    (a, b), (c, d) = edges[:2]
    return (away * np.sign(a * d - b * c) <= margin).all(axis=-1)


def left_in_blender() -> dict[str, list[str]]:
    """All data-blocks by kind."""
    kinds = [p.identifier for p in bpy.data.bl_rna.properties if p.type == "COLLECTION"]
    return {kind: sorted(block.name_full for block in getattr(bpy.data, kind)) for kind in kinds}


def test_a_cube_is_where_projection_says_it_is(tmp_path: Path) -> None:
    cube = box((0.5, 0.3, 0.6))
    for view, shown in enumerate(turn(cube, tmp_path)):
        hull = outline(cube.vertices, SMALL, view)
        assert (shown[inside(hull, -1.5)] == np.round(np.multiply(RED, 255))).all()
        assert (shown[~inside(hull, 1.5)] == 255).all()


def test_by_default_the_camera_is_the_papers_and_the_thing_fills_it() -> None:
    camera = Camera()
    right, up, back, eye = (np.array(camera.pose(0).col[i][:3]) for i in range(4))
    assert np.allclose(eye, np.array([1.0, 0.0, 0.2617993878]) * 2 / np.hypot(1.0, 0.2617993878), atol=1e-6)
    assert np.allclose(back, eye / 2, atol=1e-6)
    assert np.allclose(right, (0.0, 1.0, 0.0), atol=1e-6)
    assert up[2] > 0.9
    assert np.isclose(np.degrees(camera.field), 39.5978)
    assert np.allclose(np.array(camera.pose(5).translation)[:2], [-eye[1], eye[0]], atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_without_lamps_colors_are_exact(engine: Engine, tmp_path: Path) -> None:
    if engine != "CYCLES" and not opengl.available():
        pytest.skip("there is no OpenGL here")
    color = np.array((1, 102, 254))
    cube = box((0.5, 0.5, 0.5), color / 255)
    (shown,) = turn(cube, tmp_path, Camera(views=1, size=16), engine)
    off = shown[8, 8].astype(int) - color
    assert np.abs(off).max() <= (0 if engine == "CYCLES" else 2), "OpenGL computes in half precision"
    assert (shown[0, 0] == 255).all()


@pytest.mark.parametrize("engine", ["CYCLES", "WORKBENCH"])
def test_an_object_shows_its_texture_wherever_it_stands(engine: Engine, tmp_path: Path) -> None:
    if engine != "CYCLES" and not opengl.available():
        pytest.skip("there is no OpenGL here")
    bpy.ops.mesh.primitive_cube_add(size=3.0, location=(7.0, -2.0, 30.0))
    cube = bpy.context.object
    image = bpy.data.images.new("texture", 2, 2)
    image.pixels[:] = [0.2, 0.6, 0.4, 1.0] * 4
    material = bpy.data.materials.new("textured")
    if not material.node_tree:
        material.use_nodes = True
    nodes, link = material.node_tree.nodes, material.node_tree.links.new
    texture = nodes.new("ShaderNodeTexImage")
    texture.image = image
    surface = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    link(texture.outputs["Color"], surface.inputs["Base Color"])
    cube.data.materials.append(material)
    bpy.context.view_layer.update()
    (shown, _) = turn(cube, tmp_path, engine=engine, around=None)
    hull = outline(CUBE, SMALL, 0)
    assert (shown[inside(hull, -1.5)] == (51, 153, 102)).all()
    assert (shown[~inside(hull, 1.5)] == 255).all()


def test_a_cloud_looks_like_its_mesh_but_for_the_rim(tmp_path: Path) -> None:
    tower, step = box((0.25, 0.25, 1.0)), 0.025
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in (5, 5, 20)), indexing="ij"), -1).reshape(
        -1, 3
    )
    points = np.float32(grid[(np.abs(grid) == (5, 5, 20)).any(axis=1)] * step)
    cloud = PointCloud(points, np.tile(np.float32(RED), (len(points), 1)))
    radius = 1.5 * step  # at most: half of it more than what closes the holes
    with Turntable(SMALL, lit=False) as table:
        for view, (a, b) in enumerate(
            zip(table.render(cloud, tmp_path, "a"), table.render(tower, tmp_path, "b"), strict=True)
        ):
            error = (pixels(a).astype(float) - pixels(b)) / 255
            hull = outline(tower.vertices, SMALL, view)
            nearest = SMALL.distance - np.linalg.norm(tower.vertices, axis=1).max()
            rim = radius * SIZE / 2 / np.tan(SMALL.field / 2) / nearest + 1.5
            differs = inside(hull, rim) & ~inside(hull, -1.5)
            assert (error[~differs] == 0).all()
            contrast = np.square(np.subtract(1.0, RED)).mean()
            assert np.square(error).mean() <= differs.mean() * contrast
            assert -10 * np.log10(np.square(error).mean()) > 15.0


def test_lamps_light_every_side_and_change_no_outline(tmp_path: Path) -> None:
    red = box((0.5, 0.3, 0.6), (1.0, 0.0, 0.0))
    for view, shown in enumerate(turn(red, tmp_path, lit=True)):
        lit = shown[inside(outline(red.vertices, SMALL, view), -1.5)]
        assert (lit[:, 1:] == 0).all()
        assert lit[:, 0].min() > 100
        assert (shown[~inside(outline(red.vertices, SMALL, view), 1.5)] == 255).all()


def test_only_what_is_missing_is_rendered_and_it_is_the_same_each_time(tmp_path: Path) -> None:
    with Turntable(SMALL) as table:
        first, second = table.render(box((0.5, 0.5, 0.5)), tmp_path, "cube")
        before = pixels(first)
        first.unlink()
        second.write_bytes(b"kept")
        assert table.render(box((0.5, 0.5, 0.5)), tmp_path, "cube") == [first, second]
    assert first.name == "cube_00.png"
    assert (pixels(first) == before).all()
    assert second.read_bytes() == b"kept"


def test_a_cut_leaves_no_picture_and_no_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    before = left_in_blender()
    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        turn(box((0.5, 0.5, 0.5)), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert left_in_blender() == before


def test_the_artists_scene_stays_as_it_was(tmp_path: Path) -> None:
    bpy.ops.mesh.primitive_monkey_add()
    monkey = bpy.context.object
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene = bpy.context.scene
    scene.collection.objects.link(camera)
    scene.camera, scene.render.engine = camera, "CYCLES"
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.cycles.samples = 1
    bpy.ops.render.render()
    kept = next(image for image in bpy.data.images if image.type == "RENDER_RESULT")
    kept.save_render(str(tmp_path / "before.png"))
    before = left_in_blender()
    turn(monkey, tmp_path, lit=True, around=None)
    with pytest.raises(InvalidRequest, match="Camera has no surface: choose"):
        turn(camera, tmp_path / "camera")
    with pytest.raises(InvalidRequest, match="nothing to render"):
        turn(PointCloud(np.zeros((4, 3)), np.zeros((4, 3))), tmp_path / "point", around=None)
    assert left_in_blender() == before
    assert (bpy.context.scene, scene.camera, bpy.context.object) == (scene, camera, monkey)
    assert monkey.users_scene == (scene,)
    kept.save_render(str(tmp_path / "after.png"))
    assert (pixels(tmp_path / "after.png") == pixels(tmp_path / "before.png")).all()


def test_what_cannot_be_done_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match="no lamps: render with Cycles"):
        Turntable(engine="WORKBENCH")
    monkeypatch.setattr(opengl, "available", lambda: False)
    with pytest.raises(InvalidRequest, match="EEVEE needs OpenGL, which is missing here: render with Cycles"):
        Turntable(engine="EEVEE")
    with pytest.raises(CannotWrite, match="There is no folder"):
        turn(box((0.5, 0.5, 0.5)), tmp_path / "missing")
