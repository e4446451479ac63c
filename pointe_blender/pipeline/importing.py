"""Importing parts of open_clip, without the package around them.

The package brings whatever downloads, trains and augments: huggingface_hub, torchvision, timm, transformers.
They take seconds; and where torchvision was not built for the installed torch, its operators do not load
and its import fails, the commonest of all errors. CLIP itself needs nothing of them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, Literal

from .errors import MissingPackage


@cache
def import_open_clip(part: Literal["model", "tokenizer"]) -> ModuleType:
    """`open_clip.model` or `open_clip.tokenizer`, whether torchvision works, is broken or is missing.

    Raises
    ------
    MissingPackage
        open_clip or something it needs is not installed.
    """
    try:
        with _alone():
            return importlib.import_module(f"open_clip.{part}")
    except ImportError as error:
        missing = error.name or "open_clip"
        message = f"CLIP needs the Python package {missing}, which is not installed: install PyTorch again."
        raise MissingPackage(message) from error


@contextmanager
def _alone() -> Iterator[None]:
    """Let what the parts import beside torch be empty or missing, and leave no trace of it.

    What somebody has imported is taken as it is; who imports open_clip later gets all of it.
    """
    if sys.modules.get("open_clip") is not None:
        yield
        return
    before = set(sys.modules)
    stand_ins: dict[str, Any] = {"open_clip": _package(), "torchvision.ops.misc": _torchvision()}
    stand_ins |= dict.fromkeys(("timm", "transformers"))  # which open_clip takes for not installed
    sys.modules.update((name, module) for name, module in stand_ins.items() if name not in before)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            if name in stand_ins or name.startswith("open_clip."):
                del sys.modules[name]


def _package() -> ModuleType:
    """open_clip with a place where its parts are found, and nothing in it.

    Raises
    ------
    ModuleNotFoundError
        It is not installed.
    """
    spec = importlib.util.find_spec("open_clip")
    if spec is None:
        raise ModuleNotFoundError("No module named 'open_clip'", name="open_clip")
    return importlib.util.module_from_spec(spec)


def _torchvision() -> ModuleType:
    """The one class of torchvision that open_clip names: it asks whether a ResNet's layers are of it."""
    module = ModuleType("torchvision.ops.misc")
    vars(module)["FrozenBatchNorm2d"] = object
    return module
