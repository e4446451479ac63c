"""Everything this extension has written to this machine: counted and removed. No bpy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..pipeline import store
from ..pipeline.errors import CannotWrite, PointEError
from ..pipeline.models import CHECKPOINTS
from ..pipeline.sets import Doing, in_bytes
from . import packages


@dataclass(frozen=True)
class Places:
    """Where it has written.

    Attributes
    ----------
    home
        The folder of all the others but the presets; goes when it is empty.
    folders
        Of models; only what was downloaded or converted there is ours.
    packages
        Of PyTorch.
    settings
        The files of prompts and paces, the folders of presets.
    """

    home: Path
    folders: store.Folders
    packages: Path
    settings: tuple[Path, ...]


@dataclass(frozen=True)
class Use:
    """Bytes on the disk; prompts and presets are not worth counting."""

    models: int
    packages: int

    @property
    def text(self) -> str:
        """What they are, for the user."""
        total = self.models + self.packages
        if total == 0:
            return "Nothing is on the disk"
        return f"{in_bytes(total)} on disk: models {in_bytes(self.models)}, PyTorch {in_bytes(self.packages)}"


def used(places: Places) -> Use:
    """Count it; PyTorch is ten thousand files, so not while somebody waits."""
    models = sum(store.installed_bytes(name, places.folders) for name in CHECKPOINTS)
    return Use(models, _bytes_below(places.packages))


def remove(places: Places) -> Iterator[Doing]:
    """Delete it all, but no file that the user put anywhere; closing the generator stops in between.

    Raises
    ------
    CannotWrite
        Something is in use or cannot be deleted; everything else is gone.
    """
    failures: list[str] = []
    yield Doing("Deleting models", 0.0)
    try:
        for i, name in enumerate(store.delete_all(places.folders)):
            yield Doing(f"Deleting {name}", i / len(CHECKPOINTS) / 2)
    except PointEError as error:
        failures.append(str(error))
    yield Doing("Deleting prompts and presets", 0.5)
    for path in places.settings:
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except OSError as error:
            failures.append(f"{path} cannot be deleted ({error.strerror}): delete it by hand.")
    yield Doing("Deleting PyTorch", 0.6)
    try:
        packages.remove(places.packages)
    except PointEError as error:
        failures.append(str(error))
    with suppress(OSError):  # something is left, or nothing was ever written
        places.home.rmdir()
    if failures:
        raise CannotWrite(" ".join(failures))


def _bytes_below(path: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(store.size(Path(folder, name)) for folder, _, names in os.walk(path) for name in names)
