"""What to make, the button that makes it, and what is being made."""

from __future__ import annotations

from typing import ClassVar

import bpy

from ..operators import running
from ..setup import packages
from . import models, pictures, presets, pytorch, quality, queue
from .text import draw_sentence


class Sidebar:
    """Where every panel of this extension is."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Point-E"


class POINTE_PT_main(Sidebar, bpy.types.Panel):
    bl_label = "Point-E"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        presets.POINTE_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        if packages.missing():
            pytorch.draw_pytorch(layout, context)
        draw_settings(layout, context)
        row = layout.row()
        row.scale_y = 1.5
        waits = running.state.current is not None
        row.operator("pointe.generate", text="Add to Queue" if waits else "Generate", icon="SHADERFX")
        queue.draw_queue(layout, context)


class POINTE_PT_detail(Sidebar, bpy.types.Panel):
    bl_label = "Detail"
    bl_parent_id = "POINTE_PT_main"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        settings, column = context.scene.pointe, self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        for name in ("steps", "guidance", "points", "resolution"):
            column.prop(settings, name)
        needed = models.memory(settings.models, max(1, settings.count), settings.quality)
        draw_sentence(self.layout, f"Takes {needed}.", "MEMORY")


def draw_settings(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What to make, and with what."""
    settings = context.scene.pointe
    layout.row().prop(settings, "source", expand=True)
    if settings.source == "prompt":
        row = layout.row(align=True)
        row.prop(settings, "prompt", text="", placeholder="a red chair")
        row.operator("pointe.clear_history", text="", icon="TRASH")
    else:
        pictures.draw_picture(layout, context)
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    for name in ("models", "output", "count", "seed"):
        column.prop(settings, name)
    quality.draw_quality(layout, settings)
    models.draw_missing(layout, settings.models)


def draw_add_menu(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Appended to Add."""
    layout = menu.layout
    layout.separator()
    usual, layout.operator_context = layout.operator_context, "INVOKE_REGION_WIN"
    layout.operator("pointe.add", text="Point-E", icon="SHADERFX")
    layout.operator_context = usual


CLASSES = (POINTE_PT_main, POINTE_PT_detail)
