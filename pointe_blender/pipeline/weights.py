"""Checkpoints on this machine: found, fetched, checked, converted once to safetensors, loaded strictly."""

from __future__ import annotations

import importlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from .convert import checking, converting, damaged, hashing, read
from .download import Amount, Download, discard
from .errors import DamagedModel, DownloadFailed, MissingModel, MissingPackage, NotOnline
from .models import CHECKPOINTS, Checkpoint, build
from .store import (
    Folders,
    acquired,
    converted,
    default_folders,
    find,
    is_installed,
    leftovers,
    lock_of,
    make_room,
    size,
)

if TYPE_CHECKING:
    from filelock import FileLock
    from torch import Tensor, nn

Result = TypeVar("Result")

__all__ = ["Folders", "default_folders", "fetching", "is_installed", "load", "load_state", "verify"]


def load(name: str, device: str, folders: Folders, precision: str = "float32") -> nn.Module:
    """The network of a checkpoint on `device`, in evaluation mode and without gradients.

    Parameters
    ----------
    name
        A key of `CHECKPOINTS`.
    device
        A torch device.
    folders
        Where checkpoints are.
    precision
        "float32", "float16" or "bfloat16": of the matrix products in the blocks of a denoiser or of the
        distance network; all else is float32.

    Raises
    ------
    MissingModel, DamagedModel, CannotWrite, MissingPackage
    """
    state = load_state(name, folders)
    from .point_e.precision import in_precision

    # Tensor by tensor, so that no more than one is there twice. In half precision all are copied, or the few
    # that stay as they are would keep the whole file mapped; in float32 nothing is copied on a CPU.
    copied = precision != "float32"
    for key, value in state.items():
        if value.is_floating_point():
            state[key] = in_precision(key, value.float(), precision)
        if copied and state[key] is value:
            state[key] = value.clone()
    network = build(CHECKPOINTS[name].architecture, "meta")
    network.load_state_dict(state, strict=True, assign=True)
    return network.to(device).eval().requires_grad_(False)


