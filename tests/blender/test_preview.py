"""The cloud that takes shape in the viewport: what it shows, and that nothing ever keeps it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from pointe_blender.operators import running
from pointe_blender.scene import preview
from tests.blender.stand_in import RED, Pipeline, red_cloud

KINDS = ("objects", "meshes", "pointclouds", "materials", "node_groups")


def datablocks() -> set[str]:
    return {f"{kind}/{block.name}" for kind in KINDS for block in getattr(bpy.data, kind)}


def marked() -> list[str]:
    """Names of everything in the file that belongs to a preview."""
    return [block.name for kind in KINDS for block in getattr(bpy.data, kind) if preview.MARK in block]


def drawn() -> bpy.types.Mesh:
    """What the viewport shows."""
    things = [instance.object for instance in bpy.context.evaluated_depsgraph_get().object_instances]
    (mesh,) = [thing.data for thing in things if thing.type == "MESH" and len(thing.data.vertices)]
    return mesh


@pytest.fixture
def forming(pipeline: Pipeline, started: Callable[..., None]) -> Iterator[Callable[[], None]]:
    """A run in its second step with its preview; calling it lets the run go on."""
    reached, go = threading.Event(), threading.Event()
    pipeline.pace = lambda: (reached.set(), go.wait(10)) if pipeline.steps_done == 1 else None
    bpy.ops.mesh.primitive_cube_add()
    bpy.data.objects["Cube"].hide_set(True)
    bpy.ops.ed.undo_push(message="cube")
    bpy.context.scene.cursor.location = (1, 2, 3)
    started()
    assert reached.wait(10)
    running.tick()
    yield go.set
    go.set()


# --- what it shows -----------------------------------------------------------------------------------


def test_the_points_are_drawn_in_colour_where_the_result_will_be(forming: Callable[[], None]) -> None:
    thing = preview.find()
    assert len(thing.data.attributes["position"].data) == 800
    assert tuple(thing.matrix_world.translation)[:2] == (1, 2)
    assert thing.hide_select and thing.hide_render and not thing.select_get()

    mesh = drawn()
    assert len(mesh.vertices) == 800 * 6, "an octahedron a point"
    color = mesh.color_attributes.active_color
    values = np.empty((len(color.data), 4), np.float32)
    color.data.foreach_get("color_srgb", values.ravel())
    np.testing.assert_allclose(values[:, :3].mean(axis=0), RED, atol=1e-3)
    assert color.name == "Color" and mesh.materials[0].name == "Point-E Color"


def test_one_object_is_changed_in_place(extension: None) -> None:
    for count in (100, 4096, 300, 4096, 50_000):
        preview.show(red_cloud(count=count), Matrix.Translation((count, 0, 0)), "Scene")
        thing = preview.find()
        assert len(thing.data.attributes["position"].data) == min(count, preview.MOST)
        assert thing.matrix_world.translation.x == count
        assert len(drawn().vertices) == 6 * min(count, preview.MOST)
        if count == 100:
            first, blocks = thing.as_pointer(), len(datablocks())
    assert thing.as_pointer() == first and len(datablocks()) == blocks
    preview.remove()
    assert datablocks() == set()


def test_an_object_of_the_same_name_is_left_alone(extension: None) -> None:
    own = bpy.data.objects.new("Point-E Preview", None)
    for _ in range(3):
        preview.show(red_cloud(), Matrix(), "Scene")
    assert sum(thing.type != "EMPTY" for thing in bpy.context.scene.objects) == 1
    preview.remove()
    assert list(bpy.data.objects) == [own]


def test_the_preferences_switch_it_off(
    pipeline: Pipeline,
    started: Callable[..., None],
    until_idle: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Off:
        show_preview, unload_after, device, models_folder = False, 0, "auto", ""

    monkeypatch.setattr(running.preferences, "stored", lambda: Off)
    monkeypatch.setattr(preview, "show", lambda *_: pytest.fail("it is shown"))
    started()
    until_idle()


def test_a_preview_that_fails_costs_no_run(
    started: Callable[..., None], until_idle: Callable[[], None], monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(preview, "show", lambda *_: 1 / 0)
    started(output="cloud")
    until_idle()
    assert bpy.data.objects["a red ball points"] and running.state.error == ""


# --- what it leaves ----------------------------------------------------------------------------------


def test_it_makes_way_for_the_result(forming: Callable[[], None], until_idle: Callable[[], None]) -> None:
    forming()
    until_idle()
    assert marked() == [] and "a red ball points" in bpy.data.objects


def test_cancel_takes_it_out_at_once(forming: Callable[[], None], until_idle: Callable[[], None]) -> None:
    bpy.ops.pointe.cancel()
    assert datablocks() == {"objects/Cube", "meshes/Cube"}
    running.tick()
    assert marked() == [], "it does not come back while the worker ends"
    forming()
    until_idle()
    assert datablocks() == {"objects/Cube", "meshes/Cube"}


def test_a_failure_takes_it_out(
    pipeline: Pipeline, forming: Callable[[], None], until_idle: Callable[[], None]
) -> None:
    assert marked()
    pipeline.pace = lambda: 1 / 0
    forming()
    until_idle()
    assert running.state.error and datablocks() == {"objects/Cube", "meshes/Cube"}


def test_a_saved_file_has_no_trace_and_the_preview_comes_back(forming: Callable[[], None], tmp_path) -> None:
    file = str(tmp_path / "scene.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file, copy=True)
    with bpy.data.libraries.load(file) as (kept, _):
        names = [name for kind in KINDS for name in getattr(kept, kind)]
    assert names == ["Cube", "Cube"]
    running.tick()
    assert preview.find()


def test_opening_a_file_takes_it_out(forming: Callable[[], None], tmp_path) -> None:
    bpy.ops.wm.read_homefile(use_empty=True)
    assert datablocks() == set()


def test_a_file_that_holds_one_is_cleaned(extension: None, tmp_path) -> None:
    """Blender writes some files by itself, such as that of the last session."""
    file = str(tmp_path / "quit.blend")
    preview.show(red_cloud(), Matrix(), "Scene")
    bpy.app.handlers.save_pre.remove(preview.remove)
    bpy.ops.wm.save_as_mainfile(filepath=file)
    bpy.app.handlers.save_pre.append(preview.remove)
    bpy.app.handlers.load_post.remove(preview.remove)
    bpy.ops.wm.open_mainfile(filepath=file)
    assert marked()
    bpy.app.handlers.load_post.append(preview.remove)
    bpy.ops.wm.open_mainfile(filepath=file)
    assert datablocks() == set()


def test_undo_and_redo_bring_none_back(forming: Callable[[], None], until_idle: Callable[[], None]) -> None:
    """Steps that are stored while it is there hold it, as they hold everything."""
    for i in range(2):
        bpy.context.collection.objects.link(bpy.data.objects.new(f"other {i}", None))
        bpy.ops.ed.undo_push(message="other")
        running.tick()
    for step in (bpy.ops.ed.undo, bpy.ops.ed.undo, bpy.ops.ed.redo, bpy.ops.ed.redo, bpy.ops.ed.undo):
        step()
        assert marked() == []
        running.tick()
        assert len(marked()) == 5 and len(bpy.context.evaluated_depsgraph_get().objects) > 0
    forming()
    until_idle()
    assert "a red ball" in bpy.data.objects
    bpy.ops.ed.undo()
    assert "a red ball" not in bpy.data.objects and "other 0" in bpy.data.objects
    while bpy.ops.ed.undo.poll() and "other 0" in bpy.data.objects:
        bpy.ops.ed.undo()
    assert datablocks() == {"objects/Cube", "meshes/Cube"}
    bpy.ops.ed.redo()
    bpy.ops.ed.redo()
    assert "a red ball" in bpy.data.objects and marked() == []


def test_without_its_scene_it_goes_on_in_the_present_one(
    forming: Callable[[], None], until_idle: Callable[[], None]
) -> None:
    first = bpy.context.scene
    bpy.context.window.scene = bpy.data.scenes.new("second")
    bpy.data.scenes.remove(first)
    running.tick()
    assert preview.find().name in bpy.context.scene.objects
    forming()
    until_idle()
    assert marked() == [] and "a red ball" in bpy.context.scene.objects


def test_deleting_it_by_hand_does_no_harm(
    forming: Callable[[], None], until_idle: Callable[[], None]
) -> None:
    bpy.data.objects.remove(preview.find())
    running.tick()
    assert preview.find()
    forming()
    until_idle()
    assert marked() == []


def test_switching_the_extension_off_takes_it_out(forming: Callable[[], None]) -> None:
    import pointe_blender

    pointe_blender.unregister()
    assert marked() == []
    pointe_blender.register()
