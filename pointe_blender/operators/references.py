"""Choose a reference picture: take it from what is at hand, or drop a file onto the 3D View."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import bpy

from . import running

CATEGORY = "Point-E"  # the tab of the sidebar
SOURCES = (
    ("RENDER", "Render", "Make it from the render result, as it is displayed"),
    ("VIEWPORT", "View", "Make it from what the 3D View shows, without overlays and background"),
    ("CLIPBOARD", "Clipboard", "Make it from the picture or the picture file that was copied"),
)


class POINTE_OT_take_picture(bpy.types.Operator):
    bl_idname = "pointe.take_picture"
    bl_label = "Take Picture"
    bl_description = "Make it from a picture that is at hand"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    source: bpy.props.EnumProperty(name="From", description="Where the picture is taken from", items=SOURCES)

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        return next(text for name, _, text in SOURCES if name == properties.source)

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..scene import captures  # which needs numpy

        take = {"RENDER": captures.render, "VIEWPORT": captures.viewport, "CLIPBOARD": captures.clipboard}
        return _choose(self, context, lambda: take[self.source](context))


class POINTE_OT_drop_picture(bpy.types.Operator):
    bl_idname = "pointe.drop_picture"
    bl_label = "Point-E Picture"
    bl_description = "Make an object from a picture file"
    bl_options: ClassVar = {"REGISTER", "UNDO", "INTERNAL"}

    filepath: bpy.props.StringProperty(
        name="File",
        description="The picture file",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..scene import references

        done = _choose(self, context, lambda: references.load(Path(self.filepath)))
        if "FINISHED" in done and context.area and context.area.type == "VIEW_3D":
            _open_sidebar(context.area)
        return done


class POINTE_FH_picture(bpy.types.FileHandler):
    bl_idname = "POINTE_FH_picture"
    bl_label = "Point-E Picture"
    bl_import_operator = POINTE_OT_drop_picture.bl_idname
    bl_file_extensions = ";".join(sorted(bpy.path.extensions_image))

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


def _choose(
    operator: bpy.types.Operator, context: bpy.types.Context, take: Callable[[], bpy.types.Image]
) -> set[str]:
    """Let the scene's picture be the one that `take` gets."""
    try:
        image = take()
    except Exception as error:
        return running.refuse(operator, error)
    running.state.dismiss()  # what kept it from being taken before
    settings = context.scene.pointe
    settings.source, settings.picture = "image", image
    return {"FINISHED"}


def _open_sidebar(area: bpy.types.Area) -> None:
    """Show our tab."""
    area.spaces.active.show_region_ui = True
    region = next(region for region in area.regions if region.type == "UI")

    def choose_tab() -> None:
        with contextlib.suppress(TypeError, ReferenceError):  # the tab is not there, or the window is gone
            region.active_panel_category = CATEGORY

    # A sidebar that was closed knows its tabs only after it was drawn.
    bpy.app.timers.register(choose_tab, first_interval=0.2)


CLASSES = (POINTE_OT_take_picture, POINTE_OT_drop_picture, POINTE_FH_picture)
