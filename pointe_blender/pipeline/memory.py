"""Networks that stay in memory between runs, and how much room there is for them.

Nothing here imports torch before a network is asked for, so forgetting is always free.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from . import weights

if TYPE_CHECKING:
    from torch import nn

Network = TypeVar("Network", bound="nn.Module")


class Key(NamedTuple):
    """What a network in memory was made of."""

    name: str
    device: str
    folders: weights.Folders
    form: str  # its precision, or what was built around it


_kept: dict[Key, Any] = {}


def load(name: str, device: str, folders: weights.Folders, precision: str = "float32") -> nn.Module:
    """The network of a checkpoint, as `weights.load` brings it; the one in memory if it is there.

    Raises
    ------
    MissingModel, DamagedModel, CannotWrite, MissingPackage
    """
    key = Key(name, device, folders, precision)
    return keep(key, lambda: weights.load(name, device, folders, precision))


def keep(key: Key, make: Callable[[], Network]) -> Network:
    """The network that was made for `key` before, else what `make` makes."""
    kept: Network | None = _kept.get(key)  # once: another thread may forget it at any moment
    if kept is None:
        kept = _kept[key] = make()
    return kept


def forget(*names: str) -> None:
    """Forget the networks of these checkpoints, in every precision, and give the memory back."""
    for key in (forgotten := [key for key in _kept if key.name in names]):
        _kept.pop(key, None)
    if forgotten:
        _give_back()


def unload() -> None:
    """Forget every network and give the memory back to the system."""
    _kept.clear()
    _give_back()


def _give_back() -> None:
    """Have Python, PyTorch and the C library let go of what nothing refers to any more."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if sys.platform == "linux":
        # The C library keeps what many small tensors leave behind, unless it is told.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def resident_bytes(device: str | None = None) -> int:
    """Bytes of the weights that are in memory now, or of those on one device; shared ones count once."""
    kept = list(_kept.items())  # a copy, as a run on its thread may add to them
    networks = [network for key, network in kept if device in (None, key.device)]
    tensors = (each for network in networks for each in chain(network.parameters(), network.buffers()))
    # What was not used yet may be on "meta", where it has a size but takes no memory.
    return sum({(each.device, each.data_ptr()): each.nbytes for each in tensors if not each.is_meta}.values())


def available(device: str) -> int:
    """Bytes that a run may take on a device; torch is here by then."""
    import torch

    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    if device.startswith("mps"):
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return _available_to_the_cpu()


def _available_to_the_cpu() -> int:
    """Bytes of main memory that can be had, by the system's own account.

    psutil knows it too, but Blenders that bring their own Python packages lack it.
    """
    if sys.platform == "linux":
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return int(kilobytes) << 10
    elif sys.platform == "win32":
        # MEMORYSTATUSEX: two 32-bit numbers, of which the first is its size, and seven of 64 bits.
        status = (ctypes.c_uint64 * 8)(ctypes.sizeof(ctypes.c_uint64) * 8)
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status[2])  # ullAvailPhys
    else:
        # macOS makes room by compressing: what other programs hold is no limit there.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says that a device is out of memory; on a CPU torch has no class for it."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in said or "MPS backend out of" in said)
