"""Install PyTorch in the background, cancel that, remove it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import bpy

from .. import packages, preferences
from ..job import Job
from ..pipeline.errors import PointEError

if TYPE_CHECKING:
    from ..installation import Installing

TICK = 0.25  # seconds between two looks at the job
_log = logging.getLogger(__name__)


def run(target: Path) -> Iterator[Installing]:
    """The installer, imported by the thread that runs it."""
    from ..installation import install

    return install(target)


@dataclass
class _State:
    """What preferences and panel show; it lives as long as Blender's session."""

    job: Job[Installing] | None = None
    failure: str = ""


state = _State()


def begin() -> Job[Installing]:
    """Start the thread that installs."""
    target = preferences.packages_target()
    state.job, state.failure = Job(lambda: run(target)), ""
    state.job.start()
    return state.job


def tick() -> float | None:
    """Show how far it is; called by a timer on the main thread until the thread has ended."""
    _redraw()
    if state.job and state.job.state == "running":
        return TICK
    _finish()
    return None


def stop() -> None:
    """Cancel and wait some seconds, so that nothing goes on when Blender quits."""
    if state.job:
        state.job.cancel()
        state.job.join(5.0)
    state.job, state.failure = None, ""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)


def _finish() -> None:
    """Take over what was installed, or keep what to tell the user."""
    error, state.job = state.job.error, None
    if isinstance(error, PointEError):
        state.failure = str(error)
    elif error:
        _log.error("installing PyTorch failed", exc_info=error)
        state.failure = f"Installing failed unexpectedly ({error}): try again, or choose a packages folder."
    preferences.use_packages()


class POINTE_OT_install_pytorch(bpy.types.Operator):
    bl_idname = "pointe.install_pytorch"
    bl_label = "Install PyTorch"
    bl_description = "Fetch PyTorch for this Blender, into the folder of this extension and nowhere else"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not bpy.app.online_access:
            cls.poll_message_set(preferences.ONLINE_HINT)
        return bpy.app.online_access and state.job is None

    @classmethod
    def unregister(cls) -> None:
        """Called by Blender when the class goes."""
        stop()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        begin()
        bpy.app.timers.register(tick, first_interval=TICK, persistent=True)
        return {"FINISHED"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        begin().join()
        _finish()
        if state.failure:
            self.report({"ERROR"}, state.failure)
            return {"CANCELLED"}
        return {"FINISHED"}


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in {"PREFERENCES", "VIEW_3D"}:
                area.tag_redraw()


class POINTE_OT_cancel_install(bpy.types.Operator):
    bl_idname = "pointe.cancel_install"
    bl_label = "Cancel"
    bl_description = "Stop fetching PyTorch and delete what has arrived"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return state.job is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        state.job.cancel()
        return {"FINISHED"}


class POINTE_OT_remove_pytorch(bpy.types.Operator):
    bl_idname = "pointe.remove_pytorch"
    bl_label = "Remove PyTorch"
    bl_description = "Delete the installed PyTorch; a packages folder of your own is left alone"
    bl_options: ClassVar = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        target = preferences.packages_target()
        try:
            packages.remove(target)
        except PointEError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        preferences.use_packages()
        _redraw()
        return {"FINISHED"}
