"""What panels and preferences have in common: sentences that fit, progress, the way to the network."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import bpy

from ..setup import ONLINE_HINT

if TYPE_CHECKING:
    from ..setup.chores import Chore


def draw_sentence(layout: bpy.types.UILayout, text: str, icon: str) -> None:
    """A sentence beside an icon, in as many lines as it takes."""
    column = layout.column(align=True)
    for i, line in enumerate(wrapped(text, bpy.context)):
        column.label(text=line, icon="BLANK1" if i else icon)


def wrapped(text: str, context: bpy.types.Context) -> list[str]:
    """Lines that fit the width of the region beside an icon; letters are about 7 pixels wide."""
    width = context.region.width / context.preferences.system.ui_scale if context.region else 280.0
    room, longest = width - 70.0, max(map(len, text.split()), default=0)
    columns = int(room / 6.5)
    if longest > columns:  # an address or a path, whose letters are wider than those of sentences
        columns = int(room / 8.0)
    return textwrap.wrap(text, max(16, columns), break_on_hyphens=False)


def draw_step(layout: bpy.types.UILayout, chore: Chore) -> None:
    """What a chore does now and how far it is."""
    step = chore.poll()
    fraction = step.fraction if step else 0.0
    if chore.cancelling:
        layout.progress(text="Cancelling", factor=fraction)
    elif step:
        layout.progress(text=f"{step.text} ({fraction:.0%})", factor=fraction)
        if step.detail:
            draw_sentence(layout, step.detail, "BLANK1")
    else:
        layout.progress(text="Starting", factor=fraction)


def draw_failure(layout: bpy.types.UILayout, text: str, log: str) -> None:
    """What went wrong, and the button for those who want to know more."""
    draw_sentence(layout, text, "ERROR")
    layout.operator("pointe.copy_failure", icon="COPYDOWN").log = log


def draw_offline(layout: bpy.types.UILayout) -> None:
    """Why nothing can be fetched, and the button that opens the place where that is changed."""
    draw_sentence(layout, f"{ONLINE_HINT}.", "INTERNET_OFFLINE")
    layout.operator("extensions.userpref_show_online", text="Show the Setting", icon="PREFERENCES")
