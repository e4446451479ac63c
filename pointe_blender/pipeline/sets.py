"""Model sets on this machine: how they stand, what they still need, and their install, verify, delete.

Whoever drives the generators here shows what they tell and cancels by closing them. No torch until one runs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from . import convert, store, weights
from .errors import CannotWrite, DamagedModel
from .models import CHECKPOINTS, INSTALLABLE, MODEL_SETS, Checkpoint
from .store import Folders

WINDOW = 10.0  # seconds over which the rate of a download is measured

State = Literal["inside", "installed", "partly", "interrupted", "missing", "damaged"]


@dataclass(frozen=True)
class Doing:
    """One update: what happens now, how much of the whole is done, 0 to 1, and how fast it goes."""

    text: str
    fraction: float
    detail: str = ""


@dataclass(frozen=True)
class Standing:
    """How a set stands.

    Attributes
    ----------
    to_download, download
        Bytes that are still to come, of those that the whole set takes to download.
    on_disk
        Bytes in the models folder, of the parts that it shares with other sets, too.
    deletable
        Those of them that no other set here needs.
    needed_by
        The labels of the sets here that need the others.
    own
        Whether all of it that is not inside the extension comes from a folder of the user's.
    """

    state: State
    to_download: int
    download: int
    on_disk: int
    deletable: int
    needed_by: tuple[str, ...]
    own: bool

    @property
    def text(self) -> str:
        """The state in a few words."""
        match self.state:
            case "inside":
                return "inside the extension"
            case "installed":
                return "your own files" if self.own else f"installed, {in_bytes(self.on_disk)}"
            case "partly":
                return f"partly here, {in_bytes(self.to_download)} to download"
            case "interrupted":
                arrived = 1 - self.to_download / self.download
                return f"interrupted at {arrived:.0%}, {in_bytes(self.to_download)} to download"
            case "missing":
                return f"not installed, {in_bytes(self.to_download)} to download"
            case "damaged":
                return "damaged, install it again"


def standings(folders: Folders, damaged: Collection[str] = ()) -> dict[str, Standing]:
    """How every set and shared part stands; `damaged` names the checkpoints that `verify` complained of."""
    files = {name: _Files.of(checkpoint, folders) for name, checkpoint in CHECKPOINTS.items()}
    return {name: _standing(name, files, damaged) for name in INSTALLABLE}


def absent(name: str, folders: Folders) -> list[Checkpoint]:
    """The parts of a set that are not here."""
    parts = INSTALLABLE[name].checkpoints
    return [part for part in parts if not store.is_installed(part.name, folders)]


def install(name: str, folders: Folders, damaged: set[str]) -> Iterator[Doing]:
    """Download what is missing of a set and convert it; what is damaged is deleted first. Closing cancels.

    What has arrived is kept, and gone on with the next time.

    Parameters
    ----------
    damaged
        Checkpoints that `verify` complained of; those that came anew are taken out.

    Raises
    ------
    NotOnline, DownloadFailed, DamagedModel, CannotWrite, MissingModel, MissingPackage
    """
    parts = INSTALLABLE[name].checkpoints
    for part in parts:
        if part.name in damaged:
            freed, theirs = store.delete(part.name, folders), store.find(part, folders)
            if theirs and not freed:  # not ours to delete, so it would be found again
                raise convert.damaged(theirs, part, "Verify found it wrong")
            damaged.discard(part.name)
    missing = absent(name, folders)
    whole, before = sum(download_bytes(part) for part in missing) or 1, 0
    for part in parts:
        if part in missing:
            rate = Rate()
            for done, total in weights.fetching(part.name, folders):
                expected = min(done * download_bytes(part) // total, whole) if total else done
                text, detail = _told(part, done, total, rate.at(done), whole - before - expected)
                yield Doing(text, min(1.0, (before + expected) / whole), detail)
            before += download_bytes(part)
        else:
            for done, total in weights.fetching(part.name, folders):  # a file of the user's
                yield Doing(f"Converting {part.name}", done / (total or 1))


def verify(name: str, folders: Folders, damaged: set[str]) -> Iterator[Doing]:
    """Check every byte of a set's files that are here; the last update says what came of it. Closing cancels.

    Parameters
    ----------
    damaged
        Keeps the names of the checkpoints that are wrong; those that are right are taken out.

    Raises
    ------
    DamagedModel
        The first that was found, after all were checked.
    MissingPackage
    """
    parts = [part for part in INSTALLABLE[name].checkpoints if store.is_installed(part.name, folders)]
    found: list[DamagedModel] = []
    unknown: list[str] = []
    for i, part in enumerate(parts):
        damaged.discard(part.name)
        try:
            if not (yield from _verifying(part, folders, i, len(parts))):
                unknown.append(part.name)
        except DamagedModel as error:
            damaged.add(part.name)
            found.append(error)
    if found:
        raise found[0]
    if unknown:
        yield Doing(f"Names and shapes are right; there is no hash to compare {', '.join(unknown)} with", 1.0)
    else:
        yield Doing("Every byte was checked and is right", 1.0)


def delete(name: str, folders: Folders) -> int:
    """Delete a set, but not what other sets here need, nor files of the user's; return the bytes given back.

    Raises
    ------
    CannotWrite
        Nothing of it can go: everything is needed by other sets, or is in use.
    """
    files = {part: _Files.of(checkpoint, folders) for part, checkpoint in CHECKPOINTS.items()}
    kept = _needed_by_others(name, files)
    parts = [part.name for part in INSTALLABLE[name].checkpoints if part.name not in kept]
    if kept and not parts:
        others = ", ".join(_labels(kept))
        raise CannotWrite(f"{INSTALLABLE[name].label} is needed by {others}: delete those first.")
    return sum(store.delete(part, folders) for part in parts)


def download_bytes(checkpoint: Checkpoint) -> int:
    """About how large a download is; nothing for what ships inside."""
    return 0 if checkpoint.packaged else checkpoint.size or checkpoint.megabytes * 1_000_000


def in_bytes(count: float) -> str:
    """A number of bytes as people read it: 312 MB, 5.0 GB."""
    if count < 999_500:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.0f} MB" if count < 999_500_000 else f"{count / 1e9:.1f} GB"


def in_time(seconds: float) -> str:
    """A stretch of time as people read it: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Rate:
    """Bytes in a second, as of late."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, done: int) -> float:
        """The rate when so many have arrived; 0 while nobody can say."""
        now = time.monotonic()
        self._seen.append((now, done))
        while now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        since, then = self._seen[0]
        return (done - then) / (now - since) if now - since >= 1.0 else 0.0


@dataclass(frozen=True)
class _Files:
    """What is here of a checkpoint: whether it can be loaded, bytes of its download, bytes on the disk."""

    here: bool
    begun: int
    on_disk: int

    @classmethod
    def of(cls, checkpoint: Checkpoint, folders: Folders) -> _Files:
        here = store.is_installed(checkpoint.name, folders)
        begun = 0 if here else store.begun(checkpoint, folders)
        return cls(here, begun, store.installed_bytes(checkpoint.name, folders))


def _standing(name: str, files: Mapping[str, _Files], damaged: Collection[str]) -> Standing:
    parts = INSTALLABLE[name].checkpoints
    lacking = [part for part in parts if not files[part.name].here]
    state: State = "installed"
    if any(part.name in damaged for part in parts):
        state = "damaged"
    elif all(part.packaged for part in parts) and not lacking:
        state = "inside"
    elif any(files[part.name].begun for part in lacking):
        state = "interrupted"
    elif lacking:
        state = "missing" if len(lacking) == len(parts) else "partly"
    on_disk = sum(files[part.name].on_disk for part in parts)
    needed = _needed_by_others(name, files)
    return Standing(
        state=state,
        to_download=sum(max(0, download_bytes(part) - files[part.name].begun) for part in lacking),
        download=sum(download_bytes(part) for part in parts),
        on_disk=on_disk,
        deletable=sum(files[part.name].on_disk for part in parts if part.name not in needed),
        needed_by=_labels(needed),
        own=state == "installed" and on_disk == 0,
    )


def _needed_by_others(name: str, files: Mapping[str, _Files]) -> dict[str, list[str]]:
    """The parts that other sets need, with their labels; a set counts once its base model begins to come."""
    there = [other for other in MODEL_SETS.values() if files[other.base].here or files[other.base].begun]
    shared = {
        part.name: [other.label for other in there if other.name != name and part in other.checkpoints]
        for part in INSTALLABLE[name].checkpoints
        if not part.packaged
    }
    return {part: labels for part, labels in shared.items() if labels}


def _labels(needed: Mapping[str, list[str]]) -> tuple[str, ...]:
    return tuple(sorted({label for labels in needed.values() for label in labels}))


def _verifying(part: Checkpoint, folders: Folders, i: int, count: int) -> Generator[Doing, None, bool]:
    """Verify the i-th of so many parts; return whether every byte could be compared."""
    steps = weights.verify(part.name, folders)
    while True:
        try:
            done, total = next(steps)
        except StopIteration as end:
            return bool(end.value)
        yield Doing(f"Checking {part.name}", (i + done / (total or done or 1)) / count)


def _told(part: Checkpoint, done: int, total: int | None, rate: float, left: int) -> tuple[str, str]:
    """What one update of a download says; `left` are the bytes of this part and those after it."""
    if total is None:
        return f"Waiting for {part.name}", ""
    if done >= total:
        return f"Checking {part.name}", ""
    detail = f"{in_bytes(done)} of {in_bytes(total)}"
    if rate > 0:
        detail += f", {in_bytes(rate)}/s, {in_time(max(0, left) / rate)} left in all"
    return f"Fetching {part.name}", detail
