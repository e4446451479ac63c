"""The real models at work in the background of the real extension."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import bpy
import pytest
import torch

import pointe_blender
from pointe_blender import pipeline
from pointe_blender.operators import generate, running
from pointe_blender.scene import preview


@pytest.fixture
def extension() -> Iterator[None]:
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.ed.undo_push(message="empty file")
    pointe_blender.register()
    yield
    pointe_blender.unregister()


@pytest.mark.slow
def test_the_cloud_takes_shape_while_a_core_is_left_to_blender(
    extension: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, sizes = set(), []
    made = pipeline.generate

    def counted(*arguments: object, **fields: object) -> Iterator[pipeline.Progress]:
        threads.add(torch.get_num_threads())
        yield from made(*arguments, **fields)

    monkeypatch.setattr(pipeline, "generate", counted)
    running.submit(lambda: generate.prepare("a red chair", output="cloud", steps=8))
    end = time.monotonic() + 300.0
    while running.tick() is not None:
        assert time.monotonic() < end, "the run does not end"
        if thing := preview.find():
            sizes.append(len(thing.data.attributes["position"].data))
        time.sleep(0.01)

    assert running.state.error == "" and "a red chair points" in bpy.data.objects
    assert sizes == sorted(sizes) and {1024, 4096} <= set(sizes)
    assert preview.find() is None
    assert threads <= set(range(1, max(2, os.cpu_count() or 1)))