def load_state(name: str, folders: Folders) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, exactly those of its architecture, as they lie in the mapped file.

    A `.pt` file is converted to safetensors in `folders.user` the first time.

    Raises
    ------
    MissingModel, DamagedModel, CannotWrite, MissingPackage
    """
    checkpoint = CHECKPOINTS[name]
    path = _present(checkpoint, folders)
    _need_packages()
    if path.suffix != ".safetensors":
        for _ in _converting(path, checkpoint, folders):
            pass
        path = converted(checkpoint, folders)
    return read(path, checkpoint)


def fetching(name: str, folders: Folders) -> Iterator[Amount]:
    """Make a checkpoint ready to be loaded: download it unless it is here, convert it; closing cancels.

    The sources are tried in turn. What arrived is checked and converted before it is moved into place; what
    did not arrive whole waits for the next time.

    Yields
    ------
    int, int or None
        Bytes so far, and in all where the server says; all of them while it is checked and converted.

    Raises
    ------
    NotOnline, DownloadFailed, DamagedModel, CannotWrite, MissingModel, MissingPackage
    """
    checkpoint = CHECKPOINTS[name]
    path = find(checkpoint, folders)
    if path is None:
        yield from _bringing(checkpoint, folders)
    elif path.suffix != ".safetensors":
        _need_packages()
        yield from _converting(path, checkpoint, folders)


def verify(name: str, folders: Folders) -> Generator[Amount, None, bool]:
    """Hold a checkpoint's bytes against the hash of what was written or published; closing cancels.

    A file of the user's that nobody knows a hash of is read, and must have the right names and shapes.

    Yields
    ------
    int, int or None
        Bytes so far, and in all.

    Returns
    -------
    bool
        Whether there was a hash to compare every byte with.

    Raises
    ------
    DamagedModel, MissingModel, MissingPackage
    """
    checkpoint = CHECKPOINTS[name]
    path = _present(checkpoint, folders)
    _need_packages()
    files = [path]
    if path.suffix != ".safetensors":
        files.append(converted(checkpoint, folders))
    total, before, compared = sum(size(file) for file in files), 0, True
    for file in filter(Path.is_file, files):
        compared &= yield from _verifying(file, checkpoint, before, total)
        before += size(file)
    return compared


def _verifying(path: Path, checkpoint: Checkpoint, before: int, total: int) -> Generator[Amount, None, bool]:
    """Verify one file, of `total` bytes with others, that come after the `before` ones."""
    compared = False
    if checkpoint.packaged or path.suffix != ".safetensors":
        digest = yield from _counted(hashing(path), before, total)
        if checkpoint.sha256 is not None and digest != checkpoint.sha256:
            raise damaged(path, checkpoint, "its hash is not the published one")
        compared = checkpoint.sha256 is not None
    if path.suffix == ".safetensors":
        compared |= yield from _counted(checking(path, checkpoint), before, total)
    return compared


def _counted(steps: Generator[int, None, Result], before: int, total: int) -> Generator[Amount, None, Result]:
    """Steps over one file as steps over all."""
    while True:
        try:
            yield before + next(steps), total
        except StopIteration as end:
            result: Result = end.value
            return result


def _present(checkpoint: Checkpoint, folders: Folders) -> Path:
    """The file of a checkpoint that must be here."""
    path = find(checkpoint, folders)
    if path is not None:
        return path
    if checkpoint.packaged:
        raise MissingModel(
            f"The file {checkpoint.file} of the starter models is missing: install the extension again."
        )
    raise MissingModel(
        f"The model {checkpoint.name} is not on this machine: download it, "
        f"or put {checkpoint.file} into {folders.user}."
    )


def _bringing(checkpoint: Checkpoint, folders: Folders) -> Iterator[Amount]:
    """Download what is not here, unless another process does."""
    if checkpoint.packaged:
        _present(checkpoint, folders)
    addresses = _addresses(checkpoint)
    if not folders.online:
        raise NotOnline(
            f"The model {checkpoint.name} is not on this machine and online access is off: allow it in "
            f"Blender's preferences, or put {checkpoint.file} from {addresses[0]} into {folders.user}."
        )
    _need_packages()
    lock = yield from _locked(checkpoint, folders)
    try:
        if not find(checkpoint, folders):  # another process may just have brought it
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
                make_room=lambda missing, whole: make_room(checkpoint, folders, missing + whole),
            ).run()
            whole = size(part)
            for _ in _arrived(part, address, checkpoint, folders):
                yield whole, whole
        except DamagedModel as error:
            discard(part)
            failures.append(error)
        except DownloadFailed as error:
            failures.append(error)
        else:
            for leftover in leftovers(checkpoint, folders):
                leftover.unlink(missing_ok=True)
            return
    if len(failures) == 1:
        raise failures[0]
    raise DownloadFailed(" ".join(str(failure) for failure in failures)) from failures[0]


def _arrived(part: Path, address: str, checkpoint: Checkpoint, folders: Folders) -> Iterator[int]:
    """Check what was downloaded, hash first, and put it into its place."""
    if checkpoint.sha256 is not None and (yield from hashing(part)) != checkpoint.sha256:
        raise damaged(part, checkpoint, "its hash is not the published one")
    target = folders.user / f"{checkpoint.name}.safetensors"
    yield from converting(part, target, checkpoint, {"source": address})


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


def _need_packages() -> None:
    """Fail before anything else when what reads and writes weights is not installed."""
    for package in ("torch", "safetensors", "filelock"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingPackage(f"The package {package} is not installed: install PyTorch.") from error


def _converting(path: Path, checkpoint: Checkpoint, folders: Folders) -> Iterator[Amount]:
    """Make the safetensors copy of a file of the user's, unless there is one and the file has not changed."""
    status = path.stat()
    stamp = {"source": str(path), "bytes": str(status.st_size), "modified": str(status.st_mtime_ns)}
    copy = converted(checkpoint, folders)
    if _stamped(copy, stamp):
        return
    lock = yield from _locked(checkpoint, folders)
    try:
        if not _stamped(copy, stamp):
            make_room(checkpoint, folders, status.st_size)
            for done in converting(path, copy, checkpoint, stamp):
                yield done, status.st_size
    finally:
        lock.release()


def _locked(checkpoint: Checkpoint, folders: Folders) -> Generator[Amount, None, FileLock]:
    """Wait until no other process brings the same checkpoint."""
    lock = lock_of(checkpoint, folders)
    while not acquired(lock):
        yield 0, None
    return lock


def _stamped(copy: Path, stamp: dict[str, str]) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(copy, framework="pt") as file:
            return stamp.items() <= (file.metadata() or {}).items()
    except (OSError, SafetensorError):  # missing or unreadable: as good as none
        return False
