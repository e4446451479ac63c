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
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from ..pipeline.errors import CannotWrite, DownloadFailed, MissingPackage, PointEError
from ..pipeline.sets import Doing, Rate, in_bytes, in_time
from .packages import CHOOSE_FOLDER, CURRENT, IN_USE, PYTHON, Wheel, hold

TICK = 0.2  # seconds between two looks at pip: how soon a cancel is heard
SMALL = 32 << 20  # bytes of a wheel for which a pip of its own would take longer than the wheel
FETCHING = 0.8  # the part of the progress bar that the network gets

_log = logging.getLogger(__name__)


def install(target: Path, wheels: list[Wheel], build: str) -> Iterator[Doing]:
    """Fetch pinned wheels and put them into a new folder below `target`; closing the generator cancels.

    What is there already stays untouched, and counts until the new one is whole. A failure keeps the wheels
    that have arrived for the next attempt, a cancel keeps nothing.

    Parameters
    ----------
    target
        Where the installations lie.
    wheels
        From `packages.wanted` or `packages.beside`.
    build
        The build of PyTorch among them, for the name of the folder; "" without PyTorch.

    Raises
    ------
    MissingPackage
        There is no pip in this Python.
    DownloadFailed
        The network or the index failed, or a file is not the pinned one.
    CannotWrite
        The folder is read-only or the disk is full.
    """
    pip, size = find_pip(), sum(wheel.size for wheel in wheels)
    downloads = target / "downloads"
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        arrived = sum(_size(downloads / wheel.file) for wheel in wheels)
        if shutil.disk_usage(target).free < space(wheels) - arrived:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with tempfile.TemporaryDirectory(prefix="partial-", dir=target, ignore_cleanup_errors=True) as folder:
            partial, done, rate = Path(folder), 0, Rate()
            with _occupied(partial):
                for what, some in _together(wheels):
                    for fetched in _fetch(pip, what, some, downloads, partial):
                        now = done + fetched
                        yield _told(what, now, size, rate.at(now))
                    done += sum(wheel.size for wheel in some)
                yield from _unpack(pip, wheels, downloads, partial)
                (partial / "site" / IN_USE).touch()
                _switch(partial, target, wheels, build)
        shutil.rmtree(downloads, ignore_errors=True)
    except GeneratorExit:
        shutil.rmtree(downloads, ignore_errors=True)
        raise
    except OSError as error:
        raise CannotWrite(
            f"PyTorch needs {space(wheels) / 1e9:.1f} GB in {target}, which is full or cannot be written: "
            f"make room there, or {CHOOSE_FOLDER}."
        ) from error
    yield Doing("Installed", 1.0)


def space(wheels: list[Wheel]) -> int:
    """Bytes that installing takes at most on disk: the wheels and, beside them, what is in them."""
    return sum(wheel.size + wheel.unpacked for wheel in wheels)


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
        raise MissingPackage(
            "This Blender has no pip to install PyTorch with: install the system's pip where Blender runs on "
            f"the system's Python, or {CHOOSE_FOLDER}."
        )
    return [sys.executable, "-I", str(places[0])]


def _told(what: str, done: int, size: int, rate: float) -> Doing:
    """An update when so many bytes of all have arrived."""
    detail = f"{in_bytes(done)} of {in_bytes(size)}"
    if rate > 0:
        detail += f", {in_bytes(rate)}/s, {in_time((size - done) / rate)} left"
    return Doing(f"Fetching {what}", FETCHING * min(1.0, done / size), detail)


def _together(wheels: list[Wheel]) -> Iterator[tuple[str, list[Wheel]]]:
    """What one pip fetches at a time, with a name: the small wheels at once, each other one by itself."""
    small = [wheel for wheel in wheels if wheel.size < SMALL and not wheel.index]
    if small:
        yield "the small packages", small
    for wheel in wheels:
        if wheel not in small:
            yield wheel.name, [wheel]


def _fetch(pip: list[str], what: str, wheels: list[Wheel], downloads: Path, partial: Path) -> Iterator[int]:
    """Get wheels of one index into `downloads` unless they are there; tells the bytes that have arrived."""
    wheels = [wheel for wheel in wheels if not _is_here(downloads / wheel.file, wheel)]
    if not wheels:
        return
    fetched, requirements = partial / "fetched", partial / "requirements.txt"
    lines = [
        f"{wheel.name}=={wheel.version}" + (f" --hash=sha256:{wheel.sha256}" if wheel.sha256 else "")
        for wheel in wheels
    ]
    requirements.write_text("\n".join(lines), encoding="utf-8")
    command = ["download", "--dest", str(fetched), "--requirement", str(requirements)]
    command += ["--index-url", wheels[0].index] if wheels[0].index else []
    command += ["--only-binary", ":all:", "--retries", "2", "--timeout", "20"]
    size = sum(wheel.size for wheel in wheels)
    with _running([*pip, *command], what, partial) as process:
        while process.poll() is None:
            yield min(size, _size(partial, ".whl"))
            time.sleep(TICK)
    for arrived in fetched.glob("*.whl"):
        # An index of its own may spell the platform in the name of its one file differently.
        os.replace(arrived, downloads / (arrived.name if len(wheels) > 1 else wheels[0].file))


def _is_here(path: Path, wheel: Wheel) -> bool:
    """Whether a wheel has arrived before; pip has compared one whose hash the list does not have."""
    return path.exists() and (not wheel.sha256 or _sha256(path) == wheel.sha256)


def _unpack(pip: list[str], wheels: list[Wheel], downloads: Path, partial: Path) -> Iterator[Doing]:
    """Unpack wheels into the folder `site`."""
    files, total = [str(downloads / wheel.file) for wheel in wheels], sum(wheel.unpacked for wheel in wheels)
    command = ["install", "--no-index", "--no-compile", "--target", str(partial / "site"), *files]
    looked, fraction = 0.0, 0.0
    with _running([*pip, *command], "the packages", partial) as process:
        while process.poll() is None:
            if time.monotonic() > looked + 1:  # ten thousand files: not at every tick
                looked, fraction = time.monotonic(), min(1.0, _size(partial) / total)
            yield Doing("Unpacking", FETCHING + (1 - FETCHING) * fraction)
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
    # A pip set up for other uses would refuse --target; one that can goes on where the network cut a file.
    allowed = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_RESUME_RETRIES": "20"}
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


@contextmanager
def _occupied(partial: Path) -> Iterator[None]:
    """Keep other Blenders from taking what is being made for something that was left."""
    (partial / IN_USE).touch()
    file = hold(partial)
    try:
        yield
    finally:
        if file:
            file.close()


def _switch(partial: Path, target: Path, wheels: list[Wheel], build: str) -> None:
    """Let the new installation count; it gets a folder that no other has had."""
    version = next((wheel.version.partition("+")[0] for wheel in wheels if wheel.name == "torch"), "without")
    name = "-".join(filter(None, ("torch", version, build, PYTHON)))
    names = (name if i == 1 else f"{name}.{i}" for i in count(1))
    name = next(name for name in names if not (target / name).exists())
    os.replace(partial / "site", target / name)
    (partial / CURRENT).write_text(name, encoding="utf-8")
    os.replace(partial / CURRENT, target / CURRENT)


def _size(place: Path, suffix: str = "") -> int:
    """Bytes in a file, or in the files below a folder; pip may take one away at any moment."""
    if place.is_file():
        return place.stat().st_size
    size = 0
    for folder, _, names in os.walk(place):
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(suffix) and os.path.exists(path):
                size += os.path.getsize(path)
    return size


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
