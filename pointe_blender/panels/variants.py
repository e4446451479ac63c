"""The selected object: what it was made from, its place among the variants, and what can be made of it."""

from __future__ import annotations

from typing import Any

import bpy

from ..operators import selection
from ..scene import variants
from .main import Sidebar
from .text import draw_sentence


class POINTE_PT_object(Sidebar, bpy.types.Panel):
    bl_label = "Selected Object"
    bl_parent_id = "POINTE_PT_main"

    def draw(self, context: bpy.types.Context) -> None:
        layout, thing = self.layout, context.active_object
        if variants.is_generated(thing) and thing.select_get():
            draw_origin(layout, context, thing)
            draw_variants(layout, thing)
        elif not selection.usable(context):
            draw_sentence(layout, f"{selection.HINT}.", "INFO")
        draw_uses(layout.column(align=True))


def draw_uses(layout: bpy.types.UILayout) -> None:
    """What can be made of any object."""
    layout.operator("pointe.mesh_from_points", icon="MESH_ICOSPHERE")
    layout.operator("pointe.densify", icon="POINTCLOUD_DATA")


def draw_again(layout: bpy.types.UILayout) -> None:
    """Make it again, or another one like it."""
    layout.operator("pointe.regenerate", icon="FILE_REFRESH")
    another = layout.operator("pointe.regenerate", text="Another Seed", icon="ADD")
    another.new_seed, another.replace = True, False


class POINTE_MT_object(bpy.types.Menu):
    bl_label = "Point-E"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_REGION_WIN"
        draw_uses(layout)
        layout.separator()
        draw_again(layout)
        for name in ("reuse_settings", "keep", "discard"):
            layout.operator(f"pointe.{name}")
        layout.separator()
        layout.operator("pointe.finish", text="Apply Output Settings")
        for name in ("bake_texture", "mark_asset"):
            layout.operator(f"pointe.{name}")


def draw_object_menu(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Appended to Object; the search finds what is in menus only."""
    menu.layout.separator()
    menu.layout.menu("POINTE_MT_object")


def draw_origin(layout: bpy.types.UILayout, context: bpy.types.Context, thing: bpy.types.Object) -> None:
    """What it was made from and with."""
    picture = thing.get("pointe_picture")
    made_from = picture.name if picture else thing.get("pointe_prompt")
    column = layout.column(align=True)
    draw_sentence(
        column, made_from or "Made from another object", "IMAGE_DATA" if picture else "OUTLINER_OB_FONT"
    )
    for name, value in {"models": thing["pointe_models"], **variants.settings(thing)}.items():
        row = column.split(factor=0.4)
        row.label(text=name.capitalize())
        row.label(text=_in_words(context.scene.pointe, name, value))
    if variants.can_be_made_again(thing):
        layout.operator("pointe.reuse_settings", icon="COPYDOWN")


def _in_words(settings: bpy.types.PropertyGroup, name: str, value: Any) -> str:
    """A setting as the panel shows it; one that is no longer offered, as it is stored."""
    if isinstance(value, str):
        return bpy.types.UILayout.enum_item_name(settings, name, value) or value
    return f"{value:g}" if isinstance(value, float) else str(value)


def draw_seeds(layout: bpy.types.UILayout, ranked: list[list[bpy.types.Object]], place: int) -> None:
    """The seed and score of each variant; a click selects it."""
    grid = layout.grid_flow(row_major=True, columns=2, even_columns=True, align=True)
    for i, variant in enumerate(ranked):
        score = variant[0].get("pointe_score")
        text = f"Seed {variant[0]['pointe_seed']}" + ("" if score is None else f"  ({score:.2f})")
        grid.operator("pointe.choose", text=text, depress=i == place).rank = i + 1


def draw_variants(layout: bpy.types.UILayout, thing: bpy.types.Object) -> None:
    """All variants of its run, best first, and what can be done with this one."""
    ranked = variants.ranked(thing)
    place = next(i for i, variant in enumerate(ranked) if thing in variant)
    if len(ranked) > 1:
        layout.label(text=f"Variant {place + 1} of {len(ranked)}", icon="SORTSIZE")
    if len(ranked) > 1 or variants.can_be_made_again(thing):
        draw_seeds(layout, ranked, place)
    column = layout.column(align=True)
    if variants.can_be_made_again(thing):
        draw_again(column)
    if len(ranked) > 1:
        column.operator("pointe.keep", icon="CHECKMARK")
    column.operator("pointe.discard", icon="TRASH")


CLASSES = (POINTE_PT_object, POINTE_MT_object)
