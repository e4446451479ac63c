"""What can be done with the queue: cancel by button or Esc, dismiss a message, copy the log of a failure."""

from __future__ import annotations

import time
from typing import ClassVar

import bpy

from . import running
from .running import state

_playback = {"ended": float("-inf")}
_keys: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []


class POINTE_OT_cancel(bpy.types.Operator):
    bl_idname = "pointe.cancel"
    bl_label = "Cancel"
    bl_description = "Stop what Point-E is making; nothing is added to the scene"
    bl_options: ClassVar = {"INTERNAL"}

    number: bpy.props.IntProperty(
        name="Number", description="Which one; 0 is the one being made", min=0, options={"SKIP_SAVE"}
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        if any(entry.number == properties.number for entry in state.waiting):
            return "Take it out of the queue"
        return cls.bl_description

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set("Nothing is being made")
        return state.current is not None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type == "ESC" and (state.held or _playback_ends(context)):
            return {"PASS_THROUGH"}  # it is meant for something else
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        running.cancel(self.number)
        return {"FINISHED"}


class POINTE_OT_dismiss(bpy.types.Operator):
    bl_idname = "pointe.dismiss"
    bl_label = "Dismiss"
    bl_description = "Hide this message"
    bl_options: ClassVar = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        state.dismiss()
        return {"FINISHED"}


class POINTE_OT_copy_log(bpy.types.Operator):
    bl_idname = "pointe.copy_log"
    bl_label = "Copy Log"
    bl_description = "Copy all that is known of what went wrong, to send it along with a question"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set("Nothing went wrong")
        return bool(state.log)

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = state.log
        self.report({"INFO"}, "The log is on the clipboard")
        return {"FINISHED"}


def _playback_ends(context: bpy.types.Context) -> bool:
    """Whether Esc ends the playback of an animation; Blender lets it through to others then."""
    playing = context.screen is not None and context.screen.is_animation_playing
    return playing or time.monotonic() - _playback["ended"] < running.TICK


@bpy.app.handlers.persistent
def on_playback_end(*_: object) -> None:
    _playback["ended"] = time.monotonic()


def register() -> None:
    bpy.app.handlers.animation_playback_post.append(on_playback_end)
    own = bpy.context.window_manager.keyconfigs.addon
    if own:  # Blender has none without a window
        keymap = own.keymaps.new("3D View", space_type="VIEW_3D")
        _keys.append((keymap, keymap.keymap_items.new("pointe.cancel", "ESC", "PRESS")))


def unregister() -> None:
    for keymap, key in _keys:
        keymap.keymap_items.remove(key)
    _keys.clear()
    bpy.app.handlers.animation_playback_post.remove(on_playback_end)


CLASSES = (POINTE_OT_cancel, POINTE_OT_dismiss, POINTE_OT_copy_log)
