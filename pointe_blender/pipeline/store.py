"""The models folder: what lies in it and what is half done, what keeps others out, deletion. No torch."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .download import cannot_write
from .errors import CannotWrite
from .models import CHECKPOINTS, STARTER, Checkpoint

if TYPE_CHECKING:
    from filelock import FileLock

MARGIN = 64 << 20  # bytes that a download leaves free on the disk
LOCKS = ".locks"  # a folder of empty files; a lock that is deleted while another waits for it locks nothing


@dataclass(frozen=True)
class Folders:
    """Where weights lie.

    Attributes
    ----------
    user
        What is downloaded or converted goes here; files put here by hand are found too.
    extra
        Folders of the user's own, looked at first and never written to.
    online
        Whether the network may be used.
    """

    user: Path
    extra: tuple[Path, ...] = ()
    online: bool = True


def default_folders() -> Folders:
    """The folder named by POINTE_MODELS, else the one for this user's data; online."""
    if chosen := os.environ.get("POINTE_MODELS"):
        return Folders(Path(chosen).expanduser())
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local"))
    elif sys.platform == "darwin":
        data = Path.home() / "Library/Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share"))
    return Folders(data / "pointe_blender" / "models")


def is_installed(name: str, folders: Folders) -> bool:
    """Whether the checkpoint can be loaded without a network; its content is checked on loading."""
    return find(CHECKPOINTS[name], folders) is not None


def find(checkpoint: Checkpoint, folders: Folders) -> Path | None:
    """The file to load a checkpoint from: the user's own first, under the official name or ours."""
    if checkpoint.packaged:
        candidates = [STARTER / checkpoint.file]
    else:
        official = Path(checkpoint.file)
        names = [f"{checkpoint.name}.safetensors", f"{official.stem}.safetensors", official.name]
        names.append(f"{checkpoint.name}.pt")
        candidates = [folder / name for folder in (*folders.extra, folders.user) for name in names]
    return next((path for path in candidates if path.is_file()), None)


def converted(checkpoint: Checkpoint, folders: Folders) -> Path:
    """Where the safetensors copy of a file of the user's lies, or is to lie."""
    return folders.user / f"{checkpoint.name}.own.safetensors"


def written(checkpoint: Checkpoint, folders: Folders) -> list[Path]:
    """What was downloaded or converted of a checkpoint, whole or in part; never a file of the user's."""
    installed = folders.user / f"{checkpoint.name}.safetensors"
    whole = [path for path in (installed, converted(checkpoint, folders)) if path.is_file()]
    return whole + leftovers(checkpoint, folders)


def leftovers(checkpoint: Checkpoint, folders: Folders) -> list[Path]:
    """What an interrupted download or conversion of a checkpoint left for the next time."""
    patterns = [f"{checkpoint.file}.*.part*", f"{checkpoint.name}.safetensors.part"]
    patterns.append(f"{converted(checkpoint, folders).name}.part")
    return [path for pattern in patterns for path in sorted(folders.user.glob(pattern))]


def begun(checkpoint: Checkpoint, folders: Folders) -> int:
    """Bytes of a download that was interrupted and can go on; 0 where there is none."""
    parts = folders.user.glob(f"{checkpoint.file}.*.part")
    return max((size(path) for path in parts), default=0)


def installed_bytes(name: str, folders: Folders) -> int:
    """Bytes that a checkpoint takes in the models folder, half done ones included."""
    return sum(size(path) for path in written(CHECKPOINTS[name], folders))


def delete(name: str, folders: Folders) -> int:
    """Delete what was downloaded or converted of a checkpoint; return the bytes given back.

    Raises
    ------
    CannotWrite
        Another Blender is bringing it just now, or a file is in use or cannot be deleted.
    """
    checkpoint = CHECKPOINTS[name]
    freed = 0
    if files := written(checkpoint, folders):
        with _to_delete(checkpoint, folders):
            for path in files:
                freed += size(path)
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise CannotWrite(
                        f"{path} cannot be deleted ({error.strerror}): "
                        "unload the models, close other Blenders and try again."
                    ) from error
    return freed


def delete_all(folders: Folders) -> Iterator[str]:
    """Delete whatever was written to the models folder, one model at a time, and an empty folder itself.

    Yields
    ------
    str
        The model that goes next.

    Raises
    ------
    CannotWrite
    """
    for checkpoint in CHECKPOINTS.values():
        yield checkpoint.name
        delete(checkpoint.name, folders)
    shutil.rmtree(folders.user / LOCKS, ignore_errors=True)
    with suppress(OSError):  # it holds files of the user's, or is not there
        folders.user.rmdir()


@contextmanager
def _to_delete(checkpoint: Checkpoint, folders: Folders) -> Iterator[None]:
    """Keep downloads of a checkpoint out; where the package for that is gone, there are none."""
    if importlib.util.find_spec("filelock") is None:
        yield
        return
    lock = lock_of(checkpoint, folders)
    if not acquired(lock):
        raise CannotWrite(
            f"{checkpoint.name} is being downloaded by another Blender: cancel that and delete it again."
        )
    try:
        yield
    finally:
        lock.release()


def lock_of(checkpoint: Checkpoint, folders: Folders) -> FileLock:
    """What keeps other processes from bringing the same checkpoint; a dead one lets go of it."""
    from filelock import FileLock

    locks = folders.user / LOCKS
    try:
        locks.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folders.user, error) from error
    return FileLock(locks / f"{checkpoint.name}.lock", thread_local=False)


def acquired(lock: FileLock) -> bool:
    """Whether the lock could be had within a moment."""
    from filelock import Timeout

    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        return False
    except OSError as error:
        raise cannot_write(Path(lock.lock_file), error) from error
    return True


def make_room(checkpoint: Checkpoint, folders: Folders, needed: int) -> None:
    """Raise `CannotWrite` unless so many bytes fit into the models folder and some more stay free."""
    free = shutil.disk_usage(folders.user).free
    if free < needed + MARGIN:
        raise CannotWrite(
            f"{checkpoint.name} needs {(needed + MARGIN) / 1e6:,.0f} MB in {folders.user}, "
            f"where {free / 1e6:,.0f} MB are left: make room or choose another models folder."
        )


def size(path: Path) -> int:
    """Bytes of a file; 0 if it has just gone."""
    with suppress(OSError):
        return path.stat().st_size
    return 0
