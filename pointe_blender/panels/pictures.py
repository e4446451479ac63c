"""The reference picture: which, where it comes from, and what the models will see of it."""

from __future__ import annotations

import bpy

from ..operators.references import SOURCES
from ..scene import thumbnail
from .text import draw_sentence

SCALE = 6.0  # of the thumbnail, in heights of a button


def draw_picture(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Choose the scene's picture, and see it as the models will."""
    settings = context.scene.pointe
    column = layout.column(align=True)
    column.template_ID(settings, "picture", open="image.open")
    row = column.row(align=True)
    for source, text, _ in SOURCES:
        row.operator("pointe.take_picture", text=text).source = source
    layout.prop(settings, "crop")
    if settings.picture is None:
        return
    shown = thumbnail.of(context.scene)
    if shown is None:
        layout.box().label(text="Looking at the picture", icon="TIME")
        return
    if shown.icon:
        layout.box().template_icon(shown.icon, scale=SCALE)
    if shown.notice:
        draw_sentence(layout, shown.notice, "INFO")
