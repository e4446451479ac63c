"""Long errands such as downloads: on a thread of their own, told in the preferences, cancelled.

A chore belongs to Blender's session: it goes on when the preferences are closed or another file is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Protocol

import bpy

from ..job import Job
from ..pipeline.errors import PointEError

TICK = 0.25  # seconds between two looks at the thread
_log = logging.getLogger(__name__)


class Step(Protocol):
    """One update: what happens now, how much of the whole is done, 0 to 1, and what else there is to know."""

    @property
    def text(self) -> str: ...

    @property
    def fraction(self) -> float: ...

    @property
    def detail(self) -> str: ...


class Chore:
    """One kind of errand, run once at a time.

    Parameters
    ----------
    name
        What it does, for messages: "Installing PyTorch".
    done
        Called on the main thread after each run, however it ended; may start the next one.

    Attributes
    ----------
    failure, log
        What the last run has to say to the user, empty when nothing went wrong, and all that is known of it.
    cancelled
        Whether the last run was.
    """

    def __init__(self, name: str, done: Callable[[], None] = lambda: None) -> None:
        self.name, self.failure, self.log, self.cancelled = name, "", "", False
        self._done = done
        self._job: Job[Step] | None = None
        self._last: Step | None = None
        self._timer = self.tick  # Blender knows a timer by its identity, which a method has anew at each look

    @property
    def running(self) -> bool:
        """Whether it is at work."""
        return self._job is not None

    @property
    def cancelling(self) -> bool:
        """Whether it is at work and was asked to stop."""
        return self._job is not None and self._job.cancelling

    def poll(self) -> Step | None:
        """The latest update, of the last run when it has ended; `None` before the first."""
        return self._job.poll() if self._job else self._last

    def start(self, make: Callable[[], Iterator[Step]]) -> None:
        """Begin in the background; `make` is called on the thread and must not touch bpy."""
        self._begin(make)
        if not bpy.app.timers.is_registered(self._timer):
            bpy.app.timers.register(self._timer, first_interval=TICK, persistent=True)

    def wait(self, make: Callable[[], Iterator[Step]]) -> None:
        """Begin and wait for the end; for scripts and Blender without a window, where timers stand still."""
        job = self._begin(make)
        try:
            job.join()
        except KeyboardInterrupt:
            self.stop()
            raise
        self._finish()

    def carry_out(self, operator: bpy.types.Operator, make: Callable[[], Iterator[Step]]) -> set[str]:
        """What the `execute` of operators has in common: wait, report what went wrong."""
        self.wait(make)
        if self.failure:
            operator.report({"ERROR"}, self.failure)
            return {"CANCELLED"}
        return {"FINISHED"}

    def cancel(self) -> None:
        """Ask it to stop at its next update."""
        if self._job:
            self._job.cancel()

    def tick(self) -> float | None:
        """Show how far it is; called by a timer on the main thread until the thread has ended."""
        redraw()
        if self._job and self._job.state == "running":
            return TICK
        if self._job:
            self._finish()
        return TICK if self._job else None

    def stop(self) -> None:
        """Cancel and wait some seconds, so that nothing goes on when Blender quits."""
        job, self._job = self._job, None
        self.failure = self.log = ""
        if bpy.app.timers.is_registered(self._timer):
            bpy.app.timers.unregister(self._timer)
        if job:
            job.cancel()
            job.join(5.0)

    def _begin(self, make: Callable[[], Iterator[Step]]) -> Job[Step]:
        self.failure = self.log = ""
        self._last, self._job = None, Job(make)
        self._job.start()
        return self._job

    def _finish(self) -> None:
        job, self._job = self._job, None
        if job:
            self._last, self.cancelled = job.poll(), job.state == "cancelled"
            if job.error:
                self._fail(job.error)
        self._done()
        redraw()

    def _fail(self, error: Exception) -> None:
        """Keep what to tell the user."""
        from .. import diagnosis  # which looks at the whole machine

        if isinstance(error, PointEError):
            self.failure = str(error)
        else:
            _log.error("%s failed", self.name, exc_info=error)
            self.failure = (
                f"{self.name} failed unexpectedly ({type(error).__name__}: {error}): "
                "try again, and report the copied log if it stays."
            )
        self.log = diagnosis.describe(error, self.failure, made=self.name)


def redraw() -> None:
    """Draw the preferences and the sidebars anew, wherever they are open."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
            elif area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
