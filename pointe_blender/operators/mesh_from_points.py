"""Meshes from the surfaces or points of whatever is selected."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import bpy

from ..scene import variants
from . import generate, running, selection


def prepare(thing: bpy.types.Object) -> running.Task:
    """Take the points out of Blender; the task holds them, and no reference to the object."""
    from ..scene import sampling

    context, place = bpy.context, variants.Place.of(thing)
    cloud, matrix = sampling.cloud_of(thing, context.evaluated_depsgraph_get())
    settings = context.scene.pointe
    task = generate.prepare(
        cloud=cloud,
        title=f"{thing.name} mesh",
        matrix=matrix,
        models=settings.models,
        quality=settings.quality,
        resolution=settings.resolution,
        output="mesh",
    )
    return replace(task, insert=lambda result: variants.describe_like(task.insert(result), place))


class POINTE_OT_mesh_from_points(bpy.types.Operator):
    bl_idname = "pointe.mesh_from_points"
    bl_label = "Mesh from Selection"
    bl_description = (
        "Make a closed, coloured mesh of each selected object, in its place, from points on its surface "
        "or from the points that it has"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set(selection.HINT)
        return bool(selection.usable(context))

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return self._carry_out(context, background=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self._carry_out(context, background=False)

    def _carry_out(self, context: bpy.types.Context, *, background: bool) -> set[str]:
        prepares = [partial(prepare, thing) for thing in selection.usable(context)]
        return selection.carry_out_each(self, prepares, background=background)


CLASSES = (POINTE_OT_mesh_from_points,)
