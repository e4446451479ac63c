"""Objects from a prompt or a picture: the button, the menu entry, the console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import bpy

from .. import panels, preferences, properties
from . import running

if TYPE_CHECKING:
    from ..pipeline import Progress, Request
    from ..pipeline.weights import Folders


def run(request: Request, folders: Folders) -> Iterator[Progress]:
    """The pipeline, imported by the thread that runs it; tests put plain arrays in its place."""
    from .. import pipeline

    return pipeline.generate(request, folders=folders)


def prepare(prompt: str | None, image: Any, **fields: Any) -> running.Task:
    """Check the settings; return the task, which holds names and values only."""
    from .. import objects

    request = properties.to_request(prompt, image, **fields)
    title = prompt or (Path(image).stem if isinstance(image, (str, Path)) else "picture")
    folders, scene = preferences.folders(), bpy.context.scene.name
    return running.Task(
        title=title,
        work=lambda: run(request, folders),
        insert=lambda result: objects.insert(result, request, title, scene),
    )


def generate_now(prompt: str | None, image: Any, **fields: Any) -> list[bpy.types.Object]:
    """See `pointe_blender.generate`."""
    return running.wait(lambda: prepare(prompt, image, **fields))


class POINTE_OT_generate(properties.Settings, bpy.types.Operator):
    bl_idname = "pointe.generate"
    bl_label = "Generate"
    bl_description = "Make it in the background; it appears at the 3D cursor when it is done"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return running.carry_out(self, self._prepare, background=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return running.carry_out(self, self._prepare, background=False)

    def _prepare(self) -> running.Task:
        return prepare(**properties.chosen(self, bpy.context.scene))


class POINTE_OT_add(bpy.types.Operator):
    bl_idname = "pointe.add"
    bl_label = "Point-E"
    bl_description = "Make an object from a prompt or a picture"
    bl_options: ClassVar = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, title="Point-E", confirm_text="Generate")

    def draw(self, context: bpy.types.Context) -> None:
        panels.draw_settings(self.layout, context.scene.pointe)

    def execute(self, context: bpy.types.Context) -> set[str]:
        if context.area and context.area.type == "VIEW_3D":
            context.space_data.show_region_ui = True  # there it tells how far it is, and what goes wrong
        return bpy.ops.pointe.generate("INVOKE_DEFAULT")
