"""PyTorch and what comes with it: whether it is here, where from, and what it takes. No bpy, no torch.

Blender's own Python stays as it is: packages lie in a folder of their own, and that folder goes to the end of
`sys.path`, so Blender's numpy wins over any other. Each installation has a folder beside the others, and a
small file says which one counts, so nothing that is in use is ever written to.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import platform
import re
import shutil
import site
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from ..pipeline.errors import CannotWrite, MissingPackage

if sys.platform != "win32":
    import fcntl

NEEDED = ("torch", "open_clip", "ftfy", "regex", "tqdm", "safetensors", "filelock", "PIL")
PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
OLDEST, NEWEST = (2, 4), (3,)  # from this version of PyTorch, and before that one
CHOOSE_FOLDER = "choose a packages folder that holds PyTorch in the preferences of Point-E"
PLATFORMS = {"linux": "linux-x64", "win32": "windows-x64", "darwin": "macos-arm64"}
IN_USE = "in-use"  # a file in each installation that is held open by every Blender that runs on it
CURRENT = f"current-{PYTHON}"  # a file that holds the name of the installation that counts

_active: tuple[Path, ...] = ()  # what `activate` put on sys.path
_held: list[BinaryIO] = []


@dataclass(frozen=True)
class Wheel:
    """One pinned file. With `index` it is there alone; without `sha256` that index's own hash counts."""

    name: str
    version: str
    file: str
    size: int
    unpacked: int
    sha256: str = ""
    index: str = ""


@dataclass(frozen=True)
class Torch:
    """A PyTorch that lies in `folder`: its version, and its build such as "cpu" or "cu130"."""

    version: str
    build: str
    folder: Path


def missing() -> list[str]:
    """The modules that generating needs and that cannot be found or do not fit; imports none of them."""
    absent = [name for name in NEEDED if name not in sys.modules and importlib.util.find_spec(name) is None]
    if "torch" not in absent and (torch := found()) and complaint(torch.folder):
        absent.insert(0, "torch")
    return absent


def found() -> Torch | None:
    """The PyTorch that Python imports, or has imported; looks at its files only."""
    module = sys.modules.get("torch")
    spec = None if module else importlib.util.find_spec("torch")
    origin = module.__file__ if module else spec.origin if spec else None
    return read(Path(origin).parents[1]) if origin else None


