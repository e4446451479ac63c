"""Which build of PyTorch suits this machine: read off its drivers, without PyTorch. No bpy.

Looking may take a second where a driver has to wake up, so it belongs on a thread; choosing takes no time.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# What each build for NVIDIA has code for, by compute capability, and the oldest driver that runs it.
# Newest first: of two that suit, the first is taken.
CUDA = {
    "cu130": ((7, 5), (12, 1), 580),
    "cu126": ((5, 0), (9, 0), 525),
}
# The architectures that the build for AMD has kernels and matrix products for.
ROCM = (
    *("gfx908", "gfx90a", "gfx942", "gfx950", "gfx1030", "gfx1100", "gfx1101", "gfx1102"),
    *("gfx1150", "gfx1151", "gfx1200", "gfx1201"),
)
NVIDIA_VENDOR = "0x10de"  # as PCI has it


@dataclass(frozen=True)
class Nvidia:
    """What NVIDIA's driver says: its major version, and the compute capability of the best GPU."""

    driver: int
    capability: tuple[int, int]


@dataclass(frozen=True)
class Machine:
    """What a machine has to compute with.

    Attributes
    ----------
    system
        As `sys.platform` has it.
    nvidia
        None without a GPU of NVIDIA's or without its driver.
    bare_nvidia
        Whether there is a GPU of NVIDIA's that lacks NVIDIA's driver.
    amd
        Architectures of AMD's GPUs, such as "gfx1100".
    closed
        Whether this user may not compute on AMD's GPUs.
    """

    system: str
    nvidia: Nvidia | None = None
    bare_nvidia: bool = False
    amd: tuple[str, ...] = ()
    closed: bool = False


@dataclass(frozen=True)
class Choice:
    """A build of PyTorch, and one sentence where it is not the one that might be expected."""

    build: str
    note: str = ""


def choose(wish: str, machine: Machine) -> Choice:
    """The build of PyTorch for a machine.

    Parameters
    ----------
    wish
        "auto", "cpu", "nvidia" or "amd". A wish for a GPU that was not seen is granted where PyTorch is made
        for it; one for a GPU that is known not to do is not.
    """
    if machine.system == "darwin":
        return Choice("metal")
    if wish == "cpu":
        return Choice("cpu")
    if wish == "nvidia":
        return _for_nvidia(machine.nvidia) if machine.nvidia else Choice("cu130", _unseen(machine))
    if wish == "amd":
        return _for_amd(machine)
    if machine.nvidia:
        return _for_nvidia(machine.nvidia)
    if not set(machine.amd).isdisjoint(ROCM) and not machine.closed:
        return Choice("rocm7.2")
    if machine.bare_nvidia:
        return Choice("cpu", _unseen(machine))
    if machine.amd:
        why = _closed() if machine.closed else f"PyTorch has nothing for this AMD GPU ({machine.amd[0]})"
        return Choice("cpu", f"{why}: the processor will be used.")
    return Choice("cpu")


def describe(build: str) -> str:
    """A build as the preferences call it, such as "for NVIDIA GPUs (CUDA 13.0)"."""
    if build.startswith("cu"):
        return f"for NVIDIA GPUs (CUDA {build[2:-1]}.{build[-1]})"
    if build.startswith("rocm"):
        return f"for AMD GPUs (ROCm {build[4:]})"
    return "with Metal" if build == "metal" else "for the processor"


def look(root: Path = Path("/")) -> Machine:
    """This machine, by its drivers' library and the kernel's files below `root`."""
    if sys.platform == "darwin":
        return Machine(sys.platform)
    nvidia = ask_nvidia(nvidia_library)
    if sys.platform == "win32":
        return Machine(sys.platform, nvidia)
    vendors = [_read(file).strip() for file in root.glob("sys/class/drm/card*/device/vendor")]
    amd = tuple(
        name
        for file in sorted(root.glob("sys/class/kfd/kfd/topology/nodes/*/properties"))
        if (name := _architecture(_read(file)))
    )
    device = root / "dev" / "kfd"
    return Machine(
        sys.platform,
        nvidia,
        bare_nvidia=nvidia is None and NVIDIA_VENDOR in vendors,
        amd=amd,
        closed=bool(amd) and not os.access(device, os.R_OK | os.W_OK),
    )


def nvidia_library() -> ctypes.CDLL:
    """The library that comes with every driver of NVIDIA's; OSError without one."""
    return ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")


def ask_nvidia(load: Callable[[], ctypes.CDLL]) -> Nvidia | None:
    """What NVIDIA's driver says of itself and of the best GPU; None where there is none or it fails."""
    try:
        library = load()
        if library.nvmlInit_v2():
            return None
    except (OSError, AttributeError):
        return None
    try:
        version = ctypes.create_string_buffer(80)
        count = ctypes.c_uint()
        if library.nvmlSystemGetDriverVersion(version, 80) or library.nvmlDeviceGetCount_v2(
            ctypes.byref(count)
        ):
            return None
        found = [_capability(library, i) for i in range(count.value)]
        driver = version.value.decode("ascii", "replace").partition(".")[0]
        return Nvidia(int(driver), max(found)) if found and driver.isdecimal() else None
    finally:
        library.nvmlShutdown()


def _capability(library: ctypes.CDLL, index: int) -> tuple[int, int]:
    """The compute capability of one GPU; (0, 0) where it does not answer."""
    device, major, minor = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int()
    if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
        return 0, 0
    library.nvmlDeviceGetCudaComputeCapability(device, ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def _for_nvidia(nvidia: Nvidia) -> Choice:
    made = {b: need for b, (low, high, need) in CUDA.items() if low <= nvidia.capability <= high}
    for build, need in made.items():
        if nvidia.driver >= need:
            return Choice(build)
    if made:
        return Choice(
            "cpu",
            f"The NVIDIA driver {nvidia.driver} is too old for PyTorch, which needs {min(made.values())} or "
            "newer: update it; until then the processor will be used.",
        )
    return Choice("cpu", "PyTorch has nothing for an NVIDIA GPU of this age: the processor will be used.")


def _for_amd(machine: Machine) -> Choice:
    if machine.system != "linux":
        return Choice("cpu", "PyTorch is made for AMD GPUs on Linux only: the processor will be used.")
    if machine.closed:
        return Choice("rocm7.2", f"{_closed()}.")
    if set(machine.amd).isdisjoint(ROCM):
        seen = f" ({machine.amd[0]})" if machine.amd else ""
        return Choice("rocm7.2", f"No AMD GPU that PyTorch knows is seen here{seen}.")
    return Choice("rocm7.2")


def _unseen(machine: Machine) -> str:
    if machine.bare_nvidia:
        return "The NVIDIA GPU has no driver of NVIDIA's, which PyTorch needs: install it."
    return "No NVIDIA GPU is seen here: install its driver if there is one."


def _closed() -> str:
    return "This user may not compute on the AMD GPU until an administrator adds them to the group render"


def _architecture(properties: str) -> str:
    """The name of a GPU's architecture from the kernel's description of it; empty for a processor."""
    fields = dict(line.split(maxsplit=1) for line in properties.splitlines() if " " in line.strip())
    number = int(fields.get("gfx_target_version", "0"))
    major, minor, stepping = number // 10000, number // 100 % 100, number % 100
    return f"gfx{major}{minor:x}{stepping:x}" if number else ""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:  # a device that has just gone, or is none of this user's business
        return ""
