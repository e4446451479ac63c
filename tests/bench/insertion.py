"""Seconds from arrays to objects in a scene, in a Blender without a window."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence

from .children import answer, ask
from .table import Row


def insert(sizes: Sequence[int], times: int) -> dict[str, float]:
    """Median seconds of adding a cloud of each size to an empty scene, as a finished run does."""
    import bpy
    import numpy as np

    import pointe_blender
    from pointe_blender.pipeline import PointCloud, Request, Result
    from pointe_blender.scene import objects
    from pointe_blender.scene.finishing import Finish

    bpy.ops.wm.read_homefile(use_empty=True)
    pointe_blender.register()
    draws = np.random.default_rng(0)
    found = {}
    for size in sizes:
        points = draws.uniform(-0.5, 0.5, (size, 3)).astype(np.float32)
        cloud = PointCloud(points, draws.random((size, 3), np.float32))
        result = Result((cloud,), (), (0,), (), "starter", "cpu", {})
        seconds = []
        for _ in range(times + 1):
            began = time.perf_counter()
            (thing,) = objects.insert(result, Request(prompt="it"), "it", "Scene", Finish())
            bpy.context.view_layer.update()
            seconds.append(time.perf_counter() - began)
            bpy.data.pointclouds.remove(thing.data)
        found[str(size)] = statistics.median(seconds[1:])
    return found


def rows(sizes: Sequence[int], times: int) -> Iterator[Row]:
    """One row a size."""
    for size, seconds in ask("insertion", sizes=sizes, times=times).items():
        yield Row("Insertion into Blender", f"{int(size):,} points", "", "cpu", "", seconds)


if __name__ == "__main__":
    answer(insert)
