"""The levels of quality, each with the seconds that it would take on this computer."""

from __future__ import annotations

from typing import Any

import bpy

from .. import pace, properties
from ..pipeline.errors import InvalidRequest
from ..pipeline.request import QUALITIES


def draw_quality(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """A button for each, and below it how long the present settings would take, if that is known."""
    times = [time_of(settings, quality) for quality in QUALITIES]
    row = layout.row(align=True)
    for quality, time in zip(QUALITIES, times, strict=True):
        column = row.column(align=True)
        column.prop_enum(settings, "quality", quality)
        if any(times):
            below = column.row()
            below.alignment = "CENTER"
            below.label(text=f"~{time}" if time else "")


def time_of(settings: bpy.types.PropertyGroup, quality: str) -> str:
    """How long it would take, in words; empty if that is not known or the settings make no sense."""
    names = ("models", "count", "output", "steps", "guidance", "points", "resolution")
    fields = {name: getattr(settings, name) for name in names}
    try:
        request = properties.to_request(**_anything(settings.models), **fields, quality=quality)
    except InvalidRequest:
        return ""
    seconds = pace.seconds(request)
    return "" if seconds is None else pace.spoken(seconds)


def _anything(models: str) -> dict[str, Any]:
    """Something that a set takes: how long it takes does not depend on what is asked for."""
    from ..pipeline.models import MODEL_SETS

    if "text" in MODEL_SETS[models].takes:
        return {"prompt": "anything"}
    import numpy as np

    return {"image": np.zeros((1, 1, 3), np.uint8)}
