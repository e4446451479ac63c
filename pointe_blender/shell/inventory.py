"""Model sets from the shell: which there are, download one, check one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..pipeline import sets
from ..pipeline.errors import InvalidRequest
from ..pipeline.models import INSTALLABLE, ModelSet
from .console import say, watch

if TYPE_CHECKING:
    from ..pipeline.weights import Folders


def print_list(folders: Folders) -> None:
    """One line a model set or shared part: its name, what it takes, how it stands."""
    standings = sets.standings(folders)
    for name, models in INSTALLABLE.items():
        takes = " or ".join(sorted(models.takes, reverse=True)) if isinstance(models, ModelSet) else ""
        print(f"{name:18} {takes:14} {standings[name].text:36} {models.label}")


def install(name: str, folders: Folders) -> None:
    """Download what is missing of a model set.

    Raises
    ------
    PointEError
        There is no such set, or it cannot be had.
    """
    _check(name)
    watch(sets.install(name, folders, set()))
    say(f"{name} is installed")


def verify(name: str, folders: Folders) -> None:
    """Check every file of a model set.

    Raises
    ------
    PointEError
        There is no such set, it is not whole, or a file of it is damaged.
    """
    _check(name)
    if missing := sets.absent(name, folders):
        names = ", ".join(part.name for part in missing)
        raise InvalidRequest(f"{name} is not whole, {names} is missing: run --install {name}.")
    watch(sets.verify(name, folders, set()))
    say(f"{name} is whole")


def _check(name: str) -> None:
    if name not in INSTALLABLE:
        raise InvalidRequest(f"There is no model set {name!r}: choose one of {', '.join(INSTALLABLE)}.")
