"""What Blender gets to know of this extension: classes, settings, menus, shell command, handlers."""

from __future__ import annotations

import atexit
from typing import Any

import bpy

from . import preferences, properties
from .operators import (
    chores,
    densify,
    finishing,
    generate,
    history,
    memory,
    mesh_from_points,
    models,
    packages,
    queue,
    references,
    running,
    variants,
)
from .panels import main, output, presets
from .panels import queue as queue_panel
from .panels import variants as variants_panel
from .scene import preview, thumbnail
from .setup import errands

OPERATORS = (
    chores,
    packages,
    models,
    queue,
    memory,
    references,
    history,
    generate,
    mesh_from_points,
    densify,
    variants,
    finishing,
)
PANELS = (presets, main, output, variants_panel)
CLASSES = (
    preferences.PointePreferences,
    properties.PointeSettings,
    *(cls for module in (*OPERATORS, *PANELS) for cls in module.CLASSES),
)
# With handlers, keys, timers or entries in Blender's own interface.
LIVING = (preview, running, queue, memory, packages, queue_panel)
MENUS = (
    (bpy.types.VIEW3D_MT_add, main.draw_add_menu),
    (bpy.types.VIEW3D_MT_object, variants_panel.draw_object_menu),
)

_commands: list[Any] = []  # handles of what `blender --command` knows


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.pointe = bpy.props.PointerProperty(type=properties.PointeSettings)
    for menu, draw in MENUS:
        menu.append(draw)
    for module in LIVING:
        module.register()
    atexit.register(running.stop)
    _commands.append(bpy.utils.register_cli_command("pointe", command))


def unregister() -> None:
    bpy.utils.unregister_cli_command(_commands.pop())
    atexit.unregister(running.stop)
    for module in reversed(LIVING):
        module.unregister()
    errands.stop()
    thumbnail.forget_all()
    for menu, draw in MENUS:
        menu.remove(draw)
    del bpy.types.Scene.pointe
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)


def command(arguments: list[str]) -> int:
    """`blender --command pointe ...`."""
    from .cli import main
    from .scene import finisher

    return main(arguments, preferences.folders(), finisher)
