"""Install PyTorch: pinned wheels, fetched by pip, unpacked aside, renamed into place when whole.

A generator, so whoever drives it shows its progress and cancels by closing it. No bpy.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .packages import CHOOSE_FOLDER, PYTHON, Wheel, wanted
from .pipeline.errors import CannotWrite, DownloadFailed, MissingPackage, PointEError

TICK = 0.2  # seconds between two looks at pip: how soon a cancel is heard
UNPACKED = 5  # what wheels and their contents take together, in sizes of the wheels, rounded up
FETCHING = 0.8  # the part of the progress bar that the network gets

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Installing:
    """One update of an installation: what happens now, and how much of the whole is done, 0 to 1."""

    text: str
    fraction: float


def install(target: Path) -> Iterator[Installing]:
    """Fetch the pinned wheels and put them below `target`; closing the generator cancels.

    What is there already stays untouched until the new one is whole. A failure keeps the wheels that
    have arrived for the next attempt, a cancel keeps nothing.

    Raises
    ------
    MissingPackage
        No PyTorch for this system, or no pip in this Python.
    DownloadFailed
        The network or the index failed, or a file is not the pinned one.
    CannotWrite
        The folder is read-only or the disk is full.
    """
    wheels, pip = wanted(), find_pip()
    size = sum(wheel.size for wheel in wheels)
    downloads = target / "downloads"
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(target).free < UNPACKED * size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with tempfile.TemporaryDirectory(prefix="partial-", dir=target, ignore_cleanup_errors=True) as folder:
            partial, done = Path(folder), 0
            for wheel in wheels:
                yield from _fetch(pip, wheel, downloads, partial, done / size, wheel.size / size)
                done += wheel.size
            yield from _unpack(pip, [downloads / wheel.file for wheel in wheels], partial)
            version = next(wheel.version for wheel in wheels if wheel.name == "torch")
            _switch(partial, target / f"torch-{version}-{PYTHON}")
        shutil.rmtree(downloads, ignore_errors=True)
    except GeneratorExit:
        shutil.rmtree(downloads, ignore_errors=True)
        raise
    except OSError as error:
        raise CannotWrite(
            f"PyTorch needs {UNPACKED * size / 1e9:.1f} GB in {target}, which is full or cannot be written: "
            f"make room there, or {CHOOSE_FOLDER}."
        ) from error
    yield Installing("Installed", 1.0)


def find_pip() -> list[str]:
    """The command that starts pip on this very Python: its own, or the copy that Python carries.

    Raises
    ------
    MissingPackage
        This Python has neither.
    """
    own, carried = importlib.util.find_spec("pip"), importlib.util.find_spec("ensurepip")
    places: list[Path] = []
    if own and own.origin:
        places = [Path(own.origin).parent]
    elif carried and carried.origin:
        places = [wheel / "pip" for wheel in Path(carried.origin).parent.glob("_bundled/pip-*.whl")]
    if not places:
        raise MissingPackage(f"This Blender has no pip to install PyTorch with: {CHOOSE_FOLDER}.")
    return [sys.executable, "-I", str(places[0])]


def _fetch(
    pip: list[str], wheel: Wheel, downloads: Path, partial: Path, start: float, share: float
) -> Iterator[Installing]:
    """Get one wheel into `downloads` unless it is there; its `share` of the bytes comes after `start`."""
    path, fetched = downloads / wheel.file, partial / "fetched"
    if path.exists() and (not wheel.sha256 or _sha256(path) == wheel.sha256):
        return
    requirement = partial / "requirement.txt"
    hashed = f" --hash=sha256:{wheel.sha256}" if wheel.sha256 else ""
    requirement.write_text(f"{wheel.name}=={wheel.version}{hashed}\n", encoding="utf-8")
    command = ["download", "--dest", str(fetched), "--requirement", str(requirement)]
    command += ["--index-url", wheel.index] if wheel.index else []
    command += ["--only-binary", ":all:", "--retries", "2", "--timeout", "20"]
    with _running([*pip, *command], wheel.name, partial) as process:
        while process.poll() is None:
            arrived = min(1.0, _size(partial, ".whl") / wheel.size)
            yield Installing(f"Fetching {wheel.name}", FETCHING * min(1.0, start + share * arrived))
            time.sleep(TICK)
    os.replace(fetched / wheel.file, path)


def _unpack(pip: list[str], files: list[Path], partial: Path) -> Iterator[Installing]:
    """Unpack wheels into the folder `site`."""
    total = sum(member.file_size for file in files for member in zipfile.ZipFile(file).infolist())
    command = ["install", "--no-index", "--no-compile", "--target", str(partial / "site"), *map(str, files)]
    looked, fraction = 0.0, 0.0
    with _running([*pip, *command], "the packages", partial) as process:
        while process.poll() is None:
            if time.monotonic() > looked + 1:  # ten thousand files: not at every tick
                looked, fraction = time.monotonic(), min(1.0, _size(partial) / total)
            yield Installing("Unpacking", FETCHING + (1 - FETCHING) * fraction)
            time.sleep(TICK)


@contextmanager
def _running(command: list[str], what: str, partial: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A pip that ends with the block and raises what its failure means; its own files lie in `partial`."""
    options = [
        "--no-deps",
        "--no-cache-dir",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar=off",
    ]
    folders = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(partial))
    # A pip set up for other uses would refuse --target.
    allowed = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    log = partial / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | folders | allowed,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        said = log.read_text(encoding="utf-8", errors="replace")
        _log.error("pip could not get %s:\n%s", what, said)
        raise _explain(said, what)


def _explain(said: str, what: str) -> PointEError:
    """What a failed pip means for the person at the screen."""
    if "Errno 28" in said or "WinError 112" in said:
        return CannotWrite("The disk is full: make room and install again; what has arrived is kept.")
    if "Permission denied" in said or "Read-only file system" in said:
        return CannotWrite(
            "The packages cannot be written: check the folder's permissions and install again."
        )
    if "DO NOT MATCH THE HASHES" in said:
        return DownloadFailed(
            f"What arrived for {what} is not the pinned file: try again or use another network."
        )
    if "No matching distribution" in said and not ("Retrying" in said or "Could not fetch" in said):
        return DownloadFailed(f"The package index has no {what} for this system: {CHOOSE_FOLDER}.")
    return DownloadFailed(
        f"Fetching {what} failed: check the network and try again; what has arrived is kept."
    )


def _switch(partial: Path, final: Path) -> None:
    """Put the whole new installation in the place of an older one."""
    if final.exists():
        os.replace(final, partial / "old")
    os.replace(partial / "site", final)
    for other in final.parent.glob(f"torch-*-{PYTHON}"):
        if other != final and str(other) not in sys.path:
            shutil.rmtree(other, ignore_errors=True)


def _size(folder: Path, suffix: str = "") -> int:
    """Bytes in the files below a folder; pip may take one away at any moment."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if name.endswith(suffix) and os.path.exists(path):
                size += os.path.getsize(path)
    return size


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
