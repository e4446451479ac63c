"""Files of Blender's own exporters, read again: counts, places, colours, textures, nothing half written."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from pointe_blender.pipeline import Request, Result, files
from pointe_blender.pipeline.colors import srgb
from pointe_blender.pipeline.errors import CannotWrite, InvalidRequest
from pointe_blender.scene import exports, objects
from pointe_blender.scene.finishing import Finish
from tests.blender.stand_in import RED, red_cloud, red_mesh

ALL = list(exports.EXPORTERS)
CLOUDS = [suffix for suffix in ALL if suffix != ".fbx"]


def insert(**finish: object) -> list[bpy.types.Object]:
    """A mesh at x = 1 and a cloud at x = 3.4, both 2 m long and standing on the ground."""
    bpy.context.scene.cursor.location = (1.0, 0.0, 0.0)
    result = Result((red_cloud(),), (red_mesh(),), (0,), (), "starter", "cpu", {"total": 0.1})
    asked = Request(prompt="a red ball")
    return objects.insert(result, asked, "a red ball", "Scene", Finish(**{"size": 2.0, **finish}))


def load(path: Path) -> list[bpy.types.Object]:
    """What Blender's importer makes of a file, in an empty scene."""
    bpy.ops.wm.read_homefile(use_empty=True)
    importers: dict[str, Callable] = {
        ".glb": bpy.ops.import_scene.gltf,
        ".ply": bpy.ops.wm.ply_import,
        ".obj": bpy.ops.wm.obj_import,
        ".fbx": bpy.ops.import_scene.fbx,
    }
    importers.get(path.suffix, bpy.ops.wm.usd_import)(filepath=str(path))
    bpy.context.view_layer.update()
    return [thing for thing in bpy.data.objects if thing.type in ("MESH", "POINTCLOUD")]


def places(thing: bpy.types.Object) -> np.ndarray:
    """(N, 3) in the world."""
    position = thing.data.attributes["position"].data
    values = np.empty((len(position), 3), np.float32)
    position.foreach_get("vector", values.ravel())
    matrix = np.array(thing.matrix_world)
    return values @ matrix[:3, :3].T + matrix[:3, 3]


def colors(thing: bpy.types.Object) -> np.ndarray:
    """(N, 3) sRGB of the first colour attribute."""
    attribute = next(a for a in thing.data.attributes if a.data_type in ("FLOAT_COLOR", "BYTE_COLOR"))
    values = np.empty((len(attribute.data), 4), np.float32)
    attribute.data.foreach_get("color", values.ravel())
    return srgb(values[:, :3])


def obj_vertices(path: Path) -> np.ndarray:
    """(N, 6) places and sRGB colours."""
    return np.array([line.split()[1:] for line in path.read_text().splitlines() if line[:2] == "v "], float)


def gltf(path: Path) -> dict:
    data = path.read_bytes()
    (length,) = struct.unpack("<I", data[12:16])
    return json.loads(data[20 : 20 + length])


