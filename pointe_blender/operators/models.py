"""Model sets from the preferences or the sidebar: install, cancel, verify, delete; and leave no trace."""

from __future__ import annotations

import functools
from typing import ClassVar

import bpy

from .. import preferences
from ..pipeline.errors import PointEError
from ..setup import ONLINE_HINT, errands, packages
from ..setup.chores import redraw
from ..setup.errands import Errand
from . import running
from .packages import chore as pytorch


@functools.cache  # Blender keeps no strings of its own
def _installable() -> tuple[tuple[str, str, str], ...]:
    from ..pipeline.models import INSTALLABLE

    return tuple((name, models.label, models.summary) for name, models in INSTALLABLE.items())


def _sets(self: object, context: object) -> tuple[tuple[str, str, str], ...]:
    """Read when first asked for, so that Blender need not load the list when it starts."""
    return _installable()


class _OfSet:
    """What the operators for one set have in common."""

    models: bpy.props.EnumProperty(
        name="Models",
        description="Which set, or the part that is shared",
        items=_sets,
        options={"SKIP_SAVE"},
    )


class POINTE_OT_install_models(_OfSet, bpy.types.Operator):
    bl_idname = "pointe.install_models"
    bl_label = "Install"
    bl_description = "Download what is missing of these models, going on where an earlier download ended"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if packages.missing():
            cls.poll_message_set("Install PyTorch first: it reads and converts what is downloaded")
            return False
        if not bpy.app.online_access:
            cls.poll_message_set(ONLINE_HINT)
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        errands.begin(Errand("install", self.models))
        return {"FINISHED"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        return errands.wait(self, Errand("install", self.models))


class POINTE_OT_cancel_models(_OfSet, bpy.types.Operator):
    bl_idname = "pointe.cancel_models"
    bl_label = "Cancel"
    bl_description = "Stop; what has arrived is kept for the next time"
    bl_options: ClassVar = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        errands.cancel(self.models)
        return {"FINISHED"}


class POINTE_OT_verify_models(_OfSet, bpy.types.Operator):
    bl_idname = "pointe.verify_models"
    bl_label = "Verify"
    bl_description = "Read every byte of these models and compare it with what was downloaded"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if packages.missing():
            cls.poll_message_set("Install PyTorch first: it reads the models")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        errands.begin(Errand("verify", self.models))
        return {"FINISHED"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        return errands.wait(self, Errand("verify", self.models))


class POINTE_OT_delete_models(_OfSet, bpy.types.Operator):
    bl_idname = "pointe.delete_models"
    bl_label = "Delete"
    bl_description = "Delete these models, but no part that other sets need and no file of your own"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _at_rest(cls)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        from ..pipeline import sets
        from ..pipeline.models import INSTALLABLE

        standing = errands.standings()[self.models]
        message = f"{sets.in_bytes(standing.deletable)} will be given back."
        if standing.needed_by:
            message += f" What {', '.join(standing.needed_by)} needs stays."
        return context.window_manager.invoke_confirm(
            self,
            event,
            title=f"Delete {INSTALLABLE[self.models].label}?",
            message=message,
            confirm_text="Delete",
        )

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..pipeline import sets

        errands.unload()
        try:
            freed = sets.delete(self.models, preferences.folders())
        except PointEError as error:
            return running.refuse(self, error)
        errands.state.failures.pop(self.models, None)
        errands.state.verified.pop(self.models, None)
        errands.state.damaged -= {part.name for part in sets.absent(self.models, preferences.folders())}
        errands.forget()
        self.report({"INFO"}, f"{sets.in_bytes(freed)} given back")
        redraw()
        return {"FINISHED"}


class POINTE_OT_use_own_models(bpy.types.Operator):
    bl_idname = "pointe.use_own_models"
    bl_label = "Use Files I Already Have"
    bl_description = (
        "Choose a folder that holds model files, such as base_40m_textvec.pt; nothing is written to it"
    )
    bl_options: ClassVar = {"INTERNAL"}

    directory: bpy.props.StringProperty(name="Folder", description="Where the files are", subtype="DIR_PATH")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if preferences.stored() is None:
            cls.poll_message_set("The extension must be enabled in the preferences to remember a folder")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        preferences.stored().models_folder = self.directory
        context.preferences.is_dirty = True
        redraw()
        return {"FINISHED"}


class POINTE_OT_remove_everything(bpy.types.Operator):
    bl_idname = "pointe.remove_everything"
    bl_label = "Remove Everything"
    bl_description = "Delete all that this extension has written: models, PyTorch, prompts and presets"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if pytorch.running:
            cls.poll_message_set("PyTorch is being installed: wait until it is, or cancel it")
            return False
        return _at_rest(cls)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(
            self, width=420, title="Remove everything?", confirm_text="Remove Everything"
        )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.label(text=errands.state.use, icon="TRASH")
        layout.label(text="Remembered prompts and presets go, too.", icon="BLANK1")
        layout.label(text="What you have made and folders of your own are left alone.", icon="INFO")

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not bpy.app.background and self.options.is_invoke:
            errands.begin(Errand("remove", errands.EVERYTHING))
            return {"FINISHED"}
        return errands.wait(self, Errand("remove", errands.EVERYTHING))


def _at_rest(operator: type[bpy.types.Operator]) -> bool:
    """Whether nothing uses what is to be deleted."""
    if running.state.current:
        operator.poll_message_set("Point-E is making something: wait until it is done, or cancel it")
        return False
    if errands.chore.running:
        operator.poll_message_set(
            "Models are being downloaded or checked: wait until that is done, or cancel it"
        )
        return False
    return True


CLASSES = (
    POINTE_OT_install_models,
    POINTE_OT_cancel_models,
    POINTE_OT_verify_models,
    POINTE_OT_delete_models,
    POINTE_OT_use_own_models,
    POINTE_OT_remove_everything,
)
