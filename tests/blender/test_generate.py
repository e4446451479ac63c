"""Generate, from settings to objects, and everything that may come between."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

import pointe_blender
from pointe_blender.operators import running
from pointe_blender.pipeline.errors import InvalidRequest
from tests.blender.stand_in import Pipeline

DATA = ("objects", "meshes", "pointclouds", "materials", "node_groups", "images", "collections")


def datablocks() -> dict[str, list[str]]:
    return {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in DATA}


def names() -> list[str]:
    return [thing.name for thing in bpy.context.scene.objects]


def refused(**settings: object) -> str:
    """What the operator says when it cannot be carried out."""
    with pytest.raises(RuntimeError) as raised:
        bpy.ops.pointe.generate(**settings)
    return str(raised.value).removeprefix("Error: ").strip()


# --- what is asked for -------------------------------------------------------------------------------


def test_the_operator_takes_what_it_is_given_and_the_rest_from_the_scene(pipeline: Pipeline) -> None:
    settings = bpy.context.scene.pointe
    settings.prompt, settings.seed, settings.output, settings.models = "a mug", 7, "cloud", "official-text"

    bpy.ops.pointe.generate()
    bpy.ops.pointe.generate(prompt="a red chair", seed=3, models="starter")

    asked = [(request.prompt, request.seed, request.output, request.models) for request in pipeline.requests]
    assert asked == [("a mug", 7, "cloud", "official-text"), ("a red chair", 3, "cloud", "starter")]
    assert settings.prompt == "a mug", "an operator's own settings stay its own"


def test_settings_are_saved_with_the_scene_and_the_state_of_a_run_is_not(
    pipeline: Pipeline, started: Callable[..., None], tmp_path
) -> None:
    bpy.context.scene.pointe.prompt = "a mug"
    pipeline.pace = lambda: pipeline.closed.wait(0.01)
    started()
    file = str(tmp_path / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file)
    bpy.ops.wm.open_mainfile(filepath=file)
    assert bpy.context.scene.pointe.prompt == "a mug"
    assert running.state.current is None


def test_a_picture_reaches_the_pipeline_as_bytes(pipeline: Pipeline, picture: str) -> None:
    bpy.ops.pointe.generate(image=picture, output="mesh")
    (request,) = pipeline.requests
    assert request.prompt is None
    assert request.image.dtype == np.uint8 and request.image.shape[2] == 3
    assert request.image.reshape(-1, 3).min(axis=0).tolist() == [204, 51, 26], "all else is white"
    assert names() == ["chair"]
    assert bpy.data.objects["chair"]["pointe_picture"] == bpy.data.images["chair.png"]


def test_the_scene_says_whether_prompt_or_picture_counts(pipeline: Pipeline, picture: str) -> None:
    settings = bpy.context.scene.pointe
    settings.prompt, settings.picture = "a mug", bpy.data.images.load(picture)
    for settings.source in ("prompt", "image"):
        bpy.ops.pointe.generate()
    assert [request.prompt for request in pipeline.requests] == ["a mug", None]


@pytest.fixture
def picture(tmp_path) -> str:
    """The file of a red picture, 24 × 16 pixels."""
    image = bpy.data.images.new("red", 24, 16)
    image.pixels.foreach_set(np.tile(np.float32([0.8, 0.2, 26 / 255, 1.0]), 24 * 16))
    image.save(filepath=str(tmp_path / "chair.png"))
    bpy.data.images.remove(image)
    return str(tmp_path / "chair.png")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prompt": ""}, "empty"),
        ({"prompt": "x" * 10_000}, "10000 characters"),
        ({"prompt": "a\x07chair"}, "control characters"),
        ({"prompt": "a chair", "seed": -1}, "seed -1"),
        ({"image": ""}, "No picture"),
        ({"image": "/nowhere/chair.png"}, "/nowhere/chair.png"),
        ({"prompt": "a chair", "image": "/nowhere/chair.png"}, "chair.png"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence_that_stays(
    pipeline: Pipeline, settings: dict[str, object], words: str
) -> None:
    before = datablocks()
    said = refused(**settings)
    assert words in said and said.endswith(".") and ": " in said and "\n" not in said
    assert running.state.error == said
    assert pipeline.requests == [] and datablocks() == before

    bpy.ops.pointe.dismiss()
    assert running.state.error == ""


def test_the_add_menu_makes_what_the_scene_says_and_refuses_in_a_sentence(pipeline: Pipeline) -> None:
    settings = bpy.context.scene.pointe
    with pytest.raises(RuntimeError) as raised:
        bpy.ops.pointe.add()
    assert str(raised.value).strip() == f"Error: {running.state.error}" and "empty" in running.state.error
    settings.prompt, settings.output = "a mug", "cloud"
    assert bpy.ops.pointe.add() == {"FINISHED"}
    assert names() == ["a mug points"]


@pytest.mark.parametrize("kind", [str, Path])
def test_the_console_takes_a_picture_as_a_file_or_by_name(
    pipeline: Pipeline, picture: str, kind: type
) -> None:
    for image in (kind(picture), "chair.png"):
        (made,) = pointe_blender.generate(image=image, output="mesh")
        assert made["pointe_picture"] == bpy.data.images["chair.png"]
    with pytest.raises(InvalidRequest, match="no file none"):
        pointe_blender.generate(image=kind("none.png"))


# --- what appears ------------------------------------------------------------------------------------


def test_waiting_makes_mesh_and_cloud_at_the_cursor_selected(pipeline: Pipeline) -> None:
    bpy.context.scene.cursor.location = (1, 2, 3)
    other = bpy.data.objects.new("other", None)
    bpy.context.collection.objects.link(other)
    other.select_set(True)

    assert bpy.ops.pointe.generate(prompt="a red ball", seed=5) == {"FINISHED"}

    mesh, cloud = bpy.data.objects["a red ball"], bpy.data.objects["a red ball points"]
    assert bpy.context.selected_objects == [mesh, cloud] and bpy.context.active_object == mesh
    assert tuple(mesh.location) == (1, 2, 3)
    assert tuple(cloud.location) == pytest.approx((2.2, 2, 3))
    assert min(vertex.co.z for vertex in mesh.data.vertices) == pytest.approx(0), "it stands on the cursor"
    for thing in (mesh, cloud):
        assert thing["pointe_prompt"] == "a red ball"
        assert thing["pointe_seed"] == 5
        assert thing["pointe_models"] == "starter"
        assert thing["pointe_settings"].to_dict() == {"quality": "fast"}


def test_the_console_gets_the_new_objects(pipeline: Pipeline) -> None:
    made = pointe_blender.generate(
        "a red ball", seed=2, output="mesh", count=2, quality="high", resolution=32
    )
    assert [thing.name for thing in made] == ["a red ball", "a red ball.001"]
    assert made[1]["pointe_settings"].to_dict() == {"output": "mesh", "quality": "high", "resolution": 32}
    assert pipeline.requests[0].quality == "high"
    with pytest.raises(InvalidRequest, match="resolution 8"):
        pointe_blender.generate("a red ball", resolution=8)


def test_what_the_pipeline_noticed_is_kept_for_the_panel(pipeline: Pipeline) -> None:
    pipeline.notice = "The starter models know no dragons."
    bpy.ops.pointe.generate(prompt="a dragon")
    assert running.state.notice == pipeline.notice


def test_names_fit_whatever_the_prompt(pipeline: Pipeline) -> None:
    made = pointe_blender.generate("é" * 900)
    assert all(set(thing.name.removesuffix(" points")) == {"é"} for thing in made)
    assert made[0]["pointe_prompt"] == "é" * 900


# --- what may come between ---------------------------------------------------------------------------


def test_without_pytorch_it_says_what_to_install(extension: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pipeline, in a Python that cannot import torch."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "pointe_blender.pipeline.generation", raising=False)
    said = refused(prompt="a red chair")
    assert "torch" in said and "install PyTorch" in said and running.state.error == said


def test_a_hidden_collection_does_not_hide_the_result(pipeline: Pipeline) -> None:
    hidden = bpy.data.collections.new("hidden")
    bpy.context.scene.collection.children.link(hidden)
    layer = bpy.context.view_layer.layer_collection.children["hidden"]
    bpy.context.view_layer.active_layer_collection = layer
    layer.exclude = True
    made = pointe_blender.generate("a red ball")
    assert all(thing.visible_get() for thing in made)