@pytest.mark.parametrize("suffix", ALL)
def test_a_mesh_comes_back_with_its_size_place_and_colours(
    extension: None, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"ball{suffix}"
    exports.export(insert()[:1], path)
    assert list(tmp_path.iterdir()) == [path], "one file and nothing else"
    (thing,) = load(path)
    assert len(thing.data.polygons) == 8
    points = places(thing)
    np.testing.assert_allclose(points.min(axis=0), (0.0, -1.0, 0.0), atol=1e-5)
    np.testing.assert_allclose(points.max(axis=0), (2.0, 1.0, 2.0), atol=1e-5)
    np.testing.assert_allclose(colors(thing), np.tile(RED, (len(colors(thing)), 1)), atol=0.005)
    if suffix != ".ply":  # which has no names
        assert "ball" in thing.name


@pytest.mark.parametrize("suffix", CLOUDS)
def test_a_cloud_comes_back_point_by_point(extension: None, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ball{suffix}"
    cloud = insert()[1]
    expected = places(cloud)
    exports.export([cloud], path)
    assert list(tmp_path.iterdir()) == [path]
    (thing,) = load(path)
    points = places(thing)
    assert not (thing.type == "MESH" and len(thing.data.polygons))
    order, expected_order = (np.lexsort(np.round(each, 3).T) for each in (points, expected))
    np.testing.assert_allclose(points[order], expected[expected_order], atol=2e-3)
    assert len(points) == 800


def test_the_colours_of_clouds_are_in_the_files(extension: None, tmp_path: Path) -> None:
    """Read without Blender's importers, which do not take all of them."""
    cloud = insert()[1]
    for suffix in (".ply", ".obj", ".glb", ".usda"):
        exports.export([cloud], tmp_path / f"ball{suffix}")
    ply = files.load(tmp_path / "ball.ply")
    np.testing.assert_allclose(ply.colors, np.tile(RED, (800, 1)), atol=0.005)
    obj = obj_vertices(tmp_path / "ball.obj")
    np.testing.assert_allclose(obj[:, 3:], np.tile(RED, (800, 1)), atol=0.003)
    (primitive,) = gltf(tmp_path / "ball.glb")["meshes"][0]["primitives"]
    assert primitive["mode"] == 0 and "COLOR_0" in primitive["attributes"]
    text = (tmp_path / "ball.usda").read_text()
    (line,) = [line for line in text.splitlines() if "primvars:displayColor =" in line]
    assert line.count("(0.603") == 800, "linear, under the name that other programs know"


@pytest.mark.parametrize("suffix", CLOUDS)
def test_several_objects_go_into_one_file(extension: None, tmp_path: Path, suffix: str) -> None:
    exports.export(insert(), tmp_path / f"balls{suffix}")
    if suffix == ".obj":  # of which Blender reads bare vertices only where there is nothing else
        points = obj_vertices(tmp_path / "balls.obj")
    else:
        points = np.concatenate([places(thing) for thing in load(tmp_path / f"balls{suffix}")])
    assert len(points) >= 806 and points[:, 0].min() == pytest.approx(0.0, abs=1e-3)
    assert points[:, 0].max() == pytest.approx(4.4, abs=2e-3)


def test_fbx_refuses_clouds_in_one_sentence(extension: None, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"FBX holds no coloured points: choose .*\.$"):
        exports.export(insert(), tmp_path / "ball.fbx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["", ".blend", ".stl"])
def test_an_unknown_format_is_refused(extension: None, tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InvalidRequest, match=r"must end in one of \.glb"):
        exports.check(tmp_path / f"ball{suffix}")


def test_what_this_blender_cannot_write_is_refused_before_anything_is_made(
    extension: None, tmp_path: Path
) -> None:
    bpy.ops.preferences.addon_disable(module="io_scene_fbx")
    try:
        with pytest.raises(InvalidRequest, match=r"cannot write \.fbx"):
            exports.check(tmp_path / "ball.fbx")
    finally:
        bpy.ops.preferences.addon_enable(module="io_scene_fbx")
    exports.check(tmp_path / "ball.fbx")


def test_modifiers_are_applied(extension: None, tmp_path: Path) -> None:
    (thing, _) = insert(remesh=0.2, faces=60)
    exports.export([thing], tmp_path / "ball.ply")
    mesh = files.load(tmp_path / "ball.ply")
    assert len(mesh.triangles) == pytest.approx(60, abs=2)
    np.testing.assert_allclose(np.median(mesh.colors, axis=0), RED, atol=0.005)
    assert thing.modifiers["Decimate"] and len(thing.data.polygons) == 8, "on the file only"


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".usdc", ".fbx"])
def test_a_texture_goes_along(extension: None, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ball{suffix}"
    exports.export(insert(texture=64)[:1], path)
    beside = {part.relative_to(tmp_path).as_posix() for part in tmp_path.rglob("*.*")}
    assert (
        beside
        == {
            ".glb": {"ball.glb"},
            ".fbx": {"ball.fbx"},
            ".obj": {"ball.obj", "ball.mtl", "a_red_ball_colors.png"},
            ".usdc": {"ball.usdc", "textures/a_red_ball_colors.png"},
        }[suffix]
    )
    (thing,) = load(path)
    nodes = thing.data.materials[0].node_tree.nodes
    (image,) = {node.image for node in nodes if node.type == "TEX_IMAGE"}
    pixels = np.array(image.pixels[:]).reshape(64, 64, 4)
    np.testing.assert_allclose(np.median(pixels[pixels[..., 3] > 0.5][:, :3], axis=0), RED, atol=0.01)
    assert len(thing.data.uv_layers) == 1
    if suffix == ".glb":
        (primitive,) = gltf(path)["meshes"][0]["primitives"]
        assert "COLOR_0" not in primitive["attributes"], "or it would be multiplied by the texture"


def test_selection_names_and_scene_stay_as_they_were(extension: None, tmp_path: Path) -> None:
    made = insert()
    made[1].select_set(False)
    made[1].hide_set(True)
    names = [
        sorted(block.name for block in kind) for kind in (bpy.data.objects, bpy.data.meshes, bpy.data.scenes)
    ]
    for suffix in CLOUDS:
        exports.export(made, tmp_path / f"ball{suffix}")
    after = [
        sorted(block.name for block in kind) for kind in (bpy.data.objects, bpy.data.meshes, bpy.data.scenes)
    ]
    assert after == names
    assert [thing.select_get() for thing in made] == [True, False]
    assert bpy.context.view_layer.objects.active == made[0]
    assert len(load(tmp_path / "ball.glb")) == 2, "hidden or not"


@pytest.mark.parametrize("suffix", ALL)
def test_a_missing_folder_is_told_and_leaves_nothing(extension: None, tmp_path: Path, suffix: str) -> None:
    with pytest.raises(CannotWrite, match=r"choose another folder\.$"):
        exports.export(insert()[:1], tmp_path / "missing" / f"ball{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ALL)
def test_a_failure_keeps_the_file_that_was_there(
    extension: None, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full when the exporter has written, which some of them do not tell."""
    path = tmp_path / f"ball{suffix}"
    path.write_text("precious")
    full = type("Usage", (), {"free": 0})
    monkeypatch.setattr(exports.shutil, "disk_usage", lambda folder: full)
    made = insert()[:1]
    with pytest.raises(CannotWrite, match="The disk is full"):
        exports.export(made, path)
    assert path.read_text() == "precious" and list(tmp_path.iterdir()) == [path]
    assert made[0].name == "a red ball"


def test_what_an_exporter_says_is_one_sentence(
    extension: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(filepath: str) -> None:
        raise RuntimeError("Error: No such thing\nTraceback ...")

    broken = exports.Exporter(write, {})
    monkeypatch.setattr(exports.Exporter, "available", lambda exporter: True)
    monkeypatch.setitem(exports.EXPORTERS, ".ply", broken)
    with pytest.raises(
        CannotWrite, match=r"was not written \(No such thing\): choose another name or format\.$"
    ):
        exports.export(insert(), tmp_path / "ball.ply")
    assert not list(tmp_path.iterdir()) and len(bpy.data.scenes) == 1
