"""Objects from a prompt or a picture: the button, the menu entry, the console."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import bpy

from .. import history, pace, preferences, properties
from ..setup import errands
from . import running

if TYPE_CHECKING:
    import numpy as np
    from mathutils import Matrix

    from ..pipeline import PointCloud, Progress, Request, Result
    from ..pipeline.weights import Folders
    from ..scene.finishing import Finish


def run(request: Request, folders: Folders) -> Iterator[Progress]:
    """The pipeline, imported by the thread that runs it; tests put plain arrays in its place."""
    from .. import pipeline

    if threading.current_thread() is not threading.main_thread():
        _leave_a_core()
    return pipeline.generate(request, folders=folders)


def _leave_a_core() -> None:
    """Keep one core for Blender, whose main thread goes on; torch counts the threads of each of its users."""
    with contextlib.suppress(ImportError):  # the pipeline says it better
        import torch

        torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) - 1)))


def prepare(
    prompt: str | None = None,
    picture: Path | str | np.ndarray | None = None,
    *,
    cloud: PointCloud | None = None,
    title: str = "",
    finish: Finish | None = None,
    matrix: Matrix | None = None,
    crop: bool | None = None,
    **fields: Any,
) -> running.Task:
    """Check everything; return the task, which holds names and values only.

    Parameters
    ----------
    prompt, picture, cloud
        What it is made from, one of them. A picture is a file, an image of this blend file by name, or an
        (H, W, 3 or 4) uint8 array.
    title
        For the user and for the objects; by default the prompt or the picture's name.
    finish
        How the objects are made ready; by default as the scene says.
    matrix
        Where they go; by default as `finish` says.
    crop
        Whether the object is cut out of the picture and centred; by default as the scene says.
    fields
        Further fields of a Request; those that are OWN mean the models' own.

    Raises
    ------
    PointEError
    """
    from ..scene import finishing, objects, references

    if errands.state.doing and errands.state.doing.what == "remove":
        raise running.Busy("Everything is just being removed: wait until it is.")
    scene = bpy.context.scene
    crop = scene.pointe.crop if crop is None else crop
    image, origin = None, None
    if picture is not None:
        image, origin = references.for_models(picture, fields.get("models", "starter"), crop)
    request = properties.to_request(prompt=prompt, image=image, cloud=cloud, **fields)
    if prompt:
        history.remember(prompt)
    title = title or prompt or (origin.rpartition(".")[0] or origin if origin else "picture")
    finish = finish or finishing.Finish.of(scene)
    folders, scene_name = preferences.folders(), scene.name

    def insert(result: Result) -> list[bpy.types.Object]:
        pace.remember(request, result)
        return objects.insert(
            result, request, title, scene_name, finish, matrix=matrix, picture=origin, crop=crop
        )

    return running.Task(
        title=title,
        work=lambda: run(request, folders),
        insert=insert,
        place=matrix or finish.matrix(scene),
    )


def generate_now(prompt: str | None, picture: Any, **fields: Any) -> list[bpy.types.Object]:
    """See `pointe_blender.generate`."""
    if isinstance(picture, str) and picture and picture not in bpy.data.images:
        picture = Path(picture)
    return running.wait(lambda: prepare(prompt, picture, **fields))


def _carry_out(operator: properties.OperatorSettings, *, background: bool) -> set[str]:
    """Make what an operator and the scene say."""
    return running.carry_out(
        operator, lambda: prepare(**properties.chosen(operator, bpy.context.scene)), background=background
    )


class POINTE_OT_generate(properties.OperatorSettings, bpy.types.Operator):
    bl_idname = "pointe.generate"
    bl_label = "Generate"
    bl_description = "Make it in the background; while something is being made it waits for its turn"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return _carry_out(self, background=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return _carry_out(self, background=False)


class POINTE_OT_add(properties.OperatorSettings, bpy.types.Operator):
    bl_idname = "pointe.add"
    bl_label = "Point-E"
    bl_description = "Make an object from a prompt or a picture"
    bl_options: ClassVar = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, title="Point-E", confirm_text="Generate")

    def draw(self, context: bpy.types.Context) -> None:
        from ..panels.main import draw_settings  # which imports this package

        draw_settings(self.layout, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        if context.area and context.area.type == "VIEW_3D":
            context.space_data.show_region_ui = True  # there it tells how far it is, and what goes wrong
        return _carry_out(self, background=True)


CLASSES = (POINTE_OT_generate, POINTE_OT_add)
