"""A mesh from the points of any cloud or mesh in the scene."""

from __future__ import annotations

import bpy

from .. import preferences
from . import generate, running


def prepare(thing: bpy.types.Object, models: str) -> running.Task:
    """Take the points out of Blender; the task holds them, and no reference to the object."""
    from .. import objects
    from ..pipeline import Request

    cloud, back = objects.to_cloud(thing)
    request = Request(cloud=cloud, models=models, output="mesh", device=preferences.device())
    name, scene, folders = f"{thing.name} mesh", bpy.context.scene.name, preferences.folders()
    matrix = thing.matrix_world @ back
    return running.Task(
        title=name,
        work=lambda: generate.run(request, folders),
        insert=lambda result: objects.insert(result, request, name, scene, matrix),
    )


class POINTE_OT_mesh_from_points(bpy.types.Operator):
    bl_idname = "pointe.mesh_from_points"
    bl_label = "Mesh from Points"
    bl_description = "Make a closed, coloured mesh from the points of the active object, in its place"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        thing = context.active_object
        usable = thing is not None and thing.type in ("MESH", "POINTCLOUD") and context.mode == "OBJECT"
        if not usable:
            cls.poll_message_set("Select a point cloud or a mesh in Object Mode")
        return usable

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return running.carry_out(self, self._prepare, background=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return running.carry_out(self, self._prepare, background=False)

    def _prepare(self) -> running.Task:
        return prepare(bpy.context.active_object, bpy.context.scene.pointe.models)
