"""Importing open_clip, which imports torchvision and timm though CLIP needs nothing of them.

Both take seconds; and where torchvision was not built for the installed torch, its operators do not load
and its import fails, the commonest of all errors. So neither is imported.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

from .errors import MissingPackage


@cache
def import_open_clip() -> ModuleType:
    """`open_clip`, whether torchvision works, is broken or is missing.

    Raises
    ------
    MissingPackage
        open_clip or something it needs is not installed.
    """
    try:
        with _stand_ins():
            return importlib.import_module("open_clip")
    except ImportError as error:
        missing = error.name or "open_clip"
        message = f"CLIP needs the Python package {missing}, which is not installed: install PyTorch again."
        raise MissingPackage(message) from error


# What open_clip imports of torchvision, and the packages around it.
_IMPORTED = (
    "torchvision",
    "torchvision.ops",
    "torchvision.ops.misc",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Let empty modules stand in for torchvision, and none for timm, unless somebody has imported them."""
    modules: dict[str, Any] = {}
    if sys.modules.get("torchvision") is None:
        modules.update((name, _StandIn(name)) for name in _IMPORTED)
    if sys.modules.get("timm") is None:
        modules["timm"] = None  # which open_clip takes for not installed
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


class _StandIn(ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> type:
        return _unused(name)


class _Unused(type):
    """A class that has every attribute."""

    def __getattr__(cls, name: str) -> type:
        return _unused(name)


def _unused(name: str) -> type:
    """Something to import, annotate with and inherit from, as long as it is never used."""
    if name.startswith("__"):
        raise AttributeError(name)
    return _Unused(name, (), {})
