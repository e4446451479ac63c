"""A share of a batch: one of several that run at the same time, on one machine or on many."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from ..pipeline.errors import InvalidRequest

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Shard:
    """Share `number` of `count`, counted from 1."""

    number: int
    count: int

    def of(self, groups: Sequence[Sequence[Thing]]) -> list[Sequence[Thing]]:
        """Its groups, in order: neighbours stay together, and no group is split."""
        ends = list(accumulate(len(group) for group in groups))
        starts = [end - len(group) for end, group in zip(ends, groups, strict=True)]
        return [
            group
            for start, group in zip(starts, groups, strict=True)
            if start * self.count // ends[-1] == self.number - 1
        ]

    @property
    def log(self) -> str:
        """The name of the log, which no other share writes to."""
        return "log.jsonl" if self.count == 1 else f"log-{self.number}-of-{self.count}.jsonl"


WHOLE = Shard(1, 1)


def parse(text: str) -> Shard:
    """What `--shard` says: "3/12".

    Raises
    ------
    InvalidRequest
    """
    found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InvalidRequest(f"The shard {text!r} is none: give one of 1/12, 2/12 and so on to 12/12.")
    return Shard(int(found[1]), int(found[2]))


def of_array(environment: Mapping[str, str]) -> Shard | None:
    """The share of this task of a SLURM job array, whatever number the array starts at; `None` outside one.

    Raises
    ------
    InvalidRequest
        The numbers of the array have gaps, so that nothing tells which share this is.
    """
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")
    if names[0] not in environment:
        return None
    try:
        number, first, last, count = (int(environment[name]) for name in names)
        step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
    except (KeyError, ValueError) as error:
        raise InvalidRequest(
            f"SLURM says nothing usable about its job array ({error}): give --shard."
        ) from error
    if (
        step < 1
        or not first <= number <= last
        or first + step * (count - 1) != last
        or (number - first) % step
    ):
        raise InvalidRequest(
            f"The job array has {count} tasks from {first} to {last} with gaps between them: give --shard "
            f"yourself, such as --shard $SLURM_ARRAY_TASK_ID/{last}."
        )
    return Shard((number - first) // step + 1, count)
