"""The prompts that were used, the latest first: kept over sessions in the extension's user folder."""

from __future__ import annotations

import logging
from pathlib import Path

import bpy

from . import keeping, preferences

KEPT = 100  # prompts
_log = logging.getLogger(__name__)


def prompts() -> list[str]:
    """All of them, the latest first; none if the file is missing or damaged."""
    found = keeping.read(file())
    return [prompt for prompt in found if isinstance(prompt, str)] if isinstance(found, list) else []


def remember(prompt: str) -> None:
    """Put a prompt first; an older equal one goes. A folder that takes no files costs the history only."""
    # Read again on every call: another Blender may have added its own.
    others = [other for other in prompts() if other != prompt]
    try:
        keeping.write(file(), [prompt, *others][:KEPT])
    except OSError as error:
        _log.warning("The prompt is not remembered: %s", error)


def forget() -> None:
    """Forget all prompts."""
    file().unlink(missing_ok=True)


def suggestions(self: object, context: bpy.types.Context, edit_text: str) -> list[str]:
    """The remembered prompts that hold what is being typed; the `search` callback of a StringProperty."""
    typed = edit_text.strip().lower()
    return [prompt for prompt in prompts() if typed in prompt.lower()]


def file() -> Path:
    """Where they are kept."""
    return preferences.user_folder() / "prompts.json"
