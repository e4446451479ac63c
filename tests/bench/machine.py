"""What was measured on: the machine, its devices, versions and the date."""

from __future__ import annotations

import os
import platform
import re
import sys
from datetime import UTC, datetime
from importlib import metadata

import torch

from pointe_blender.pipeline.point_e.precision import half_precision

from .children import ROOT


def devices() -> list[str]:
    """What PyTorch can compute on here."""
    found = ["cpu"]
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def facts(devices: list[str]) -> dict[str, str]:
    """What is said above the table."""
    cores = os.cpu_count() or 1
    found = {
        "machine": kind(devices),
        "processor": f"{_processor()}, {cores} cores, {_gigabytes():.0f} GB",
        "half precision": ", ".join(f"{half_precision(device) or 'none'} on {device}" for device in devices),
    }
    if "cuda" in devices:
        found["GPU"] = torch.cuda.get_device_name()
    found["threads"] = str(torch.get_num_threads())
    found["system"] = f"{platform.system()} {platform.release()}"
    found["versions"] = f"pointe_blender {_version()}, Python {platform.python_version()}, " + ", ".join(
        f"{name} {metadata.version(name)}" for name in ("torch", "bpy")
    )
    found["date"] = datetime.now(UTC).strftime("%Y-%m-%d")
    return found


def kind(devices: list[str]) -> str:
    """What machines of this sort are called, fit for a file's name: "cpu-2-cores", "nvidia-h200"."""
    if "cuda" in devices:
        return slug(torch.cuda.get_device_name())
    if "mps" in devices:
        return slug(_processor())
    return f"cpu-{os.cpu_count()}-cores"


def slug(name: str) -> str:
    """Small letters, digits and single hyphens."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def _processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gigabytes() -> float:
    import psutil

    return float(psutil.virtual_memory().total) / 2**30


def _version() -> str:
    manifest = (ROOT / "blender_manifest.toml").read_text(encoding="utf-8")
    return re.findall(r'^version = "(.+)"', manifest, re.MULTILINE)[0]
