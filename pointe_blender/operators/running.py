"""The queue at work: started, watched from the main thread, cancelled, inserted as one undo step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import bpy

from .. import diagnosis, preferences
from ..pipeline.errors import PointEError
from ..scene import preview
from ..setup import chores
from ..tasks import Busy, Entry, Task, state

if TYPE_CHECKING:
    from ..pipeline import Progress

TICK = 0.1  # seconds between two looks at the worker
_log = logging.getLogger(__name__)


def submit(prepare: Callable[[], Task]) -> None:
    """Make it in the background, after all that was asked for before; the objects appear when it is done."""
    task = prepare()
    state.dismiss()
    state.waiting.append(Entry(task, bpy.context.scene.name))
    _advance()
    if not bpy.app.timers.is_registered(tick):
        bpy.app.timers.register(tick, first_interval=TICK, persistent=True)
    _redraw()


def wait(prepare: Callable[[], Task]) -> list[bpy.types.Object]:
    """Make it here and now; for scripts, the console and Blender without a window, where timers stand still.

    Raises
    ------
    Busy
        Something else is being made.
    PointEError
        What the pipeline has to say.
    """
    if state.current:
        title = state.current.task.title
        raise Busy(f"Point-E is still making {title!r}: wait until it is done, or cancel it.")
    task = prepare()
    state.dismiss()
    manager = bpy.context.window_manager
    manager.progress_begin(0.0, 1.0)
    update = None
    try:
        with closing(task.work()) as updates:
            for update in updates:
                manager.progress_update(update.fraction)
        return _insert(task, update)
    finally:
        manager.progress_end()
        state.idle_since = time.monotonic()


def carry_out(operator: bpy.types.Operator, prepare: Callable[[], Task], *, background: bool) -> set[str]:
    """What operators have in common: queue a task or wait for it, and report what goes wrong."""
    try:
        if background and not bpy.app.background:
            submit(prepare)
        else:
            wait(prepare)
    except Busy as error:  # the panel goes on showing what is being made
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    except Exception as error:
        return refuse(operator, error)
    return {"FINISHED"}


def refuse(operator: bpy.types.Operator, error: Exception) -> set[str]:
    """How an operator ends that failed: it reports one sentence, and the panel has the log."""
    operator.report({"ERROR"}, fail(error))
    return {"CANCELLED"}


def cancel(number: int = 0) -> None:
    """Stop what is being made, or take an entry that waits out of the queue.

    Parameters
    ----------
    number
        Of the entry; 0 for the one being made. One that has ended already is none.
    """
    state.waiting = [entry for entry in state.waiting if entry.number != number]
    if state.current and number in (0, state.current.number):
        state.current.job.cancel()
        if not _rendering():
            preview.remove()
    _redraw()


def tick() -> float | None:
    """Look at the worker; when it has ended, take over what it made. Called by a timer on the main thread."""
    entry = state.current
    if entry is None:
        return None
    # A timer has no window, and without one Blender knows neither its mode nor its view layer.
    window = bpy.context.window or bpy.context.window_manager.windows[0]
    with bpy.context.temp_override(window=window):
        how = entry.job.state
        if how == "running" or (_occupied() if how == "done" else _rendering()):
            state.held = how == "done"
            _show(entry)
        else:
            _end(entry)
    _redraw()
    return TICK if state.current else None


def stop(patience: float = 5.0) -> None:
    """Forget the whole queue; wait some seconds for the thread, which must not outlive Blender."""
    entry = state.current
    state.dismiss()
    state.current, state.held = None, False
    state.waiting.clear()
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    if entry:
        state.idle_since = time.monotonic()
        entry.job.cancel()
        entry.job.join(patience)


def fail(error: Exception, entry: Entry | None = None) -> str:
    """Keep for the panel, until dismissed, what is wrong and what to do; return it."""
    if isinstance(error, PointEError):
        state.error = str(error)
    else:
        _log.error("Point-E failed", exc_info=error)
        state.error = (
            f"Something unexpected went wrong ({type(error).__name__}: {error}): "
            "try again, and report the copied log if it stays."
        )
    update = entry.job.poll() if entry else None
    state.failed = entry.task.title if entry else ""
    device = update.device if update and update.device else preferences.device()
    state.log = diagnosis.describe(error, state.error, made=state.failed, device=device)
    _redraw()
    return state.error


def _advance() -> None:
    """Start the next one if nothing is being made."""
    if state.current is None and state.waiting:
        state.current = state.waiting.pop(0)
        state.current.job.start()


def _show(entry: Entry) -> None:
    """Let the preview show how far it is, unless the scene must be left alone now."""
    update = entry.job.poll()
    if update is None or update.preview is None or entry.job.cancelling or _in_use():
        return
    stored = preferences.stored()
    if stored and not stored.show_preview:
        return
    if update.preview is entry.seen and preview.find():
        return
    entry.seen = update.preview
    try:
        preview.show(update.preview, entry.task.place, entry.scene)
    except Exception:  # no reason to lose what is being made
        _log.exception("the preview could not be shown")


def _end(entry: Entry) -> None:
    """Take over what was made or what went wrong, and go on with the next."""
    state.current, state.held = None, False
    state.idle_since = time.monotonic()
    preview.remove()
    try:
        if entry.job.state == "done":
            _insert(entry.task, entry.job.poll())
        elif entry.job.error:
            fail(entry.job.error, entry)
    except Exception as error:
        fail(error, entry)
    _advance()


def _insert(task: Task, update: Progress | None) -> list[bpy.types.Object]:
    """Insert the result into the scene."""
    if update is None or update.result is None:
        raise RuntimeError("the pipeline ended without a result")
    try:
        objects = task.insert(update.result)
    finally:  # what is there before something fails can be undone, too
        bpy.ops.ed.undo_push(message=f"Point-E: {task.title}")
    if update.result.notice:
        state.notice = update.result.notice
    return objects


def _occupied() -> bool:
    """Whether nothing can be inserted: outside Object Mode an undo step keeps that mode's data only."""
    return bpy.context.mode != "OBJECT" or _in_use()


def _in_use() -> bool:
    """Whether the user drags something, which an undo step would end, or a rendering goes on."""
    windows = bpy.context.window_manager.windows
    drags = any("UNDO" in operator.bl_options for window in windows for operator in window.modal_operators)
    return drags or _rendering()


def _rendering() -> bool:
    """Whether another thread reads the objects as they are."""
    return any(bpy.app.is_job_running(job) for job in ("RENDER", "OBJECT_BAKE"))


def _redraw() -> None:
    """Draw sidebars and status bars anew, not the scenes: ten times a second that would slow the worker."""
    chores.redraw()
    for window in bpy.context.window_manager.windows:
        if not window.modal_operators:  # or it would lose what it tells there
            with bpy.context.temp_override(window=window):
                window.workspace.status_text_set(None)


@bpy.app.handlers.persistent
def on_load(*_: object) -> None:
    """What was being made belonged to the file that was closed."""
    stop(patience=0.1)


def register() -> None:
    bpy.app.handlers.load_post.append(on_load)


def unregister() -> None:
    bpy.app.handlers.load_post.remove(on_load)
    stop()
