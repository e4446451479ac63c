"""A worker thread around a generator: progress, cancel, errors. No bpy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, Literal, TypeVar

Update = TypeVar("Update")
State = Literal["running", "done", "cancelled", "failed"]


class Job(Generic[Update]):
    """Runs an iterator of updates to its end on a thread of its own.

    Parameters
    ----------
    make
        Called on that thread; returns the iterator. A generator is closed there when the job is
        cancelled, so what it holds is released before the job has ended.
    """

    def __init__(self, make: Callable[[], Iterator[Update]]) -> None:
        self._make = make
        self._latest: Update | None = None
        self._error: Exception | None = None
        self._cancelled = threading.Event()
        # A daemon: a hung driver or download must not keep Blender from quitting.
        self._thread = threading.Thread(target=self._work, name="pointe job", daemon=True)

    def start(self) -> None:
        """Begin; once only."""
        self._thread.start()

    def cancel(self) -> None:
        """Ask it to stop at its next update. A job that is cancelled never counts as done."""
        self._cancelled.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most `timeout` seconds; return whether it has come."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def poll(self) -> Update | None:
        """The latest update, or `None` before the first."""
        return self._latest

    @property
    def state(self) -> State:
        """Once started, running until the thread has ended, then how it ended."""
        if self._thread.is_alive():
            return "running"
        if self._cancelled.is_set():
            return "cancelled"
        return "failed" if self._error else "done"

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancelled.is_set()

    @property
    def error(self) -> Exception | None:
        """What went wrong, once it has failed."""
        return self._error if self.state == "failed" else None

    def _work(self) -> None:
        try:
            updates = self._make()
            try:
                for update in updates:
                    if self._cancelled.is_set():
                        break
                    self._latest = update
            finally:
                if close := getattr(updates, "close", None):
                    close()
        except Exception as error:  # kept for the thread that asked
            self._error = error
