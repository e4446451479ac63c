"""Checkpoints on this machine: found, fetched, checked, converted once to safetensors, loaded strictly."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .convert import convert, damaged, read, sha256_of
from .download import Amount, Download, cannot_write, discard
from .errors import CannotWrite, DamagedModel, DownloadFailed, MissingModel, MissingPackage, NotOnline
from .models import CHECKPOINTS, STARTER, Checkpoint, build

if TYPE_CHECKING:
    from filelock import FileLock
    from torch import Tensor, nn

MARGIN = 64 << 20  # bytes that a download leaves free on the disk


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
    return _find(CHECKPOINTS[name], folders) is not None


def load(name: str, device: str, folders: Folders) -> nn.Module:
    """The network of a checkpoint on `device`, float32, in evaluation mode and without gradients.

    Raises
    ------
    MissingModel, DamagedModel, CannotWrite, MissingPackage
    """
    state = load_state(name, folders)
    # Built without memory and given the tensors as they lie in the mapped file: nothing is copied on a CPU.
    network = build(CHECKPOINTS[name].architecture, "meta")
    network.load_state_dict(state, strict=True, assign=True)
    return network.to(device).eval().requires_grad_(False)


def load_state(name: str, folders: Folders) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, float32, on the CPU; exactly those of its architecture.

    A `.pt` file is converted to safetensors in `folders.user` the first time.

    Raises
    ------
    MissingModel, DamagedModel, CannotWrite, MissingPackage
    """
    checkpoint = CHECKPOINTS[name]
    path = _find(checkpoint, folders)
    if path is None:
        raise _missing(checkpoint, folders)
    _need_packages()
    if path.suffix != ".safetensors":
        path = _converted(path, checkpoint, folders)
    state = read(path, checkpoint)
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def fetching(name: str, folders: Folders) -> Iterator[Amount]:
    """Download a checkpoint, unless it is installed; closing the iterator cancels.

    The sources are tried in turn. What arrived is checked and converted before it is moved into place; what
    did not arrive whole waits for the next time.

    Yields
    ------
    int, int or None
        Bytes so far, and in all where the server says.

    Raises
    ------
    NotOnline, DownloadFailed, DamagedModel, CannotWrite, MissingModel, MissingPackage
    """
    checkpoint = CHECKPOINTS[name]
    if _find(checkpoint, folders):
        return
    if checkpoint.packaged:
        raise _missing(checkpoint, folders)
    addresses = _addresses(checkpoint)
    if not folders.online:
        raise NotOnline(
            f"The model {name} is not on this machine and online access is off: allow it in Blender's "
            f"preferences, or put {checkpoint.file} from {addresses[0]} into {folders.user}."
        )
    _need_packages()
    lock = _lock(checkpoint, folders)
    while not _acquired(lock):
        yield 0, None
    try:
        if not _find(checkpoint, folders):  # another process may just have brought it
            yield from _fetching(checkpoint, addresses, folders)
    finally:
        lock.release()


def _fetching(checkpoint: Checkpoint, addresses: list[str], folders: Folders) -> Iterator[Amount]:
    """Try one address after the other."""
    failures: list[DownloadFailed | DamagedModel] = []
    for address in addresses:
        part = folders.user / f"{checkpoint.file}.{urlsplit(address).hostname}.part"
        try:
            yield from Download(
                address,
                part,
                at_most=checkpoint.size or 2_000_000 * checkpoint.megabytes,
                hashed=checkpoint.sha256 is not None,
                make_room=lambda missing, whole: _make_room(checkpoint, folders, missing + whole),
            ).run()
            if checkpoint.sha256 is not None and sha256_of(part) != checkpoint.sha256:
                raise damaged(part, checkpoint, "its hash is not the published one")
            convert(part, folders.user / f"{checkpoint.name}.safetensors", checkpoint, {"source": address})
        except DamagedModel as error:
            discard(part)
            failures.append(error)
        except DownloadFailed as error:
            failures.append(error)
        else:
            for leftover in folders.user.glob(f"{checkpoint.file}.*.part"):
                discard(leftover)
            return
    if len(failures) == 1:
        raise failures[0]
    raise DownloadFailed(" ".join(str(failure) for failure in failures)) from failures[0]


