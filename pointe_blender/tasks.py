"""What can be made one after the other, and where the queue stands."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .job import Job
from .pipeline.errors import PointEError

if TYPE_CHECKING:
    import bpy
    from mathutils import Matrix

    from .pipeline import PointCloud, Progress, Result

_numbers = itertools.count(1)


class Busy(PointEError):
    """Another run has not ended: wait or cancel it."""


@dataclass(frozen=True)
class Task:
    """Something to make.

    Attributes
    ----------
    title
        For the user, such as the prompt.
    work
        Runs on the worker, so it knows no bpy; its last update has a result.
    insert
        Runs on the main thread, once, and must hold names, not references: undo may come between.
    place
        Where in the world the preview takes shape; at the 3D cursor if `None`.
    """

    title: str
    work: Callable[[], Iterator[Progress]]
    insert: Callable[[Result], list[bpy.types.Object]]
    place: Matrix | None = None


class Entry:
    """A task in the queue.

    Attributes
    ----------
    task, scene
        What to make, and the name of the scene that it was asked for in.
    number
        Its own for as long as Blender runs.
    job
        Starts when it is its turn.
    seen
        What the preview showed last.
    """

    def __init__(self, task: Task, scene: str) -> None:
        self.task, self.scene = task, scene
        self.number = next(_numbers)
        self.job = Job(task.work)
        self.seen: PointCloud | None = None


@dataclass
class State:
    """What the panel shows. It lives as long as Blender's session and is saved nowhere.

    `held` says that the result is there and waits for the user to finish something. `failed` is the title of
    what went wrong, `error` the sentence for the user, `log` all that is known of it. `idle_since` is when
    the last run ended, by the clock of `time.monotonic`.
    """

    current: Entry | None = None
    waiting: list[Entry] = field(default_factory=list)
    failed: str = ""
    error: str = ""
    log: str = ""
    notice: str = ""
    held: bool = False
    idle_since: float | None = None

    def dismiss(self) -> None:
        self.failed = self.error = self.log = self.notice = ""


state = State()