def read(folder: Path) -> Torch | None:
    """The PyTorch in a folder of packages, if there is one."""
    try:
        text = (folder / "torch" / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    said = dict(re.findall(r"^(\w+)\b[^=\n]*= '(.*)'", text, re.MULTILINE))
    cuda, hip = said.get("cuda"), said.get("hip")
    build = "metal" if sys.platform == "darwin" else "cpu"
    if cuda:
        build = f"cu{cuda.replace('.', '')}"
    elif hip:
        build = "rocm" + ".".join(hip.split(".")[:2])
    return Torch(said.get("__version__", "").partition("+")[0], build, folder)


def complaint(folder: Path) -> str:
    """Why the PyTorch in a folder is of no use to this Python; empty when it is."""
    if not (folder / "torch").is_dir():
        return "There is no PyTorch in this folder: choose the one that contains the folder named torch."
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    if not any((folder / "torch" / f"_C{suffix}").exists() for suffix in suffixes):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"The PyTorch in {folder} is for another Python or system: it must be for Python {version}."
    torch = read(folder)
    version = torch.version if torch else ""
    if not OLDEST <= tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < NEWEST:
        wants = f"{'.'.join(map(str, OLDEST))} or newer and older than {NEWEST[0]}"
        return f"PyTorch {version or 'of no known version'} in {folder} does not fit: it must be {wants}."
    return ""


def elsewhere() -> Path | None:
    """A folder with a fitting PyTorch that Python knows but Blender does not look into: the user's."""
    for place in (site.getusersitepackages(), *site.getsitepackages()):
        if place not in sys.path and (Path(place) / "torch").is_dir() and not complaint(Path(place)):
            return Path(place)
    return None


def activate(*folders: Path) -> None:
    """Let Python find the packages in `folders`, after all that it finds already; those before go.

    While a PyTorch is loaded from one of those before, others wait for the next start: two in one process
    would break both.
    """
    global _active, _held
    if folders == _active or (folders and any(is_loaded(folder) for folder in _active)):
        return
    sys.path[:] = [path for path in sys.path if path not in map(str, _active)]
    for held in _held:
        held.close()
    sys.path.extend(map(str, folders))
    _held = [file for folder in folders if (file := hold(folder))]
    importlib.invalidate_caches()
    _active = folders


def active() -> tuple[Path, ...]:
    """The folders that were added to what Python finds."""
    return _active


def is_loaded(folder: Path) -> bool:
    """Whether PyTorch was imported from below `folder`."""
    torch = sys.modules.get("torch")
    return torch is not None and folder in Path(torch.__file__ or "").parents


def installed(target: Path) -> Path | None:
    """The whole installation for this Python below `target` that counts."""
    with suppress(OSError, UnicodeDecodeError):
        name = (target / CURRENT).read_text(encoding="utf-8").strip()
        if name and (target / name).is_dir():
            return target / name
    folders = [folder for folder in target.glob(f"torch-*-{PYTHON}*") if folder.is_dir()]
    return max(folders, key=lambda folder: folder.stat().st_mtime, default=None)


def leftovers(target: Path) -> list[Path]:
    """What an update or a kill has left: other installations for this Python, and halves of some."""
    current = installed(target)
    others = [folder for folder in target.glob(f"torch-*-{PYTHON}*") if folder.is_dir() and folder != current]
    return others + list(target.glob("partial-*"))


def sweep(target: Path) -> None:
    """Delete the leftovers below `target` that no Blender runs on. Takes seconds: not on the main thread."""
    for folder in leftovers(target):
        if folder not in _active and _is_free(folder):
            grave = Path(tempfile.mkdtemp(prefix="partial-", dir=target))
            with suppress(OSError):  # Windows refuses to rename what is in use, before anything is deleted
                os.replace(folder, grave / "old")
            shutil.rmtree(grave, ignore_errors=True)


def remove(target: Path) -> None:
    """Delete everything below `target`, unless this very Blender runs on it.

    Raises
    ------
    CannotWrite
        PyTorch is loaded from there, or a file cannot be deleted.
    """
    if is_loaded(target):
        raise CannotWrite("PyTorch is in use: restart Blender and remove it before you generate anything.")
    activate(*(folder for folder in _active if target not in folder.parents))
    try:
        if target.exists():
            shutil.rmtree(target)
    except OSError as error:
        raise CannotWrite(f"{target} cannot be deleted: close other Blenders and remove it again.") from error


def wanted(build: str) -> list[Wheel]:
    """The pinned wheels of a build of PyTorch, see `hardware.choose`, and of all it needs, small ones first.

    Raises
    ------
    MissingPackage
        PyTorch is not made for this Python or system.
    """
    return _wheels(
        package
        for package in _pinned()
        if package.get("build", build) == build and (_is_for_here(package) or package["name"] == "torch")
    )


def beside(modules: list[str]) -> list[Wheel]:
    """The pinned wheels that bring some modules to a PyTorch that came from elsewhere.

    Raises
    ------
    MissingPackage
        One of them is not made for this Python or system.
    """
    return _wheels(package for package in _pinned() if package.get("module", package["name"]) in modules)


def pinned_version() -> str:
    """The version of PyTorch that is installed here."""
    return next(str(package["version"]) for package in _pinned() if package["name"] == "torch")


def hold(folder: Path) -> BinaryIO | None:
    """Keep other Blenders from deleting an installation: Windows by the open file, others by its lock."""
    try:
        file = (folder / IN_USE).open("rb")
    except OSError:  # not one of ours
        return None
    if sys.platform != "win32":
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return file


@cache
def _pinned() -> list[dict[str, Any]]:
    home = Path(__file__).resolve().parents[1]
    # In the zip the list lies beside the package's files, in the repository in a folder of its own.
    path = next(p for p in (home / "packages.toml", home.parent / "vendor" / "packages.toml") if p.exists())
    packages: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["package"]
    return packages


def _wheels(packages: Iterable[dict[str, Any]]) -> list[Wheel]:
    """The files of packages that fit this Python and system, small ones first."""
    wheels = []
    for package in packages:
        if package["travels"] != "install":
            continue
        file = next((file for file in package["file"] if _fits(file["name"])), None)
        if file is None:
            raise MissingPackage(
                f"{package['name']} {package['version']} is not made for Python "
                f"{platform.python_version()} on {platform.system()} {platform.machine()}: {CHOOSE_FOLDER}."
            )
        version = file["name"].split("-")[1]  # with its local part, such as 2.13.0+cpu
        source = (file.get("sha256", ""), file.get("index", ""))
        sizes = (file["size"], file["unpacked"])
        wheels.append(Wheel(package["name"], version, file["name"], *sizes, *source))
    return sorted(wheels, key=lambda wheel: wheel.size)


def _is_for_here(package: dict[str, Any]) -> bool:
    return PLATFORMS.get(sys.platform) in package.get("platforms", PLATFORMS.values())


def _fits(file: str) -> bool:
    """Whether a wheel is for this Python and system, by the tags in its name."""
    python, abi, system = file.removesuffix(".whl").split("-")[-3:]
    prefix = {"win32": "win", "darwin": "macosx"}.get(sys.platform, "manylinux")
    ours = system == "any" or (system.startswith(prefix) and system.endswith(platform.machine().lower()))
    return ours and (python == PYTHON or abi == "abi3" or "py3" in python.split("."))


def _is_free(folder: Path) -> bool:
    """Whether no Blender holds an installation."""
    if sys.platform == "win32" or not (folder / IN_USE).exists():
        return True
    try:
        with (folder / IN_USE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
