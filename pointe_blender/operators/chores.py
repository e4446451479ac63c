"""What a message about a chore offers."""

from __future__ import annotations

from typing import ClassVar

import bpy


class POINTE_OT_copy_failure(bpy.types.Operator):
    bl_idname = "pointe.copy_failure"
    bl_label = "Copy Log"
    bl_description = "Copy all that is known of what went wrong, to send along with a question"
    bl_options: ClassVar = {"INTERNAL"}

    log: bpy.props.StringProperty(name="Log", description="What is copied", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = self.log
        self.report({"INFO"}, "The log is in the clipboard")
        return {"FINISHED"}


CLASSES = (POINTE_OT_copy_failure,)
