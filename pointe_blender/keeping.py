"""Small JSON files in the extension's user folder, there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def read(place: Path) -> Any:
    """What is kept there; `None` if the file is missing or damaged."""
    try:
        return json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def write(place: Path, value: Any) -> None:
    """Replace the file in one go, so that a Blender that is killed leaves the old or the new one.

    Raises
    ------
    OSError
        The folder takes no files.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(f".{os.getpid()}")
    try:
        partial.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
        os.replace(partial, place)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
