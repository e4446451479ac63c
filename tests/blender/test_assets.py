"""An object in the Asset Browser, with its picture, tags and prompt, in the file and out of it."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from pointe_blender.pipeline import Request, Result
from pointe_blender.scene import assets, objects
from pointe_blender.scene.finishing import Finish
from tests.blender.stand_in import RED, red_cloud, red_mesh

MARKED = Finish(size=3.0, asset=True)


def insert(prompt: str | None = "a shiny red ball with the hat") -> list[bpy.types.Object]:
    result = Result((red_cloud(),), (red_mesh(),), (0,), (), "starter", "cpu", {"total": 0.1})
    image = None if prompt else np.zeros((4, 4, 3), np.uint8)
    asked = Request(prompt=prompt, image=image)
    return objects.insert(result, asked, prompt or "photo", bpy.context.scene.name, MARKED)


def picture(thing: bpy.types.Object) -> np.ndarray:
    """(256, 256, 4), from the bottom row up."""
    assert tuple(thing.preview.image_size) == (256, 256)
    return np.array(thing.preview.image_pixels_float[:]).reshape(256, 256, 4)


def check_picture(thing: bpy.types.Object) -> None:
    """A red ball on nothing, in the middle and lit from above."""
    pixels = picture(thing)
    there = pixels[..., 3] > 0.5
    assert 0.2 < there.mean() < 0.7
    rows, columns = np.nonzero(there)
    assert abs(rows.mean() - 128) < 12 and abs(columns.mean() - 128) < 12
    seen = pixels[there][:, :3]
    hue = seen / seen.max(axis=1, keepdims=True)
    np.testing.assert_allclose(np.median(hue, axis=0), RED / RED.max(), atol=0.03)
    upper, lower = pixels[128:][there[128:]], pixels[:128][there[:128]]
    assert upper[:, 0].mean() > lower[:, 0].mean()


def test_it_is_there_after_saving_and_loading(extension: None, tmp_path: Path) -> None:
    insert()
    path = str(tmp_path / "assets.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=path)
    mesh, cloud = (bpy.data.objects[f"a shiny red ball with the hat{end}"] for end in ("", " points"))
    for thing, kind in ((mesh, "mesh"), (cloud, "point cloud")):
        about = thing.asset_data
        assert about.description == "a shiny red ball with the hat"
        expected = {"Point-E", "starter", kind, "shiny", "red", "ball", "hat"}
        assert {tag.name for tag in about.tags} == expected
        check_picture(thing)


def test_only_those_asked_for_are_assets(extension: None) -> None:
    result = Result((red_cloud(),), (red_mesh(),), (0,), (), "starter", "cpu", {"total": 0.1})
    made = objects.insert(result, Request(prompt="a"), "a", "Scene", Finish())
    assert [thing.asset_data for thing in made] == [None, None]


def test_what_a_picture_became_is_described_too(extension: None) -> None:
    thing = insert(prompt=None)[0]
    assert thing.asset_data.description == "Made from a picture: photo"
    assert {tag.name for tag in thing.asset_data.tags} == {"Point-E", "starter", "mesh"}


@pytest.mark.parametrize("prompt", ["é" * 1000, "word " * 150, "椅子", "...", "a b c"])
def test_any_prompt_makes_tags_that_blender_takes(extension: None, prompt: str) -> None:
    thing = insert(prompt)[0]
    assert 3 <= len(thing.asset_data.tags) <= assets.MOST_TAGS
    assert thing.asset_data.description.startswith(prompt[:100])


def test_marking_again_adds_nothing_twice(extension: None) -> None:
    thing = insert()[0]
    before = [tag.name for tag in thing.asset_data.tags]
    assets.mark(thing, red_cloud())
    assert [tag.name for tag in thing.asset_data.tags] == before


@pytest.mark.parametrize("linked", [False, True])
def test_an_asset_comes_alone_into_another_file(extension: None, tmp_path: Path, linked: bool) -> None:
    """Nothing that it is drawn with is shown beside it."""
    insert()
    path = tmp_path / "assets.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True)
    name = "a shiny red ball with the hat points"
    (bpy.ops.wm.link if linked else bpy.ops.wm.append)(directory=f"{path}/Object/", filename=name)
    bpy.context.view_layer.update()
    shown = [thing.name for thing in bpy.context.scene.objects if any(thing.dimensions)]
    assert shown == [name]
    found = bpy.context.evaluated_depsgraph_get().object_instances
    drawn = [i.object.data for i in found if i.object.type == "MESH" and i.object.name == name]
    assert [len(mesh.vertices) for mesh in drawn] == [12 * 800]
