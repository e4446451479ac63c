"""An empty Blender file with the extension registered, and a pipeline of plain arrays behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import pytest

import pointe_blender
from pointe_blender import history, pace, preferences
from tests.blender.stand_in import Pipeline


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The extension, in an empty file of its own, with a history of its own and on a computer new to it."""
    monkeypatch.setattr(history, "file", lambda: tmp_path / "prompts.json")
    monkeypatch.setattr(pace, "file", lambda: tmp_path / "pace.json")
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.ed.undo_push(message="empty file")
    pointe_blender.register()
    yield
    pointe_blender.unregister()


@pytest.fixture
def pipeline(extension: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """Stands in for the networks; `operators.generate.run` is the one place that calls them."""
    from pointe_blender.operators import generate

    stand_in = Pipeline()
    monkeypatch.setattr(generate, "run", stand_in)
    yield stand_in
    stand_in.pace = lambda: None


@pytest.fixture
def started(pipeline: Pipeline) -> Callable[..., None]:
    """Put a run into the queue, as a click does; without a window an operator would wait."""
    from pointe_blender.operators import generate, running

    def start(prompt: str = "a red ball", **fields: object) -> None:
        running.submit(lambda: generate.prepare(prompt, None, **fields))

    return start


@pytest.fixture
def until_idle() -> Callable[[], None]:
    """Look at the worker as Blender's timer does, until there is nothing more to look at."""
    from pointe_blender.operators import running

    def watch() -> None:
        end = time.monotonic() + 20.0
        while running.tick() is not None:
            assert time.monotonic() < end, "the run does not end"
            time.sleep(0.002)

    return watch


@pytest.fixture
def stored() -> Iterator[preferences.PointePreferences]:
    """The preferences as Blender keeps them for an extension that is enabled."""
    addon = bpy.context.preferences.addons.new()
    addon.module = "pointe_blender"
    yield addon.preferences
    bpy.context.preferences.addons.remove(addon)
