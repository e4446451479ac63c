"""A pipeline of plain arrays, so that Blender's half is tested without torch; a layout that remembers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pointe_blender.pipeline import Mesh, PointCloud, Progress, Request, Result

RED = np.array([0.8, 0.2, 0.1], np.float32)  # sRGB


def sphere(count: int = 800) -> np.ndarray:
    """(count, 3) points spread evenly over a sphere of diameter 1."""
    i = np.arange(count) + 0.5
    z, angle = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    ring = np.sqrt(1 - z**2)
    return np.column_stack((ring * np.cos(angle), ring * np.sin(angle), z)).astype(np.float32) / 2


def red_cloud(seed: int = 0, count: int = 800) -> PointCloud:
    """The sphere, lower by a tenth with each seed from 0 to 4."""
    return PointCloud(sphere(count) * _shape(seed), np.tile(RED, (count, 1)))


def _shape(seed: int) -> np.ndarray:
    return np.array([1.0, 1.0, 1.0 - seed % 5 / 10], np.float32)


def red_mesh(seed: int = 0) -> Mesh:
    """A closed octahedron that winds outward, as high as the cloud of that seed."""
    vertices = np.concatenate((np.eye(3), -np.eye(3))).astype(np.float32) / 2 * _shape(seed)
    top = [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2]]
    bottom = [[1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]
    return Mesh(vertices, np.array(top + bottom, np.int32), np.tile(RED, (6, 1)))


class Pipeline:
    """What `operators.generate.run` calls instead.

    Attributes
    ----------
    requests
        What was asked for, in order.
    notice, seconds
        What every result holds.
    pace
        Called before each of the five steps of a run; blocks or raises as a test likes.
    closed
        Set when a run was ended, in whichever way.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.steps_done = 0
        self.pace: Callable[[], object] = lambda: None
        self.notice = ""
        self.seconds = {"total": 0.1}
        self.closed = threading.Event()

    def __call__(self, request: Request, folders: Any) -> Iterator[Progress]:
        self.requests.append(request)
        try:
            for step in range(5):
                self.pace()
                self.steps_done += 1
                yield Progress("base", step + 1, 5, (step + 1) / 6, "cpu", 4.0 - step, red_cloud(step))
            result = self._result(request)
            yield Progress("done", 1, 1, 1.0, "cpu", None, result.clouds[0], result)
        finally:
            self.closed.set()

    def _result(self, request: Request) -> Result:
        """Of several variants the last seed is the best, and then those before it."""
        seeds = tuple(range(request.seed, request.seed + request.count))[::-1]
        if request.cloud is None:
            clouds = tuple(red_cloud(seed, request.points or 800) for seed in seeds)
        else:
            clouds = (red_cloud(0, request.points) if request.points else request.cloud,)
        meshes = tuple(map(red_mesh, seeds)) if request.wants_mesh else ()
        scores = tuple(0.5 - 0.125 * i for i in range(request.count)) if request.count > 1 else ()
        return Result(clouds, meshes, seeds, scores, request.models, "cpu", self.seconds, self.notice)


class Layout:
    """Stands in for `bpy.types.UILayout`, of which there is none without a window."""

    def __init__(self, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] | None = None) -> None:
        self.calls = [] if calls is None else calls
        self.operator_context = "EXEC_REGION_WIN"

    def __getattr__(self, name: str) -> Callable[..., Layout]:
        def call(*arguments: Any, **named: Any) -> Layout:
            self.calls.append((name, arguments, named))
            return Layout(self.calls)

        return call

    @property
    def text(self) -> str:
        """All words, in reading order."""
        return " ".join(str(named["text"]) for _, _, named in self.calls if named.get("text"))

    @property
    def buttons(self) -> list[str]:
        """The operators that can be clicked."""
        return [arguments[0] for name, arguments, _ in self.calls if name == "operator"]

    @property
    def fields(self) -> list[str]:
        """The properties that can be edited."""
        return [arguments[1] for name, arguments, _ in self.calls if name == "prop"]
