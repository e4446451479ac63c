"""The queue: what is made when, what may come between, what is told, and what is left."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import bpy
import pytest

from pointe_blender.operators import memory, running
from pointe_blender.operators import queue as operators
from pointe_blender.panels import queue
from pointe_blender.pipeline.errors import MissingModel
from tests.blender.stand_in import Layout, Pipeline

DATA = ("objects", "meshes", "pointclouds", "materials", "node_groups", "images", "collections", "scenes")


def datablocks() -> dict[str, list[str]]:
    return {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in DATA}


def names() -> list[str]:
    return [thing.name for thing in bpy.context.scene.objects]


def prompts(pipeline: Pipeline) -> list[str | None]:
    return [request.prompt for request in pipeline.requests]


@pytest.fixture(autouse=True)
def nothing_in_memory() -> None:
    """Of other tests, whose networks the panel would offer to unload."""
    from pointe_blender.pipeline import memory as kept

    kept.unload()


@pytest.fixture
def gate(pipeline: Pipeline) -> Iterator[threading.Event]:
    """Holds every run before its first step until it is set."""
    go = threading.Event()
    pipeline.pace = lambda: go.wait(10)
    yield go
    go.set()


# --- one after the other -----------------------------------------------------------------------------


def test_runs_wait_for_each_other_and_end_in_order(
    gate: threading.Event, pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    for prompt in ("a red ball", "a mug", "a chair"):
        started(prompt, output="cloud")
    assert running.state.current.task.title == "a red ball"
    assert [entry.task.title for entry in running.state.waiting] == ["a mug", "a chair"]
    gate.set()
    until_idle()
    assert prompts(pipeline) == ["a red ball", "a mug", "a chair"]
    assert names() == ["a red ball points", "a mug points", "a chair points"]
    assert running.state.current is None and running.state.waiting == []


def test_an_entry_that_waits_is_cancelled_by_itself(
    gate: threading.Event, pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    for prompt in ("a red ball", "a mug", "a chair"):
        started(prompt, output="cloud")
    bpy.ops.pointe.cancel(number=running.state.waiting[0].number)
    gate.set()
    until_idle()
    assert prompts(pipeline) == ["a red ball", "a chair"]


def test_cancelling_the_running_one_goes_on_with_the_next(
    gate: threading.Event, pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    started("a red ball", output="cloud")
    started("a mug", output="cloud")
    first = running.state.current.number
    bpy.ops.pointe.cancel(number=first)
    gate.set()
    while running.state.current.number == first:
        running.tick()
    bpy.ops.pointe.cancel(number=first)  # a click that comes late hits nothing else
    until_idle()
    assert names() == ["a mug points"] and not bpy.ops.pointe.cancel.poll()


def test_an_error_stays_on_view_and_never_stops_the_next(
    gate: threading.Event, pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    def fails_once() -> None:
        gate.wait(10)
        if len(pipeline.requests) == 1:
            raise MissingModel("base40M is not on this machine: download it.")

    before = datablocks()
    pipeline.pace = fails_once
    started("a red ball")
    started("a mug", output="cloud")
    gate.set()
    until_idle()
    assert running.state.error == "base40M is not on this machine: download it."
    assert running.state.failed == "a red ball" and names() == ["a mug points"]
    bpy.ops.ed.undo()
    assert datablocks() == before


def test_a_script_is_refused_while_something_runs(
    gate: threading.Event, pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    started("a red ball", output="cloud")
    with pytest.raises(RuntimeError, match="still making 'a red ball'"):
        bpy.ops.pointe.generate(prompt="a mug")
    gate.set()
    until_idle()
    assert names() == ["a red ball points"] and running.state.error == ""


def test_each_result_is_one_undo_step(started: Callable[..., None], until_idle: Callable[[], None]) -> None:
    states = [datablocks()]
    for prompt in ("a red ball", "a mug"):
        started(prompt)
        until_idle()
        states.append(datablocks())
    assert states[0] != states[1] != states[2]

    bpy.ops.ed.undo()
    assert datablocks() == states[1]
    bpy.ops.ed.undo()
    assert datablocks() == states[0]
    for after in states[1:]:
        bpy.ops.ed.redo()
        assert datablocks() == after


# --- what may come between ---------------------------------------------------------------------------


def test_cancel_stops_at_the_next_step_and_leaves_no_datablock(
    pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    before, step, cancelled = datablocks(), threading.Event(), threading.Event()
    pipeline.pace = lambda: (step.set(), cancelled.wait(10)) if pipeline.steps_done == 1 else None
    started()
    assert step.wait(10)
    running.tick()
    bpy.ops.pointe.cancel()
    cancelled.set()
    until_idle()
    assert pipeline.closed.is_set() and pipeline.steps_done == 2
    assert datablocks() == before and running.state.error == ""


def test_a_cancel_after_the_last_step_still_counts(
    started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    before = datablocks()
    started()
    running.state.current.job.join()
    bpy.ops.pointe.cancel()
    until_idle()
    assert datablocks() == before


def test_a_run_survives_undo(
    gate: threading.Event, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    bpy.context.collection.objects.link(bpy.data.objects.new("other", None))
    bpy.ops.ed.undo_push(message="other")
    started()
    bpy.ops.ed.undo()
    gate.set()
    until_idle()
    assert names() == ["a red ball", "a red ball points"]


def test_without_its_scene_the_result_goes_into_the_present_one(
    gate: threading.Event, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    first = bpy.context.scene
    started()
    bpy.context.window.scene = bpy.data.scenes.new("second")
    bpy.data.scenes.remove(first)
    gate.set()
    until_idle()
    assert names() == ["a red ball", "a red ball points"] and bpy.context.scene.name == "second"


def test_a_result_goes_into_the_scene_that_asked_for_it(
    started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    first = bpy.context.scene
    started()
    bpy.context.window.scene = bpy.data.scenes.new("second")
    until_idle()
    assert names() == [] and len(first.objects) == 2
    assert first.view_layers[0].objects.active.name == "a red ball"


def test_opening_a_file_ends_the_queue(pipeline: Pipeline, started: Callable[..., None]) -> None:
    pipeline.pace = lambda: pipeline.closed.wait(0.01)
    started()
    started("a mug")
    bpy.ops.wm.read_homefile(use_empty=True)
    assert pipeline.closed.wait(5) and prompts(pipeline) == ["a red ball"]
    assert running.state.current is None and running.state.waiting == []
    assert not bpy.app.timers.is_registered(running.tick)
    assert names() == []


def test_a_file_that_cannot_be_opened_ends_nothing(
    gate: threading.Event, started: Callable[..., None], until_idle: Callable[[], None], tmp_path
) -> None:
    (tmp_path / "broken.blend").write_bytes(b"BLENDER and nothing else")
    started()
    with pytest.raises(RuntimeError):
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "broken.blend"))
    assert running.state.current and bpy.app.timers.is_registered(running.tick)
    gate.set()
    until_idle()
    assert names() == ["a red ball", "a red ball points"]


def test_quitting_leaves_no_thread(pipeline: Pipeline, started: Callable[..., None]) -> None:
    pipeline.pace = lambda: pipeline.closed.wait(0.01)
    started()
    started("a mug")
    worker = running.state.current.job
    running.stop()
    assert worker.state == "cancelled"
    assert not any(thread.name == "pointe job" for thread in threading.enumerate())
    assert prompts(pipeline) == ["a red ball"]


def test_a_result_waits_for_object_mode(started: Callable[..., None], until_idle: Callable[[], None]) -> None:
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode="EDIT")
    started()
    running.state.current.job.join()
    assert running.tick() is not None and running.state.held
    assert "a red ball" not in names() and "Object Mode" in shown().text
    bpy.ops.object.mode_set(mode="OBJECT")
    until_idle()
    assert names() == ["Cube", "a red ball", "a red ball points"] and not running.state.held


def test_a_result_waits_for_the_end_of_a_rendering(
    started: Callable[..., None], until_idle: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_rendering", lambda: True)
    started()
    running.state.current.job.join()
    running.tick()
    assert running.state.held and "a red ball" not in names() and "rendering" in shown().text
    monkeypatch.setattr(running, "_rendering", lambda: False)
    until_idle()
    assert names() == ["a red ball", "a red ball points"]


def pressed_escape() -> set[str]:
    """What Blender does when Esc is pressed over a 3D View."""
    cancel = SimpleNamespace(number=0, execute=lambda _: bpy.ops.pointe.cancel())
    return operators.POINTE_OT_cancel.invoke(cancel, bpy.context, SimpleNamespace(type="ESC"))


def test_escape_cancels_what_is_being_made(
    gate: threading.Event, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    keymap = bpy.context.window_manager.keyconfigs.addon.keymaps["3D View"]
    assert [key.type for key in keymap.keymap_items if key.idname == "pointe.cancel"] == ["ESC"]
    assert not bpy.ops.pointe.cancel.poll(), "at rest Esc is left to others"
    started()
    assert pressed_escape() == {"FINISHED"}
    assert running.state.current.job.cancelling
    gate.set()
    until_idle()


def test_escape_that_means_something_else_cancels_nothing(
    started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode="EDIT")
    started(output="cloud")
    operators.on_playback_end()
    assert pressed_escape() == {"PASS_THROUGH"}, "it ended the playback"
    running.state.current.job.join()
    running.tick()
    time.sleep(running.TICK)
    assert pressed_escape() == {"PASS_THROUGH"}, "what is ready is kept"
    bpy.ops.object.mode_set(mode="OBJECT")
    until_idle()
    assert names() == ["Cube", "a red ball points"]


# --- what is told ------------------------------------------------------------------------------------


def shown() -> Layout:
    layout = Layout()
    queue.draw_queue(layout, bpy.context)
    return layout


def in_status_bar() -> Layout:
    class Header:
        layout = Layout()

    queue.draw_status(Header, bpy.context)
    return Header.layout


def test_the_panel_and_the_status_bar_tell_how_far_it_is(
    pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    step, go = threading.Event(), threading.Event()
    pipeline.pace = lambda: (step.set(), go.wait(10)) if pipeline.steps_done == 2 else None
    assert shown().calls == [] and in_status_bar().calls == []
    started()
    started("a mug")
    assert step.wait(10)
    running.tick()
    assert shown().text == "a red ball Shaping 2 / 5, a few seconds left a mug"
    assert shown().buttons == ["pointe.cancel", "pointe.cancel"]
    (bar,) = [named for name, _, named in shown().calls if name == "progress"]
    assert bar["factor"] == pytest.approx(2 / 6)
    assert in_status_bar().text == "Point-E: Shaping 2 / 5, a few seconds left"
    assert in_status_bar().buttons == ["pointe.cancel"]
    bpy.ops.pointe.cancel()
    assert "Cancelling" in shown().text and "Cancelling" in in_status_bar().text
    go.set()
    until_idle()
    assert in_status_bar().calls == [] and "Shaping" not in shown().text


@pytest.mark.parametrize("how", ["cancel", "fail", "load", "stop"])
def test_the_status_bar_is_empty_however_it_ends(
    how: str, pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    pipeline.pace = lambda: 1 / 0 if how == "fail" else pipeline.closed.wait(0.01)
    started()
    assert in_status_bar().calls != []
    if how == "load":
        bpy.ops.wm.read_homefile(use_empty=True)
    elif how == "stop":
        running.stop()
    elif how == "cancel":
        bpy.ops.pointe.cancel()
    until_idle()
    assert in_status_bar().calls == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (1.0, "a few seconds left"),
        (22.0, "20 s left"),
        (58.0, "1 min left"),
        (89.0, "1 min left"),
        (3599.0, "1 h 0 min left"),
        (7300.0, "2 h 2 min left"),
    ],
)
def test_the_remaining_time_is_as_exact_as_a_guess(seconds: float | None, words: str) -> None:
    assert queue.time_left(seconds) == words


def test_an_unexpected_error_is_told_and_its_log_can_be_copied(
    pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None], caplog
) -> None:
    pipeline.pace = lambda: 1 / 0
    started()
    until_idle()
    sentence, log = running.state.error, running.state.log
    assert "ZeroDivisionError: division by zero" in sentence and "log" in sentence
    assert "Traceback" in caplog.text and "pace" in caplog.text
    assert log.startswith(sentence) and "Traceback" in log and "ZeroDivisionError" in log
    facts = dict(line.split(":", 1) for line in log.splitlines()[2:9])
    assert facts["Making"].strip() == "a red ball"
    assert facts["Blender"].strip().startswith(bpy.app.version_string)
    assert facts["Python"].strip() == sys.version.split()[0]
    assert facts["Extension"].strip().count(".") == 2
    assert set(facts) >= {"PyTorch", "System", "Device"}

    assert shown().buttons == ["pointe.dismiss", "pointe.copy_log"] and "a red ball" in shown().text
    assert bpy.ops.pointe.copy_log() == {"FINISHED"}
    bpy.ops.pointe.dismiss()
    assert running.state.error == "" and shown().calls == [] and not bpy.ops.pointe.copy_log.poll()


def test_a_failure_keeps_nothing_alive(
    pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    """A traceback holds the frames, and they the networks: what is kept is text."""
    started()
    until_idle()
    assert running.state.current is None
    assert all(isinstance(value, (str, bool, float, list)) for value in vars(running.state).values() if value)


# --- memory ------------------------------------------------------------------------------------------


class Preferences:
    """Stands in for the stored ones: tests do not enable the extension as a user does."""

    show_preview = True
    unload_after = 10
    device = "auto"
    models_folder = ""


@pytest.fixture
def networks(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Something that stays in memory after a run."""
    from pointe_blender.pipeline import memory as kept

    monkeypatch.setattr(memory.preferences, "stored", lambda: Preferences)
    loaded = ["base"]
    monkeypatch.setattr(kept, "unload", loaded.clear)
    monkeypatch.setattr(kept, "resident_bytes", lambda: 5_000_000 * len(loaded))
    return loaded


