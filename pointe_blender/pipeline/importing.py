"""Importing open_clip, which imports torchvision though CLIP needs nothing of it.

Where torchvision was not built for the installed torch, its operators do not load and its import fails.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import torch

from .errors import MissingPackage


@cache
def import_open_clip() -> ModuleType:
    """`open_clip`, whether torchvision works, has lost its compiled operators or is missing.

    Raises
    ------
    MissingPackage
        open_clip or something it needs is not installed.
    """
    try:
        with _some_torchvision():
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
def _some_torchvision() -> Iterator[None]:
    """Make `import torchvision` work: as it is, with its two operators declared, or as an empty stand-in."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _declare_operators()
        importlib.import_module("torchvision")
    except ImportError:
        sys.modules.update({name: _StandIn(name) for name in _IMPORTED})
        try:
            yield
        finally:
            for name in _IMPORTED:
                del sys.modules[name]
        return
    yield


_operators: list[object] = []  # a declaration lasts as long as its object


def _declare_operators() -> None:
    """Declare what torchvision's Python files expect of its compiled library, which could not be loaded."""
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _operators.append(library)


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
