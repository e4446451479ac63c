"""Forget the prompts that were used."""

from __future__ import annotations

import bpy

from .. import history
from ..pipeline.errors import CannotWrite
from . import running


class POINTE_OT_clear_history(bpy.types.Operator):
    bl_idname = "pointe.clear_history"
    bl_label = "Clear Prompt History"
    bl_description = "Forget the prompts that are offered while typing"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if history.file().is_file():  # asked at every redraw, so it is not read
            return True
        cls.poll_message_set("No prompt is remembered")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            history.forget()
        except OSError as error:
            reason = error.strerror or error
            return running.refuse(
                self, CannotWrite(f"{history.file()} cannot be deleted ({reason}): close other Blenders.")
            )
        return {"FINISHED"}


CLASSES = (POINTE_OT_clear_history,)
