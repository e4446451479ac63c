"""The one thing being made: started, watched from the main thread, cancelled, inserted as one undo step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import bpy

from ..job import Job
from ..pipeline.errors import PointEError

if TYPE_CHECKING:
    from ..pipeline import Progress, Result

TICK = 0.1  # seconds between two looks at the worker
_log = logging.getLogger(__name__)


class Busy(PointEError):
    """Another run has not ended: wait or cancel it."""


@dataclass(frozen=True)
class Task:
    """Something to make.

    Attributes
    ----------
    title
        For the user, such as the prompt.
    work
        Runs on the worker, so it knows no bpy; its last update has a result.
    insert
        Runs on the main thread, once, and must hold names, not references: undo may come between.
    """

    title: str
    work: Callable[[], Iterator[Progress]]
    insert: Callable[[Result], list[bpy.types.Object]]


@dataclass
class _State:
    """What the panel shows. It lives as long as Blender's session and is saved nowhere.

    `held` says that the result is there and waits for the user to finish something.
    """

    task: Task | None = None
    job: Job[Progress] | None = None
    error: str = ""
    notice: str = ""
    held: bool = False

    def reset(self, task: Task | None = None) -> None:
        self.task, self.job, self.error, self.notice, self.held = task, None, "", "", False


state = _State()


def start(prepare: Callable[[], Task]) -> None:
    """Make it in the background; the objects appear when it is done.

    Raises
    ------
    Busy
        Something else is being made.
    """
    task = _claim(prepare)
    state.job = Job(task.work)
    state.job.start()
    bpy.app.timers.register(tick, first_interval=TICK)


def wait(prepare: Callable[[], Task]) -> list[bpy.types.Object]:
    """Make it here and now; for scripts, the console and Blender without a window, where timers stand still.

    Raises
    ------
    Busy
        Something else is being made.
    PointEError
        What the pipeline has to say.
    """
    task = _claim(prepare)
    manager = bpy.context.window_manager
    manager.progress_begin(0.0, 1.0)
    update = None
    try:
        with closing(task.work()) as updates:
            for update in updates:
                manager.progress_update(update.fraction)
        return _finish(task, update)
    finally:
        manager.progress_end()
        state.task = None


def carry_out(operator: bpy.types.Operator, prepare: Callable[[], Task], *, background: bool) -> set[str]:
    """What operators have in common: start a task or wait for it, and report what goes wrong."""
    try:
        if background and not bpy.app.background:
            start(prepare)
        else:
            wait(prepare)
    except Busy as error:  # the panel goes on showing what is being made
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    except Exception as error:
        operator.report({"ERROR"}, fail(error))
        return {"CANCELLED"}
    return {"FINISHED"}


def tick() -> float | None:
    """Look at the worker; when it has ended, take over what it made. Called by a timer on the main thread."""
    job, task = state.job, state.task
    if job is None or task is None:
        return None
    _redraw()
    if job.state == "running":
        return TICK
    # A timer has no window, and without one Blender knows neither its mode nor its view layer.
    window = bpy.context.window or bpy.context.window_manager.windows[0]
    with bpy.context.temp_override(window=window):
        if job.state == "done" and _occupied():
            state.held = True
            return TICK
        state.reset()
        if job.state == "done":
            try:
                _finish(task, job.poll())
            except Exception as error:
                fail(error)
        elif job.error:
            fail(job.error)
    return None


def stop(patience: float = 5.0) -> None:
    """Forget what is being made; wait some seconds for its thread, which must not outlive Blender."""
    job = state.job
    state.reset()
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    if job:
        job.cancel()
        job.join(patience)


def fail(error: Exception) -> str:
    """Keep for the panel, until dismissed, what is wrong and what to do; return it."""
    if isinstance(error, PointEError):
        state.error = str(error)
    else:
        _log.error("Point-E failed", exc_info=error)
        state.error = (
            f"Something unexpected went wrong ({type(error).__name__}: {error}): "
            "try again, and report what the system console says if it stays."
        )
    _redraw()
    return state.error


def _claim(prepare: Callable[[], Task]) -> Task:
    """Prepare a task and make it the one being made."""
    if state.task:
        raise Busy(f"Point-E is still making {state.task.title!r}: wait until it is done, or cancel it.")
    task = prepare()
    state.reset(task)
    return task


def _finish(task: Task, update: Progress | None) -> list[bpy.types.Object]:
    """Insert the result into the scene."""
    if update is None or update.result is None:
        raise RuntimeError("the pipeline ended without a result")
    objects = task.insert(update.result)
    state.notice = update.result.notice
    bpy.ops.ed.undo_push(message=f"Point-E: {task.title}")
    return objects


def _occupied() -> bool:
    """Whether the user is in the middle of something.

    Outside Object Mode an undo step keeps that mode's data only, and in a drag it would end the drag.
    """
    if bpy.context.mode != "OBJECT":
        return True
    windows = bpy.context.window_manager.windows
    return any("UNDO" in operator.bl_options for window in windows for operator in window.modal_operators)


def _redraw() -> None:
    """Draw the sidebars anew, not the scenes beside them: ten times a second that would slow the worker."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


class POINTE_OT_cancel(bpy.types.Operator):
    bl_idname = "pointe.cancel"
    bl_label = "Cancel"
    bl_description = "Stop what Point-E is making; nothing is added to the scene"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return state.job is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        state.job.cancel()
        return {"FINISHED"}


class POINTE_OT_dismiss(bpy.types.Operator):
    bl_idname = "pointe.dismiss"
    bl_label = "Dismiss"
    bl_description = "Hide this message"
    bl_options: ClassVar = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        state.error = state.notice = ""
        return {"FINISHED"}
