"""What is being made and what waits: how far it is, how long it takes, the way out, what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy

from ..operators import memory, running
from .text import draw_sentence

if TYPE_CHECKING:
    from ..pipeline import Progress
    from ..tasks import Entry

STAGES = {
    "download": "Downloading",
    "load": "Loading",
    "condition": "Reading",
    "base": "Shaping",
    "upsample": "Refining",
    "densify": "Adding points",
    "rank": "Comparing",
    "mesh": "Meshing",
    "done": "Done",
}
_HELD = "It is ready and will be added in Object Mode: leave the present mode."
_BUSY = "It is ready and will be added when Blender is free: end the present tool, or wait for the rendering."


def draw_queue(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Everything of the queue that there is to show."""
    state = running.state
    if state.current:
        _draw_current(layout.box().column(), state.current, context)
    if state.waiting:
        column = layout.box().column(align=True)
        for entry in state.waiting:
            _draw_title(column, entry, "TIME")
    if state.error or state.notice:
        _draw_messages(layout.box().column())
    if not state.current and (megabytes := memory.resident_bytes() / 1e6) >= 1.0:
        layout.operator("pointe.unload_models", text=f"Unload Models ({megabytes:,.0f} MB)", icon="MEMORY")


def draw_status(header: bpy.types.Header, context: bpy.types.Context) -> None:
    """Appended to the status bar; the keys that a tool tells there stay where they are."""
    entry = running.state.current
    if entry is None:
        return
    update = entry.job.poll()
    row = header.layout.row(align=True)
    row.ui_units_x = 13.0
    row.progress(text=f"Point-E: {told(entry)}", factor=update.fraction if update else 0.0)
    row.operator("pointe.cancel", text="", icon="X", emboss=False).number = entry.number


def told(entry: Entry) -> str:
    """Stage, step and remaining time in a few words."""
    update = entry.job.poll()
    if entry.job.cancelling:
        return "Cancelling"
    if running.state.held:
        return "Ready"
    if update is None:
        return "Starting"
    return ", ".join(part for part in (_stage(update), time_left(update.remaining)) if part)


def time_left(seconds: float | None) -> str:
    """As exact as a guess can be; empty without one."""
    if seconds is None:
        return ""
    if seconds < 55.0:
        return f"{max(5, 5 * round(seconds / 5))} s left" if seconds >= 5.0 else "a few seconds left"
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min left" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min left"


def _stage(update: Progress) -> str:
    stage = STAGES.get(update.stage, update.stage.capitalize())
    unit = " MB" if update.stage == "download" else ""
    return f"{stage} {update.step} / {update.steps}{unit}" if update.steps > 1 else stage


def _draw_current(column: bpy.types.UILayout, entry: Entry, context: bpy.types.Context) -> None:
    update = entry.job.poll()
    _draw_title(column, entry, "SHADERFX")
    column.progress(text=told(entry), factor=update.fraction if update else 0.0)
    if running.state.held:
        draw_sentence(column, _BUSY if context.mode == "OBJECT" else _HELD, "INFO")


def _draw_title(column: bpy.types.UILayout, entry: Entry, icon: str) -> None:
    row = column.row()
    row.label(text=entry.task.title, icon=icon)
    row.operator("pointe.cancel", text="", icon="X", emboss=False).number = entry.number


def _draw_messages(column: bpy.types.UILayout) -> None:
    """Sentences that stay until they are dismissed."""
    state = running.state
    if state.failed:
        column.label(text=state.failed)
    if state.error:
        draw_sentence(column, state.error, "ERROR")
    if state.notice:
        draw_sentence(column, state.notice, "INFO")
    row = column.row()
    row.operator("pointe.dismiss")
    if state.log:
        row.operator("pointe.copy_log", icon="COPYDOWN")


def register() -> None:
    bpy.types.STATUSBAR_HT_header.append(draw_status)


def unregister() -> None:
    bpy.types.STATUSBAR_HT_header.remove(draw_status)
