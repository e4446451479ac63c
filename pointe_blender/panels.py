"""The panel "Point-E" in the sidebar of the 3D View, and the entry in its Add menu."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import bpy

from . import packages, preferences
from .operators import running
from .preferences import wrapped

if TYPE_CHECKING:
    from .pipeline import Progress

STAGES = {
    "load": "Loading",
    "download": "Downloading",
    "condition": "Reading",
    "base": "Shaping",
    "upsample": "Refining",
    "mesh": "Meshing",
    "done": "Done",
}


class _Sidebar:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Point-E"


class POINTE_PT_main(_Sidebar, bpy.types.Panel):
    bl_label = "Point-E"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        if running.state.task:
            draw_progress(layout, context)
            return
        if running.state.error:
            draw_message(layout, context, running.state.error, "ERROR")
        if packages.missing():
            preferences.draw_pytorch(layout)
        draw_settings(layout, context.scene.pointe)
        row = layout.row()
        row.scale_y = 1.5
        row.operator("pointe.generate", icon="SHADERFX")
        if running.state.notice:
            draw_message(layout, context, running.state.notice, "INFO")


class POINTE_PT_mesh(_Sidebar, bpy.types.Panel):
    bl_label = "Mesh from Points"
    bl_parent_id = "POINTE_PT_main"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.enabled = not running.state.task
        column.operator("pointe.mesh_from_points", icon="MESH_ICOSPHERE")


def draw_settings(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """What to make, and how."""
    layout.row().prop(settings, "source", expand=True)
    hint = {"prompt": "a red chair", "image": "a picture file"}[settings.source]
    layout.prop(settings, settings.source, text="", placeholder=hint)
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    for name in ("models", "output", "seed"):
        column.prop(settings, name)
    if megabytes := preferences.to_download(settings.models):
        text = f"{megabytes / 1000:.1f} GB will be downloaded first."
        if not bpy.app.online_access:
            text = f"{megabytes / 1000:.1f} GB are to be downloaded: {preferences.ONLINE_HINT}."
        preferences.draw_sentence(layout, text, "IMPORT")


def draw_progress(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is being made, how far it is, and the way out."""
    state = running.state
    layout.label(text=state.task.title, icon="SHADERFX")
    update = state.job.poll() if state.job else None
    layout.progress(text=_doing(update), factor=update.fraction if update else 0.0)
    if state.held:
        for line in wrapped("It is ready and will be added in Object Mode: leave the present mode.", context):
            layout.label(text=line)
    layout.operator("pointe.cancel", icon="CANCEL")


def draw_message(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str) -> None:
    """A sentence that stays until it is dismissed."""
    box = layout.box()
    column = box.column(align=True)
    for i, line in enumerate(wrapped(text, context)):
        column.label(text=line, icon=icon if i == 0 else "BLANK1")
    box.operator("pointe.dismiss")


def draw_add_menu(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Appended to Add."""
    layout = menu.layout
    layout.separator()
    usual, layout.operator_context = layout.operator_context, "INVOKE_REGION_WIN"
    layout.operator("pointe.add", text="Point-E", icon="SHADERFX")
    layout.operator_context = usual


def _doing(update: Progress | None) -> str:
    """Stage and step in a few words."""
    if running.state.job and running.state.job.cancelling:
        return "Cancelling"
    if update is None:
        return "Starting"
    stage = STAGES.get(update.stage, update.stage)
    unit = " MB" if update.stage == "download" else ""
    return f"{stage} {update.step} / {update.steps}{unit}" if update.steps > 1 else stage