def test_models_are_unloaded_by_a_button(networks: list[str]) -> None:
    assert "Unload Models (5 MB)" in shown().text
    bpy.ops.pointe.unload_models()
    assert networks == [] and shown().calls == []


def test_models_in_use_are_not_unloaded(
    networks: list[str],
    gate: threading.Event,
    started: Callable[..., None],
    until_idle: Callable[[], None],
) -> None:
    started()
    assert not bpy.ops.pointe.unload_models.poll() and "Unload" not in shown().text
    running.state.idle_since = time.monotonic() - 3600.0
    memory.tick()
    assert networks == ["base"]
    gate.set()
    until_idle()


@pytest.mark.parametrize(
    ("minutes", "after", "left"), [(10, 599.0, ["base"]), (10, 601.0, []), (0, 1e6, ["base"])]
)
def test_models_are_unloaded_after_a_while(
    networks: list[str],
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
    after: float,
    left: list[str],
) -> None:
    monkeypatch.setattr(Preferences, "unload_after", minutes)
    bpy.ops.pointe.generate(prompt="a red ball", output="cloud")
    ended = running.state.idle_since
    monkeypatch.setattr(memory.time, "monotonic", lambda: ended + after)
    assert bpy.app.timers.is_registered(memory.tick) and memory.tick() == memory.TICK
    assert networks == left
