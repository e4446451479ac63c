"""Generate, from settings to objects, and everything that may come between."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import bpy
import pytest

import pointe_blender
from pointe_blender.operators import running
from pointe_blender.pipeline.errors import InvalidRequest, MissingModel
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
    assert running.state.task is None


def test_a_picture_reaches_the_pipeline_as_bytes(pipeline: Pipeline, picture: str) -> None:
    bpy.ops.pointe.generate(image=picture, output="mesh")
    (request,) = pipeline.requests
    assert request.prompt is None
    assert request.image.shape == (16, 24, 3) and request.image[0, 0].tolist() == [204, 51, 26]
    assert names() == ["chair"]


def test_the_scene_says_whether_prompt_or_picture_counts(pipeline: Pipeline, picture: str) -> None:
    settings = bpy.context.scene.pointe
    settings.prompt, settings.image = "a mug", picture
    for settings.source in ("prompt", "image"):
        bpy.ops.pointe.generate()
    assert [request.prompt for request in pipeline.requests] == ["a mug", None]


@pytest.fixture
def picture(tmp_path) -> str:
    """The file of a red picture, 24 × 16 pixels."""
    Image = pytest.importorskip("PIL.Image")
    Image.new("RGB", (24, 16), (204, 51, 26)).save(tmp_path / "chair.png")
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
    for thing in (mesh, cloud):
        assert thing["pointe_prompt"] == "a red ball"
        assert thing["pointe_seed"] == 5
        assert thing["pointe_models"] == "starter"
        assert thing["pointe_settings"].to_dict() == {"count": 1, "output": "both"}


def test_the_console_gets_the_new_objects(pipeline: Pipeline) -> None:
    made = pointe_blender.generate("a red ball", seed=2, output="mesh", count=2, resolution=32)
    assert [thing.name for thing in made] == ["a red ball", "a red ball.001"]
    assert made[1]["pointe_settings"]["resolution"] == 32
    with pytest.raises(InvalidRequest, match="resolution 0"):
        pointe_blender.generate("a red ball", resolution=0)


def test_the_background_inserts_one_undo_step(
    started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    before = datablocks()
    started("a red ball")
    until_idle()
    after = datablocks()
    assert names() == ["a red ball", "a red ball points"]

    bpy.ops.ed.undo()
    assert datablocks() == before
    bpy.ops.ed.redo()
    assert datablocks() == after


def test_what_the_pipeline_noticed_is_kept_for_the_panel(pipeline: Pipeline) -> None:
    pipeline.notice = "The starter models know no dragons."
    bpy.ops.pointe.generate(prompt="a dragon")
    assert running.state.notice == pipeline.notice


def test_names_fit_whatever_the_prompt(pipeline: Pipeline) -> None:
    made = pointe_blender.generate("é" * 900)
    assert all(set(thing.name.removesuffix(" points")) == {"é"} for thing in made)
    assert made[0]["pointe_prompt"] == "é" * 900


# --- what may come between ---------------------------------------------------------------------------


def test_cancel_stops_at_the_next_step_and_leaves_no_datablock(
    pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    before, step, cancelled = datablocks(), threading.Event(), threading.Event()
    pipeline.pace = lambda: (step.set(), cancelled.wait(10) if pipeline.steps_done == 1 else None)
    started()
    assert step.wait(10)
    bpy.ops.pointe.cancel()
    cancelled.set()
    until_idle()
    assert pipeline.closed.is_set() and pipeline.steps_done == 2
    assert datablocks() == before and running.state.error == ""
    assert not bpy.ops.pointe.cancel.poll()


def test_a_cancel_after_the_last_step_still_counts(
    started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    before = datablocks()
    started()
    running.state.job.join()
    bpy.ops.pointe.cancel()
    until_idle()
    assert datablocks() == before


def test_a_second_run_is_refused_and_the_first_goes_on(
    pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    go = threading.Event()
    pipeline.pace = lambda: go.wait(10)
    started("a red ball")
    assert "'a red ball'" in refused(prompt="a mug")
    go.set()
    until_idle()
    assert names() == ["a red ball", "a red ball points"] and running.state.error == ""


def test_an_error_of_the_pipeline_ends_in_the_panel(
    pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    def fails() -> None:
        raise MissingModel("base40M is not on this machine: download it.")

    before = datablocks()
    pipeline.pace = fails
    started()
    until_idle()
    assert running.state.error == "base40M is not on this machine: download it."
    assert datablocks() == before


def test_without_pytorch_it_says_what_to_install(extension: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real pipeline, in a Python that cannot import torch."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "pointe_blender.pipeline.generate", raising=False)
    said = refused(prompt="a red chair")
    assert "torch" in said and "install PyTorch" in said and running.state.error == said


def test_an_unexpected_error_is_told_and_logged_whole(
    pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None], caplog
) -> None:
    pipeline.pace = lambda: 1 / 0
    started()
    until_idle()
    assert "ZeroDivisionError: division by zero" in running.state.error and "console" in running.state.error
    assert "Traceback" in caplog.text and "pace" in caplog.text


def test_a_run_survives_undo(
    pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    go = threading.Event()
    pipeline.pace = lambda: go.wait(10)
    bpy.context.collection.objects.link(bpy.data.objects.new("other", None))
    bpy.ops.ed.undo_push(message="other")
    started()
    bpy.ops.ed.undo()
    go.set()
    until_idle()
    assert names() == ["a red ball", "a red ball points"]


def test_without_its_scene_the_result_goes_into_the_present_one(
    pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    go = threading.Event()
    pipeline.pace = lambda: go.wait(10)
    first = bpy.context.scene
    started()
    bpy.context.window.scene = bpy.data.scenes.new("second")
    bpy.data.scenes.remove(first)
    go.set()
    until_idle()
    assert names() == ["a red ball", "a red ball points"] and bpy.context.scene.name == "second"


def test_a_result_goes_into_the_scene_that_asked_for_it(
    pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    first = bpy.context.scene
    started()
    bpy.context.window.scene = bpy.data.scenes.new("second")
    until_idle()
    assert names() == [] and len(first.objects) == 2
    assert first.view_layers[0].objects.active.name == "a red ball"


def test_opening_a_file_ends_a_run(pipeline: Pipeline, started: Callable[..., None]) -> None:
    pipeline.pace = lambda: pipeline.closed.wait(0.01)
    started()
    bpy.ops.wm.read_homefile(use_empty=True)
    assert pipeline.closed.wait(5) and running.state.task is None
    assert not bpy.app.timers.is_registered(running.tick)
    assert names() == []


def test_a_result_waits_for_object_mode(started: Callable[..., None], until_idle: Callable[[], None]) -> None:
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode="EDIT")
    started()
    running.state.job.join()
    assert running.tick() is not None and running.state.held and names() == ["Cube"]
    bpy.ops.object.mode_set(mode="OBJECT")
    until_idle()
    assert names() == ["Cube", "a red ball", "a red ball points"]


def test_a_hidden_collection_does_not_hide_the_result(pipeline: Pipeline) -> None:
    hidden = bpy.data.collections.new("hidden")
    bpy.context.scene.collection.children.link(hidden)
    layer = bpy.context.view_layer.layer_collection.children["hidden"]
    bpy.context.view_layer.active_layer_collection = layer
    layer.exclude = True
    made = pointe_blender.generate("a red ball")
    assert all(thing.visible_get() for thing in made)


# --- mesh from points --------------------------------------------------------------------------------


def test_a_cloud_in_the_scene_is_meshed_where_it_stands(pipeline: Pipeline) -> None:
    (cloud,) = pointe_blender.generate("a red ball", output="cloud")
    cloud.location, cloud.scale = (4, 5, 6), (2, 2, 2)
    bpy.context.view_layer.update()
    bpy.ops.pointe.mesh_from_points()
    mesh = bpy.context.active_object
    assert mesh.name == "a red ball points mesh" and mesh.matrix_world == cloud.matrix_world
    assert pipeline.requests[1].cloud is not None and pipeline.requests[1].output == "mesh"


def test_other_objects_are_refused_in_one_sentence(pipeline: Pipeline) -> None:
    bpy.context.collection.objects.link(bpy.data.objects.new("empty", bpy.data.meshes.new("empty")))
    bpy.context.view_layer.objects.active = bpy.data.objects["empty"]
    with pytest.raises(RuntimeError, match="empty has no points: choose a point cloud"):
        bpy.ops.pointe.mesh_from_points()
