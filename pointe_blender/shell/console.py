"""What the shell shows of a run: progress and what there is to know, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..pipeline.request import Progress, Result
    from ..pipeline.sets import Doing

SILENCE = 60.0  # seconds after which a log gets a line again: farms stop what seems to hang


def say(line: str) -> None:
    """Show a line."""
    print(line, file=sys.stderr, flush=True)


def tell(updates: Iterator[Progress]) -> Iterator[Progress]:
    """Pass the updates of one run on, showing them, and at the end what was used."""
    result = None
    for update in show(updates):
        result = update.result
        yield update
    if result:
        _summarise(result)


def show(updates: Iterator[Progress], *, stages: bool = True) -> Iterator[Progress]:
    """Pass the updates of one run on, showing them.

    Parameters
    ----------
    stages
        Whether each stage gets a line where there is no terminal.
    """
    line = _Line()
    try:
        for update in updates:
            where = f"{update.stage} on {update.device}" if update.device else update.stage
            left = "" if update.remaining is None else f", {_duration(update.remaining)} left"
            line.show(update.fraction, where, f" {update.step}/{update.steps}{left}", news=stages)
            yield update
    finally:
        line.end()


def watch(steps: Iterable[Doing]) -> None:
    """Show an errand to its end."""
    line = _Line()
    try:
        for step in steps:
            line.show(step.fraction, step.text, f" {step.detail}")
    finally:
        line.end()


class _Line:
    """A line that grows on a terminal; elsewhere lines when something new begins, and now and then."""

    def __init__(self) -> None:
        self._what, self._since = "", time.monotonic()

    def show(self, fraction: float, what: str, detail: str, *, news: bool = True) -> None:
        now = time.monotonic()
        if sys.stderr.isatty():
            print(f"\r{f'{fraction:4.0%}  {what}{detail}':<78.78}", end="", file=sys.stderr, flush=True)
        elif (news and what != self._what) or now - self._since > SILENCE:
            say(f"{fraction:4.0%}  {what}")
            self._since = now
        self._what = what

    def end(self) -> None:
        if sys.stderr.isatty() and self._what:
            say("")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02}"


def _summarise(result: Result) -> None:
    """Show what was used and what there is to know."""
    if result.notice:
        say(f"note: {result.notice}")
    seeds = ", ".join(str(seed) for seed in result.seeds)
    total = result.seconds.get("total", 0.0)
    say(f"seed {seeds}, {result.models} models, {result.device}, {total:.1f} s")
