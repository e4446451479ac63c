"""What Blender gets to know of this extension: classes, settings, menu entry, shell command, handlers."""

from __future__ import annotations

import atexit
from typing import Any

import bpy

from . import panels, preferences, properties
from .operators import generate, mesh_from_points, packages, running

CLASSES = (
    preferences.PointePreferences,
    properties.PointeSettings,
    packages.POINTE_OT_install_pytorch,
    packages.POINTE_OT_cancel_install,
    packages.POINTE_OT_remove_pytorch,
    running.POINTE_OT_cancel,
    running.POINTE_OT_dismiss,
    generate.POINTE_OT_generate,
    generate.POINTE_OT_add,
    mesh_from_points.POINTE_OT_mesh_from_points,
    panels.POINTE_PT_main,
    panels.POINTE_PT_mesh,
)

_commands: list[Any] = []  # handles of what `blender --command` knows


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.pointe = bpy.props.PointerProperty(type=properties.PointeSettings)
    bpy.types.VIEW3D_MT_add.append(panels.draw_add_menu)
    bpy.app.handlers.load_pre.append(on_load)
    atexit.register(running.stop)
    _commands.append(bpy.utils.register_cli_command("pointe", command))


def unregister() -> None:
    bpy.utils.unregister_cli_command(_commands.pop())
    running.stop()
    atexit.unregister(running.stop)
    bpy.app.handlers.load_pre.remove(on_load)
    bpy.types.VIEW3D_MT_add.remove(panels.draw_add_menu)
    del bpy.types.Scene.pointe
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)


@bpy.app.handlers.persistent
def on_load(*_: object) -> None:
    """What was being made belongs to the file that is being closed."""
    running.stop(patience=0.1)


def command(arguments: list[str]) -> int:
    """`blender --command pointe ...`."""
    from .cli import main

    return main(arguments, preferences.folders())
