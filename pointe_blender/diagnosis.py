"""All that is known of a failure, as text to send along with a question."""

from __future__ import annotations

import platform
import sys
import tomllib
import traceback
from importlib import metadata
from pathlib import Path

import bpy


def describe(error: Exception, sentence: str, *, made: str = "", device: str = "") -> str:
    """The sentence for the user, the machine, the versions of everything and the traceback.

    Parameters
    ----------
    error, sentence
        What went wrong, and how it was told.
    made
        The title of what was being made, if anything was.
    device
        Where the networks ran, such as "cuda".
    """
    facts = {
        "Making": made,
        "Extension": extension_version(),
        "Blender": f"{bpy.app.version_string} ({bpy.app.build_hash.decode('ascii', 'replace')})",
        "Python": sys.version.split()[0],
        "PyTorch": _torch_version(),
        "System": f"{platform.platform()}, {platform.machine()}",
        "Device": " ".join(part for part in (device, _gpu(device)) if part),
    }
    lines = [f"{name + ':':10} {value}" for name, value in facts.items() if value]
    return "\n".join((sentence, "", *lines, "", "".join(traceback.format_exception(error))))


def extension_version() -> str:
    """As the manifest says; it lies in the extension's folder, in a checkout beside it."""
    here = Path(__file__).resolve().parent
    for folder in (here, here.parent):
        manifest = folder / "blender_manifest.toml"
        if manifest.is_file():
            return str(tomllib.loads(manifest.read_text(encoding="utf-8"))["version"])
    return "unknown"


def _torch_version() -> str:
    """Of the PyTorch in use, else of the one that would be."""
    if torch := sys.modules.get("torch"):
        return str(torch.__version__)
    try:
        return f"{metadata.version('torch')}, not loaded"
    except metadata.PackageNotFoundError:
        return "not installed"


def _gpu(device: str) -> str:
    """What it calls itself; nothing for other devices."""
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda"):
        return ""
    try:
        return f"({torch.cuda.get_device_name(device)})"
    except Exception as error:  # a driver that is broken is what the log is for
        return f"({error})"