def _addresses(checkpoint: Checkpoint) -> list[str]:
    """Where to download from, in turn: the official address and the Hub, or only the folder at POINTE_SOURCE.

    HF_ENDPOINT names a mirror of the Hub, as it does for the Hub's own programs.
    """
    if mirror := os.environ.get("POINTE_SOURCE"):
        return [f"{mirror.rstrip('/')}/{checkpoint.file}"]
    addresses = list(checkpoint.urls)
    if checkpoint.hub is not None:
        repo, repo_type, path = checkpoint.hub
        folder = {"model": "", "dataset": "datasets/", "space": "spaces/"}[repo_type]
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        addresses.append(f"{endpoint}/{folder}{repo}/resolve/main/{path}")
    return addresses


def _find(checkpoint: Checkpoint, folders: Folders) -> Path | None:
    """The file to load a checkpoint from: the user's own first, under the official name or ours."""
    if checkpoint.packaged:
        candidates = [STARTER / checkpoint.file]
    else:
        official = Path(checkpoint.file)
        names = [f"{checkpoint.name}.safetensors", f"{official.stem}.safetensors", official.name]
        names.append(f"{checkpoint.name}.pt")
        candidates = [folder / name for folder in (*folders.extra, folders.user) for name in names]
    return next((path for path in candidates if path.is_file()), None)


def _lock(checkpoint: Checkpoint, folders: Folders) -> FileLock:
    """What keeps other processes from bringing the same checkpoint; a dead one lets go of it."""
    from filelock import FileLock

    try:
        folders.user.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folders.user, error) from error
    return FileLock(folders.user / f"{checkpoint.name}.lock", thread_local=False)


def _acquired(lock: FileLock) -> bool:
    """Whether the lock could be had within a moment."""
    from filelock import Timeout

    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        return False
    except OSError as error:
        raise cannot_write(Path(lock.lock_file), error) from error
    return True


def _missing(checkpoint: Checkpoint, folders: Folders) -> MissingModel:
    if checkpoint.packaged:
        return MissingModel(f"{STARTER / checkpoint.file} is missing: install the extension again.")
    return MissingModel(
        f"The model {checkpoint.name} is not on this machine: download it, "
        f"or put {checkpoint.file} into {folders.user}."
    )


def _need_packages() -> None:
    """Fail before anything else when what reads and writes weights is not installed."""
    for package in ("torch", "safetensors", "filelock"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingPackage(f"The package {package} is not installed: install PyTorch.") from error


def _make_room(checkpoint: Checkpoint, folders: Folders, needed: int) -> None:
    free = shutil.disk_usage(folders.user).free
    if free < needed + MARGIN:
        raise CannotWrite(
            f"{checkpoint.name} needs {(needed + MARGIN) / 1e6:,.0f} MB in {folders.user}, "
            f"where {free / 1e6:,.0f} MB are left: make room or choose another models folder."
        )


def _converted(path: Path, checkpoint: Checkpoint, folders: Folders) -> Path:
    """The safetensors copy of a file of the user's, made again when the file has changed."""
    status = path.stat()
    stamp = {"source": str(path), "bytes": str(status.st_size), "modified": str(status.st_mtime_ns)}
    copy = folders.user / f"{checkpoint.name}.own.safetensors"
    if not _stamped(copy, stamp):
        lock = _lock(checkpoint, folders)
        while not _acquired(lock):
            continue
        try:
            if not _stamped(copy, stamp):
                _make_room(checkpoint, folders, status.st_size)
                convert(path, copy, checkpoint, stamp)
        finally:
            lock.release()
    return copy


def _stamped(copy: Path, stamp: dict[str, str]) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(copy, framework="pt") as file:
            return bool(file.metadata() == stamp)
    except (OSError, SafetensorError):  # missing or unreadable: as good as none
        return False
