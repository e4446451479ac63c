"""Which PyTorch is here and where from, which one suits this machine, and the button that installs it."""

from __future__ import annotations

import sys

import bpy

from .. import preferences
from ..operators import packages as operators
from ..pipeline.errors import MissingPackage
from ..setup import hardware, packages
from .text import draw_failure, draw_offline, draw_sentence, draw_step


def draw_pytorch(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The state of PyTorch and what changes it; the panel shows it when something is missing."""
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    if operators.chore.running:
        draw_step(column, operators.chore)
        column.operator("pointe.cancel_install", icon="CANCEL")
        return
    torch, missing = packages.found(), packages.missing()
    if torch:
        draw_found(column, torch, missing)
    if operators.is_foreign(torch):
        if missing and not packages.complaint(torch.folder):
            draw_offer(column, "", missing)
    else:
        draw_choice(column)
    if packages.installed(preferences.packages_target()):
        column.operator("pointe.remove_pytorch", icon="TRASH")


def draw_found(layout: bpy.types.UILayout, torch: packages.Torch, missing: list[str]) -> None:
    """The PyTorch that Python finds, where it lies, and what is wrong with it."""
    if complaint := packages.complaint(torch.folder):
        draw_sentence(layout, complaint, "ERROR")
        if operators.is_foreign(torch):
            draw_sentence(layout, "It comes before any other: update or disable what brings it.", "BLANK1")
        return
    ready = "ERROR" if missing else "CHECKMARK"
    draw_sentence(layout, f"PyTorch {torch.version} {hardware.describe(torch.build)}", ready)
    draw_sentence(layout, origin(torch), "BLANK1")
    if missing:
        draw_sentence(layout, f"Missing beside it: {', '.join(missing)}.", "BLANK1")


def draw_choice(layout: bpy.types.UILayout) -> None:
    """For which hardware, and what that takes."""
    if (stored := preferences.stored()) and sys.platform != "darwin":
        layout.prop(stored, "pytorch")
    if packages.found() is None and not operators.is_waiting():
        layout.label(text="PyTorch is not here yet", icon="INFO")
    choice = operators.choice()
    if choice is None:
        layout.label(text="Looking for a GPU", icon="TIME")
        return
    if choice.note:
        draw_sentence(layout, choice.note, "INFO")
    if not operators.is_up_to_date(choice.build):
        draw_offer(layout, choice.build, [])
    elif operators.is_waiting():
        wanted = f"PyTorch {packages.pinned_version()} {hardware.describe(choice.build)}"
        draw_sentence(layout, f"{wanted} is installed: restart Blender to use it.", "INFO")


def draw_offer(layout: bpy.types.UILayout, build: str, beside: list[str]) -> None:
    """What the button would fetch, how much that is, and what was wrong the last time.

    Either a build of PyTorch and all it needs, or modules beside a PyTorch that came from elsewhere.
    """
    from ..pipeline.sets import in_bytes  # brings the whole of HTTP, which Blender can start without

    try:
        wheels = packages.beside(beside) if beside else packages.wanted(build)
    except MissingPackage as error:
        draw_sentence(layout, str(error), "ERROR")
        return
    if not wheels:  # they travel in the extension's zip
        return
    fetched = sum(wheel.size for wheel in wheels)
    space = fetched + sum(wheel.unpacked for wheel in wheels)
    name = f"PyTorch {packages.pinned_version()} {hardware.describe(build)}" if build else "Missing packages"
    said = f"{name}: {in_bytes(fetched)} to fetch, {in_bytes(space)} on disk until it is unpacked."
    draw_sentence(layout, said, "IMPORT")
    if not bpy.app.online_access:
        draw_offline(layout)
    if operators.chore.failure:
        draw_failure(layout, operators.chore.failure, operators.chore.log)
    text = "Install PyTorch" if build else "Install Missing Packages"
    layout.operator("pointe.install_pytorch", text=text, icon="IMPORT")


def origin(torch: packages.Torch) -> str:
    """Where a PyTorch comes from, in words and as a folder."""
    if not operators.is_foreign(torch):
        kind = "Installed by this extension"
    elif torch.folder == preferences.chosen_packages():
        kind = "In your packages folder"
    elif "extensions" in torch.folder.parts:
        kind = "Brought by an extension"
    else:
        kind = "Found in Python's folder"
    return f"{kind}: {torch.folder}"
