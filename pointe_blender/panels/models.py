"""The model sets: what each is good for, what it takes, how it stands, and what can be done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy

from .. import preferences
from ..setup import errands
from .text import draw_failure, draw_offline, draw_sentence, draw_step

if TYPE_CHECKING:
    from ..pipeline.sets import Standing
    from ..pipeline.store import Folders

ICONS = {
    "inside": "CHECKMARK",
    "installed": "CHECKMARK",
    "partly": "IMPORT",
    "interrupted": "PAUSE",
    "missing": "IMPORT",
    "damaged": "ERROR",
}
INSTALLS = {
    "partly": "Install",
    "interrupted": "Resume",
    "missing": "Install",
    "damaged": "Install Again",
}


def draw_models(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The list in the preferences, with the disk it takes and the way to leave no trace."""
    from ..pipeline.models import INSTALLABLE

    folders = preferences.folders()
    layout.label(text="Models", icon="OUTLINER_DATA_POINTCLOUD")
    if not bpy.app.online_access:
        draw_offline(layout)
    for name in INSTALLABLE:
        draw_set(layout.box(), name)
    draw_own(layout, folders)
    errands.count()
    layout.separator()
    draw_sentence(layout, f"{errands.state.use or 'Counting what is on the disk'}.", "DISK_DRIVE")
    home = preferences.user_folder()
    draw_sentence(layout, f"All of it goes to {home}", "BLANK1")
    if home.is_dir():
        layout.operator("wm.path_open", text="Show the Folder", icon="FILE_FOLDER").filepath = str(home)
    if errands.state.doing and errands.state.doing.what == "remove":
        draw_step(layout, errands.chore)
    else:
        draw_last_failure(layout, errands.EVERYTHING)
        layout.operator("pointe.remove_everything", icon="TRASH")


def draw_set(layout: bpy.types.UILayout, name: str) -> None:
    """One set: what it is, what it takes, how it stands."""
    from ..pipeline.models import INSTALLABLE

    models = INSTALLABLE[name]
    standing = errands.standings()[name]
    row = layout.row()
    row.label(text=models.label, icon=ICONS[standing.state])
    told = [f"{models.summary}.", *facts(name)]
    if not draw_errand(layout, name):
        draw_buttons(row, name, standing)
        told.insert(0, f"{standing.text[0].upper()}{standing.text[1:]}.")
        if standing.state == "installed" and standing.needed_by and not standing.deletable:
            told.insert(1, f"Needed by {', '.join(standing.needed_by)}.")
    column = layout.column(align=True)
    for sentence in told:
        draw_sentence(column, sentence, "BLANK1")
    if name in errands.state.verified:
        draw_sentence(column, f"{errands.state.verified[name]}.", "CHECKMARK")


def draw_buttons(row: bpy.types.UILayout, name: str, standing: Standing) -> None:
    """What can be done with a set that nothing is being done with."""
    buttons = row.row(align=True)
    buttons.alignment = "RIGHT"
    if standing.state in INSTALLS:
        text = INSTALLS[standing.state]
        buttons.operator("pointe.install_models", text=text, icon="IMPORT").models = name
    if standing.state in {"inside", "installed"}:
        buttons.operator("pointe.verify_models", icon="VIEWZOOM").models = name
    if standing.deletable:
        buttons.operator("pointe.delete_models", text="", icon="TRASH").models = name


def draw_errand(layout: bpy.types.UILayout, name: str) -> bool:
    """How far it is with a set, or what went wrong; return whether something is being done."""
    state = errands.state
    if state.doing and state.doing.models == name:
        draw_step(layout, errands.chore)
    elif any(errand.models == name for errand in state.waiting):
        layout.label(text="Waits for what is being done before", icon="TIME")
    else:
        draw_last_failure(layout, name)
        return False
    layout.operator("pointe.cancel_models", icon="CANCEL").models = name
    return True


def draw_last_failure(layout: bpy.types.UILayout, name: str) -> None:
    """What went wrong with a set, until something is done with it again."""
    if failure := errands.state.failures.get(name):
        draw_failure(layout, failure.text, failure.log)


def facts(name: str) -> list[str]:
    """Licence, size and memory of a set in sentences."""
    from ..pipeline import sets
    from ..pipeline.models import INSTALLABLE, MODEL_SETS

    models = INSTALLABLE[name]
    download = sum(sets.download_bytes(part) for part in models.checkpoints)
    size = f", {sets.in_bytes(download)} in all" if download else ""
    told = [f"Licence {models.licence}{size}."]
    return [*told, f"Takes {memory(name, 1, 'fast')}."] if name in MODEL_SETS else told


def memory(name: str, count: int, quality: str) -> str:
    """What so many variants take of it at their peak: the least that is enough, and what is fastest."""
    from ..pipeline.needs import memory_needed

    told = []
    for device in ("cpu", "cuda"):
        least = f"{memory_needed(name, 1, device, quality, held=False) / 1e9:.1f}"
        most = f"{memory_needed(name, count, device, quality) / 1e9:.1f}"
        told.append(most if least == most else f"{least} to {most}")
    return f"about {told[0]} GB of memory, or {told[1]} GB of a GPU's"


def draw_own(layout: bpy.types.UILayout, folders: Folders) -> None:
    """The folder of files that the user has already, and what was found in it."""
    from ..pipeline import store
    from ..pipeline.models import CHECKPOINTS

    if not folders.extra:
        layout.operator("pointe.use_own_models", icon="FILEBROWSER")
        return
    stored = preferences.stored()
    if stored:
        layout.prop(stored, "models_folder")
    found = [path for part in CHECKPOINTS.values() if (path := store.find(part, folders))]
    names = sorted(path.name for path in found if path.parent in folders.extra)
    if names:
        draw_sentence(layout, f"Used from there: {', '.join(names)}.", "CHECKMARK")
    else:
        text = "No model file is in this folder: choose one with files such as base_40m.pt or ViT-L-14.pt."
        draw_sentence(layout, text, "ERROR")


def draw_missing(layout: bpy.types.UILayout, name: str) -> None:
    """In the sidebar: what a set that is chosen there still has to download, and the way to do it now."""
    from ..pipeline.models import INSTALLABLE

    if all(part.packaged for part in INSTALLABLE[name].checkpoints):
        return
    if draw_errand(layout, name):
        return
    standing = errands.standings()[name]
    if standing.state not in INSTALLS:
        return
    draw_sentence(layout, f"{INSTALLABLE[name].label}: {standing.text}.", ICONS[standing.state])
    if bpy.app.online_access:
        text = INSTALLS[standing.state]
        layout.operator("pointe.install_models", text=text, icon="IMPORT").models = name
    else:
        draw_offline(layout)
