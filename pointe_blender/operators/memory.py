"""The networks that stay in memory between runs: given back by a button, or after a while without a run."""

from __future__ import annotations

import sys
import time
from typing import ClassVar

import bpy

from .. import preferences
from ..setup import chores
from . import running

TICK = 20.0  # seconds between two looks at the clock


def resident_bytes() -> int:
    """Bytes of the networks in memory; asks nothing that is not loaded."""
    memory = sys.modules.get(f"{__package__.rpartition('.')[0]}.pipeline.memory")
    return memory.resident_bytes() if memory else 0


def unload() -> None:
    """Give the memory of all networks back."""
    from ..pipeline import memory

    memory.unload()
    running.state.idle_since = None
    chores.redraw()


def tick() -> float:
    """Unload when the time of the preferences has passed; called by a timer while the extension is on."""
    stored, since = preferences.stored(), running.state.idle_since
    minutes = stored.unload_after if stored else 0
    if minutes and since is not None and not running.state.current:
        if time.monotonic() - since >= 60.0 * minutes:
            unload()
    return TICK


class POINTE_OT_unload_models(bpy.types.Operator):
    bl_idname = "pointe.unload_models"
    bl_label = "Unload Models"
    bl_description = "Give back the memory that the networks take; the next run loads them again"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if running.state.current:
            cls.poll_message_set("Wait until nothing is being made, or cancel it")
        return not running.state.current

    def execute(self, context: bpy.types.Context) -> set[str]:
        megabytes = resident_bytes() / 1e6
        unload()
        self.report({"INFO"}, f"{megabytes:.0f} MB of models are unloaded")
        return {"FINISHED"}


CLASSES = (POINTE_OT_unload_models,)


def register() -> None:
    bpy.app.timers.register(tick, first_interval=TICK, persistent=True)


def unregister() -> None:
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
