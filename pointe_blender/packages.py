"""PyTorch and what comes with it: whether it is here, where from, and what it takes. No bpy, no torch.

Blender's own Python stays as it is: packages lie in a folder of their own, and that folder goes to the end of
`sys.path`, so Blender's numpy wins over any other.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import platform
import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .pipeline.errors import CannotWrite, MissingPackage

NEEDED = ("torch", "open_clip", "ftfy", "regex", "tqdm", "safetensors", "filelock", "PIL")
PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
CHOOSE_FOLDER = "choose a packages folder that holds PyTorch in the preferences of Point-E"

_active: Path | None = None  # the folder that `activate` put on sys.path


@dataclass(frozen=True)
class Wheel:
    """One pinned file. Without `sha256` it comes from `index`, whose own hash pip compares."""

    name: str
    version: str
    file: str
    size: int
    sha256: str = ""
    index: str = ""


def missing() -> list[str]:
    """The modules that generating needs and that cannot be found; imports none of them."""
    return [name for name in NEEDED if name not in sys.modules and importlib.util.find_spec(name) is None]


def activate(folder: Path | None) -> None:
    """Let Python find the packages in `folder`, after all that it finds already; the folder before goes."""
    global _active
    if folder != _active:
        if str(_active) in sys.path:
            sys.path.remove(str(_active))
        if folder:
            sys.path.append(str(folder))
        importlib.invalidate_caches()
        _active = folder


def complaint(folder: Path) -> str:
    """Why a folder that the user chose brings no PyTorch to this Python; empty when it does."""
    torch = folder / "torch"
    if not torch.is_dir():
        return "There is no PyTorch in this folder: choose the one that contains the folder named torch."
    if not any((torch / f"_C{suffix}").exists() for suffix in importlib.machinery.EXTENSION_SUFFIXES):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"The PyTorch in this folder is for another Python or system: it must be for Python {version}."
    return ""


def installed(target: Path) -> Path | None:
    """The newest whole installation for this Python below `target`."""
    found = [folder for folder in target.glob(f"torch-*-{PYTHON}") if folder.is_dir()]
    return max(found, key=lambda folder: folder.stat().st_mtime, default=None)


def wanted() -> list[Wheel]:
    """The pinned wheels for this Python and system, small ones first.

    Raises
    ------
    MissingPackage
        PyTorch is not made for this Python or system.
    """
    here = Path(__file__).resolve().parent
    # In the zip the list lies beside this file, in the repository in a folder of its own.
    path = next(p for p in (here / "packages.toml", here.parent / "vendor" / "packages.toml") if p.exists())
    wheels = []
    for package in tomllib.loads(path.read_text(encoding="utf-8"))["package"]:
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
        wheels.append(Wheel(package["name"], version, file["name"], file["size"], *source))
    return sorted(wheels, key=lambda wheel: wheel.size)


def remove(target: Path) -> None:
    """Delete everything below `target`, unless this very Blender runs on it.

    Raises
    ------
    CannotWrite
        PyTorch is loaded from there, or a file cannot be deleted.
    """
    torch = sys.modules.get("torch")
    if torch is not None and target in Path(torch.__file__ or "").parents:
        raise CannotWrite("PyTorch is in use: restart Blender and remove it before you generate anything.")
    try:
        if target.exists():
            shutil.rmtree(target)
    except OSError as error:
        raise CannotWrite(f"{target} cannot be deleted: close other Blenders and remove it again.") from error


def _fits(file: str) -> bool:
    """Whether a wheel is for this Python and system, by the tags in its name."""
    python, abi, system = file.removesuffix(".whl").split("-")[-3:]
    prefix = {"win32": "win", "darwin": "macosx"}.get(sys.platform, "manylinux")
    ours = system == "any" or (system.startswith(prefix) and system.endswith(platform.machine().lower()))
    return ours and (python == PYTHON or abi == "abi3" or "py3" in python.split("."))
