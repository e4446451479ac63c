"""Install PyTorch in the background, cancel that, remove it; see which build suits this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import bpy

from .. import preferences
from ..pipeline.errors import PointEError
from ..setup import ONLINE_HINT, hardware, packages
from ..setup.chores import Chore, Step, redraw
from . import running


def run(target: Path, wish: str, beside: list[str]) -> Iterator[Step]:
    """The installer, imported by the thread; `beside` a PyTorch from elsewhere only these modules."""
    from ..setup.installation import install

    if beside:
        return install(target, packages.beside(beside), "")
    build = hardware.choose(wish, hardware.look()).build
    return install(target, packages.wanted(build), build)


@dataclass
class _State:
    """What was seen of this machine; it lives as long as Blender's session."""

    machine: hardware.Machine | None = None


state = _State()


def installed() -> None:
    """Use what was installed, and delete what it replaces unless it is in use."""
    preferences.use_packages()
    if not bpy.app.background:
        sweep()


chore = Chore("Installing PyTorch", done=installed)
looking = Chore("Looking for a GPU")
sweeping = Chore("Removing an old PyTorch")


def look() -> Iterator[Step]:
    """Find out what this machine has; on a thread."""
    state.machine = hardware.look()
    return iter(())


def choice() -> hardware.Choice | None:
    """The build of PyTorch for this machine and the user's wish; None until a thread has looked."""
    if state.machine is None and looking.failure:
        state.machine = hardware.Machine(sys.platform)
    elif state.machine is None and not looking.running:
        looking.start(look)
    return hardware.choose(preferences.pytorch(), state.machine) if state.machine else None


def is_foreign(torch: packages.Torch | None) -> bool:
    """Whether a PyTorch was brought by something else than this extension."""
    return torch is not None and preferences.packages_target() not in torch.folder.parents


def is_waiting() -> bool:
    """Whether an installation waits for the next start, as another PyTorch is loaded."""
    current = packages.installed(preferences.packages_target())
    return current is not None and current not in packages.active()


def is_up_to_date(build: str) -> bool:
    """Whether the pinned PyTorch in this build is installed and whole."""
    current = packages.installed(preferences.packages_target())
    torch = packages.read(current) if current else None
    same = torch and (torch.version, torch.build) == (packages.pinned_version(), build)
    return bool(same) and (is_waiting() or not packages.missing())


def sweep() -> None:
    """Delete what updates have left, on a thread."""
    target = preferences.packages_target()
    if not sweeping.running and packages.leftovers(target):
        sweeping.start(lambda: sweep_up(target))


def sweep_up(target: Path) -> Iterator[Step]:
    """What `sweep` does on the thread."""
    packages.sweep(target)
    return iter(())


def register() -> None:
    """Called when the extension is enabled; Blenders without a window leave the sweeping to others."""
    if not bpy.app.background:
        sweep()


def unregister() -> None:
    """Called when the extension is disabled or Blender quits."""
    for each in (chore, looking, sweeping):
        each.stop()


class POINTE_OT_install_pytorch(bpy.types.Operator):
    bl_idname = "pointe.install_pytorch"
    bl_label = "Install PyTorch"
    bl_description = (
        "Fetch PyTorch for this Blender and this machine, into the folder of this extension and nowhere else"
    )
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not bpy.app.online_access:
            cls.poll_message_set(ONLINE_HINT)
            return False
        if is_foreign(packages.found()) and not packages.missing():
            cls.poll_message_set("PyTorch is here already")
            return False
        cls.poll_message_set("PyTorch is being installed: wait until it is, or cancel it")
        return not chore.running

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        chore.start(self.prepare())
        return {"FINISHED"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        return chore.carry_out(self, self.prepare())

    @staticmethod
    def prepare() -> Callable[[], Iterator[Step]]:
        """What the thread will do, with all that it must not ask Blender for."""
        torch = packages.found()
        fits = is_foreign(torch) and not packages.complaint(torch.folder)
        beside = packages.missing() if fits else []
        target, wish = preferences.packages_target(), preferences.pytorch()
        return lambda: run(target, wish, beside)


class POINTE_OT_cancel_install(bpy.types.Operator):
    bl_idname = "pointe.cancel_install"
    bl_label = "Cancel"
    bl_description = "Stop fetching PyTorch and delete what has arrived"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set("PyTorch is not being installed")
        return chore.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        chore.cancel()
        return {"FINISHED"}


class POINTE_OT_remove_pytorch(bpy.types.Operator):
    bl_idname = "pointe.remove_pytorch"
    bl_label = "Remove PyTorch"
    bl_description = "Delete the installed PyTorch; one that was found elsewhere is left alone"
    bl_options: ClassVar = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set("PyTorch is being installed: wait until it is, or cancel it")
        return not chore.running

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            packages.remove(preferences.packages_target())
        except PointEError as error:
            return running.refuse(self, error)
        preferences.use_packages()
        redraw()
        return {"FINISHED"}


CLASSES = (POINTE_OT_install_pytorch, POINTE_OT_cancel_install, POINTE_OT_remove_pytorch)
