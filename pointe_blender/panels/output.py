"""How what comes out is made ready to use, and what can still be done with what is there."""

from __future__ import annotations

from typing import ClassVar

import bpy

from ..scene import nodes
from .main import Sidebar


class POINTE_PT_output(Sidebar, bpy.types.Panel):
    bl_label = "Output"
    bl_parent_id = "POINTE_PT_main"
    bl_options: ClassVar = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        draw_finish(self.layout, context.scene.pointe)
        column = self.layout.column(align=True)
        column.operator("pointe.finish", icon="CHECKMARK")
        column.operator("pointe.bake_texture", icon="TEXTURE")
        column.operator("pointe.mark_asset", icon="ASSET_MANAGER")
        draw_radius(self.layout, context.active_object)


def draw_finish(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """Where it goes and how large it is; of a mesh, what its surface is like."""
    layout.use_property_split = True
    layout.use_property_decorate = False
    for heading in (("size", "origin", "place", "collection"), ("shading", "remesh", "faces", "texture")):
        column = layout.column()
        for name in heading:
            column.prop(settings, name)
    layout.prop(settings, "asset")


def draw_radius(layout: bpy.types.UILayout, thing: bpy.types.Object | None) -> None:
    """How large the points of the active cloud are drawn."""
    for modifier in thing.modifiers if thing else ():
        if modifier.type == "NODES" and (radius := nodes.input_of(modifier, "Radius")):
            owner, path = radius
            layout.prop(owner, path, text="Point Radius")


CLASSES = (POINTE_PT_output,)
