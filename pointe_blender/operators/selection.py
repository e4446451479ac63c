"""What operators on the selected objects have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import bpy

from . import running

SHOWN = frozenset({"MESH", "POINTCLOUD", "CURVE", "SURFACE", "FONT", "META"})  # with surfaces or points
HINT = "Select a mesh, point cloud, curve, surface, text, metaball or collection instance"


def usable(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Those of the selected objects that points can be taken of."""
    return [
        thing
        for thing in context.selected_objects
        if thing.type in SHOWN or (thing.type == "EMPTY" and thing.instance_type == "COLLECTION")
    ]


def carry_out_each(
    operator: bpy.types.Operator, prepares: Iterable[Callable[[], running.Task]], *, background: bool
) -> set[str]:
    """Carry out a task for each object; one that fails says so and does not keep the others from it."""
    outcomes = [running.carry_out(operator, prepare, background=background) for prepare in prepares]
    return {"FINISHED"} if {"FINISHED"} in outcomes else {"CANCELLED"}
