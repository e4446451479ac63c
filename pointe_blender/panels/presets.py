"""Presets of the settings: named, kept by Blender among the user's scripts, chosen in the panel's header."""

from __future__ import annotations

from typing import ClassVar

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

from ..setup.errands import PRESETS


class POINTE_PT_presets(PresetPanel, bpy.types.Panel):
    bl_label = "Point-E Presets"
    preset_subdir = PRESETS
    preset_operator = "script.execute_preset"
    preset_add_operator = "pointe.add_preset"


class POINTE_OT_add_preset(AddPresetBase, bpy.types.Operator):
    bl_idname = "pointe.add_preset"
    bl_label = "Add Point-E Preset"
    bl_description = "Keep the present settings under a name, or remove the chosen ones"
    preset_menu = "POINTE_PT_presets"
    preset_subdir = PRESETS
    # What is made is not part of how it is made: neither the prompt nor the picture nor the seed.
    preset_values: ClassVar = [
        f"bpy.context.scene.pointe.{name}"
        for name in (
            "models",
            "output",
            "count",
            "quality",
            "steps",
            "guidance",
            "points",
            "resolution",
            "crop",
            "size",
            "origin",
            "place",
            "shading",
            "faces",
            "remesh",
            "texture",
            "asset",
        )
    ]


CLASSES = (POINTE_PT_presets, POINTE_OT_add_preset)
