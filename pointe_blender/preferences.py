"""What holds for every run: the device, the folders of models and packages, and PyTorch itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from .panels.text import draw_sentence
from .setup import packages

if TYPE_CHECKING:
    from .pipeline import weights


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
    pytorch: bpy.props.EnumProperty(
        name="PyTorch for",
        description="The hardware that PyTorch is installed for",
        items=(
            ("auto", "Automatic", "What this machine has: a GPU whose driver will do, else the processor"),
            ("cpu", "CPU", "The processor: the smallest to fetch, and slow"),
            ("nvidia", "NVIDIA GPU", "CUDA, in the version that GPU and driver allow"),
            ("amd", "AMD GPU", "ROCm, on Linux"),
        ),
        default="auto",
    )
    show_preview: bpy.props.BoolProperty(
        name="Live Preview",
        description="Show the points in the viewport while they take shape",
        default=True,
    )
    unload_after: bpy.props.IntProperty(
        name="Unload Models After (min)",
        description="Minutes without a run until the models' memory is given back; 0 keeps them until asked",
        default=10,
        min=0,
        soft_max=120,
    )

    @classmethod
    def register(cls) -> None:
        """Let Python find PyTorch as soon as the preferences can be read."""
        use_packages()

    @classmethod
    def unregister(cls) -> None:
        """Leave `sys.path` as it was found."""
        packages.activate()

    def draw(self, context: bpy.types.Context) -> None:
        from .panels import models, pytorch  # which import this file

        layout = self.layout
        layout.use_property_split = True
        for name in ("device", "show_preview", "unload_after"):
            layout.prop(self, name)
        box = layout.box()
        box.label(text="PyTorch", icon="SYSTEM")
        pytorch.draw_pytorch(box, context)
        box.prop(self, "packages_folder")
        if (folder := chosen_packages()) and (complaint := packages.complaint(folder)):
            draw_sentence(box, complaint, "ERROR")
        models.draw_models(layout.box(), context)


def use_packages() -> None:
    """Let Python find PyTorch in the folder that the user chose, the installed one, or the user's own."""
    chosen, found = chosen_packages(), [packages.installed(packages_target()), packages.elsewhere()]
    if chosen and not packages.complaint(chosen):
        found.insert(0, chosen)
    packages.activate(*filter(None, found))


def pytorch() -> str:
    """For which hardware PyTorch is wanted: "auto", "cpu", "nvidia" or "amd"."""
    preferences = stored()
    return preferences.pytorch if preferences else "auto"


def device() -> str:
    """The device of `Request`: "auto", "cpu", "cuda" or "mps"."""
    preferences = stored()
    return preferences.device if preferences else "auto"


def folders() -> weights.Folders:
    """Where the pipeline finds weights and may put them, and whether it may use the network."""
    from .pipeline import weights  # brings the whole of HTTP, which Blender can start without

    preferences = stored()
    own = preferences.models_folder if preferences else ""
    return weights.Folders(
        user=_models_folder(),
        extra=(Path(bpy.path.abspath(own)),) if own else (),
        online=bpy.app.online_access,
    )


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


def stored() -> PointePreferences | None:
    """The stored preferences; none while the package is used without being enabled."""
    addon = bpy.context.preferences.addons.get(__package__)
    return addon.preferences if addon else None


def chosen_packages() -> Path | None:
    preferences = stored()
    folder = preferences.packages_folder if preferences else ""
    return Path(bpy.path.abspath(folder)) if folder else None
