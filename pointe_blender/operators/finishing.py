"""What can still be done with objects made here: the present settings, a texture, a mark as asset."""

from __future__ import annotations

from typing import ClassVar

import bpy
from bpy.props import IntProperty

from ..scene import variants
from . import running


class _OnSelected:
    """An operator on those of the selected objects that were made here."""

    bl_options: ClassVar = {"REGISTER", "UNDO"}
    types: ClassVar = ("MESH", "POINTCLOUD")
    hint: ClassVar = "Select an object that Point-E made, in Object Mode"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        usable = context.mode == "OBJECT" and bool(cls.usable(context))
        if not usable:
            cls.poll_message_set(cls.hint)
        return usable

    @classmethod
    def usable(cls, context: bpy.types.Context) -> list[bpy.types.Object]:
        made = filter(variants.is_generated, context.selected_objects)
        return [thing for thing in made if thing.type in cls.types and thing.data.is_editable]

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            self.change(context.scene, self.usable(context))
        except Exception as error:
            return running.refuse(self, error)
        return {"FINISHED"}


class POINTE_OT_finish(_OnSelected, bpy.types.Operator):
    bl_idname = "pointe.finish"
    bl_label = "Apply to Selected"
    bl_description = (
        "Give selected objects the size, origin, shading, faces and texture set above, in their place"
    )

    def change(self, scene: bpy.types.Scene, things: list[bpy.types.Object]) -> None:
        from ..scene import assets, finishing, objects

        finish = finishing.Finish.of(scene)
        for thing in things:
            objects.refit(thing, finish)
            if thing.type == "MESH":
                finishing.finish_mesh(thing, finish)
            if finish.asset:
                assets.mark(thing, objects.likeness(thing))


class POINTE_OT_bake_texture(_OnSelected, bpy.types.Operator):
    bl_idname = "pointe.bake_texture"
    bl_label = "Bake Texture"
    bl_description = (
        "Apply the modifiers of selected meshes, unwrap them and bake their colours into a picture"
    )
    types: ClassVar = ("MESH",)
    hint: ClassVar = "Select a mesh that Point-E made, in Object Mode"

    pixels: IntProperty(
        name="Pixels",
        description="Pixels along each side of the picture",
        default=1024,
        min=16,
        max=8192,
        subtype="PIXEL",
    )

    def change(self, scene: bpy.types.Scene, things: list[bpy.types.Object]) -> None:
        from ..scene import textures

        for thing in things:
            textures.bake(thing, self.pixels)


class POINTE_OT_mark_asset(_OnSelected, bpy.types.Operator):
    bl_idname = "pointe.mark_asset"
    bl_label = "Mark as Asset"
    bl_description = "Show selected objects in the Asset Browser, with a picture, tags and the prompt"

    def change(self, scene: bpy.types.Scene, things: list[bpy.types.Object]) -> None:
        from ..scene import assets, objects

        for thing in things:
            assets.mark(thing, objects.likeness(thing))


CLASSES = (POINTE_OT_finish, POINTE_OT_bake_texture, POINTE_OT_mark_asset)
