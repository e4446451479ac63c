"""How things are timed: the clock waits for the device, programs take turns, medians are what counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

Turns = Iterator[tuple[str, int]]
"""A program that pauses now and then: its stage, and how often it evaluated a network since last time."""

Laps = dict[str, list[float]]
"""Seconds of an evaluation, by stage."""


def synchronise(device: str) -> None:
    """Wait until a device has done what it was told to; a CPU always has."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()


def median_seconds(work: Callable[[], object], device: str, times: int = 10) -> float:
    """The median of several calls after a warm-up, see `repeats`."""
    first = once(work, device)
    return statistics.median(once(work, device) for _ in range(repeats(times, first)))


def repeats(times: int, seconds: float) -> int:
    """How often to do what takes so long: `times`, three times over a second, once over ten."""
    return times if seconds < 1 else min(times, 3) if seconds < 10 else 1


def once(work: Callable[[], object], device: str) -> float:
    """Seconds of one call."""
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - began


def race(
    programs: Mapping[str, Turns], device: str, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Laps]:
    """Let programs take turns to the end, so that what disturbs the machine disturbs all of them alike.

    A turn lasts until a program has evaluated its network. The first one of each stage holds what comes
    before it, such as loading, and warms up: it is not counted.
    """
    laps: dict[str, Laps] = {name: {} for name in programs}
    running = dict(programs)
    while running:
        for name, turns in list(running.items()):
            began = clock()
            stage, evaluations = next((turn for turn in turns if turn[1]), ("", 0))
            synchronise(device)
            if evaluations:
                laps[name].setdefault(stage, []).append((clock() - began) / evaluations)
            else:
                del running[name]
    return {name: {stage: seconds[1:] for stage, seconds in found.items()} for name, found in laps.items()}


def together(races: Sequence[dict[str, Laps]]) -> dict[str, Laps]:
    """The laps of several races of the same programs."""
    found: dict[str, Laps] = {}
    for laps in races:
        for name, stages in laps.items():
            for stage, seconds in stages.items():
                found.setdefault(name, {}).setdefault(stage, []).extend(seconds)
    return found


def grown(
    sizes: Sequence[int], measure: Callable[[int], float], limit: float = 60.0
) -> list[tuple[int, float]]:
    """Measure one size after the other, until the next one would take longer than `limit` seconds."""
    points: list[tuple[int, float]] = []
    for size in sizes:
        if points and points[-1][1] * size / points[-1][0] > limit:
            break
        points.append((size, measure(size)))
    return points
