"""What holds for every run: the device, the folders of models and packages, and PyTorch itself."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from . import packages

if TYPE_CHECKING:
    from .pipeline import weights

ONLINE_HINT = "Allow Online Access in Preferences > System > Network first"


def _packages_folder_changed(preferences: bpy.types.AddonPreferences, context: bpy.types.Context) -> None:
    use_packages()


class PointePreferences(bpy.types.AddonPreferences):
    bl_idname = __package__

    device: bpy.props.EnumProperty(
        name="Device",
        description="Where the networks run",
        items=(
            (
                "auto",
                "Automatic",
                "An NVIDIA or AMD GPU or Metal where PyTorch finds one, else the processor",
            ),
            ("cpu", "CPU", "The processor: slow, always there"),
            ("cuda", "GPU", "An NVIDIA or AMD GPU; needs a PyTorch made for it in the packages folder"),
            ("mps", "Metal", "The GPU of a Mac with Apple silicon"),
        ),
        default="auto",
    )
    models_folder: bpy.props.StringProperty(
        name="Models Folder",
        description="A folder with model files that you have already; nothing is written to it",
        subtype="DIR_PATH",
    )
    packages_folder: bpy.props.StringProperty(
        name="Packages Folder",
        description="A folder that holds PyTorch for this Blender's Python; used instead of an installed one",
        subtype="DIR_PATH",
        update=_packages_folder_changed,
    )

    @classmethod
    def register(cls) -> None:
        """Let Python find PyTorch as soon as the preferences can be read."""
        use_packages()

    @classmethod
    def unregister(cls) -> None:
        """Leave `sys.path` as it was found."""
        packages.activate(None)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "device")
        layout.prop(self, "models_folder")
        layout.prop(self, "packages_folder")
        if (folder := _chosen_packages()) and (complaint := packages.complaint(folder)):
            draw_sentence(layout, complaint, "ERROR")
        draw_pytorch(layout)
        layout.label(text=f"Everything that is downloaded lies in {user_folder()}", icon="FILE_FOLDER")


def draw_pytorch(layout: bpy.types.UILayout) -> None:
    """The state of PyTorch and the button that changes it; the panel shows it when something is missing."""
    from .operators.packages import state  # which imports this file

    missing = packages.missing()
    column = layout.column()
    if state.job:
        update = state.job.poll()
        text, fraction = (update.text, update.fraction) if update else ("Starting", 0.0)
        column.progress(text=f"{text} ({fraction:.0%})", factor=fraction)
        column.operator("pointe.cancel_install", icon="CANCEL")
        return
    if missing:
        draw_sentence(column, f"PyTorch is not here yet (missing: {', '.join(missing)}).", "INFO")
        if not bpy.app.online_access:
            draw_sentence(column, f"{ONLINE_HINT}.", "INTERNET_OFFLINE")
        if state.failure:
            draw_sentence(column, state.failure, "ERROR")
        column.operator("pointe.install_pytorch", icon="IMPORT")
    else:
        column.label(text="PyTorch is ready", icon="CHECKMARK")
    if packages.installed(packages_target()):
        column.operator("pointe.remove_pytorch", icon="TRASH")


def draw_sentence(layout: bpy.types.UILayout, text: str, icon: str) -> None:
    column = layout.column(align=True)
    for i, line in enumerate(wrapped(text, bpy.context)):
        column.label(text=line, icon="BLANK1" if i else icon)


def wrapped(text: str, context: bpy.types.Context) -> list[str]:
    """Lines that fit the width of the sidebar beside an icon; the letters are about 7 pixels wide."""
    width = context.region.width / context.preferences.system.ui_scale if context.region else 280.0
    return textwrap.wrap(text, max(16, int((width - 70.0) / 6.5)))


def use_packages() -> None:
    """Let Python find PyTorch in the folder that the user chose, else in the installed one."""
    chosen = _chosen_packages()
    packages.activate(
        chosen if chosen and not packages.complaint(chosen) else packages.installed(packages_target())
    )


def device() -> str:
    """The device of `Request`: "auto", "cpu", "cuda" or "mps"."""
    preferences = _preferences()
    return preferences.device if preferences else "auto"


def folders() -> weights.Folders:
    """Where the pipeline finds weights and may put them, and whether it may use the network."""
    from .pipeline import weights  # brings the whole of HTTP, which Blender can start without

    preferences = _preferences()
    own = preferences.models_folder if preferences else ""
    return weights.Folders(
        user=_models_folder(),
        extra=(Path(bpy.path.abspath(own)),) if own else (),
        online=bpy.app.online_access,
    )


def to_download(models: str) -> int:
    """Megabytes of a model set that are not on this machine."""
    from .pipeline.models import MODEL_SETS

    parts = [part for part in MODEL_SETS[models].checkpoints if not part.packaged]
    if not parts:
        return 0
    from .pipeline import weights

    found = folders()
    return sum(part.megabytes for part in parts if not weights.is_installed(part.name, found))


def user_folder() -> Path:
    """Where everything lies that is downloaded; Blender keeps it over updates of the extension."""
    return _models_folder().parent


def _models_folder() -> Path:
    try:
        return Path(bpy.utils.extension_path_user(__package__, path="models"))
    except ValueError:  # run from a checkout, not installed as an extension
        from .pipeline import weights

        return weights.default_folders().user


def packages_target() -> Path:
    """Where "Install PyTorch" puts packages."""
    return user_folder() / "packages"


def _preferences() -> PointePreferences | None:
    """The stored preferences; none while the package is used without being enabled."""
    addon = bpy.context.preferences.addons.get(__package__)
    return addon.preferences if addon else None


def _chosen_packages() -> Path | None:
    preferences = _preferences()
    folder = preferences.packages_folder if preferences else ""
    return Path(bpy.path.abspath(folder)) if folder else None
