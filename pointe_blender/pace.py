"""How long a run will take here, by the pace of the runs that were made on this computer.

A run leaves seconds per multiply-add for each of its stages; `pipeline.costs` says how many another one has.
"""

from __future__ import annotations

import logging
import math
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import keeping, preferences

if TYPE_CHECKING:
    from .pipeline.request import Request, Result

KEPT = 200  # runs
# Whose pace a stage has that was never measured: that of the same networks at the same kind of work.
LIKE = {"densify": "upsample", "upsample": "densify", "rank": "condition"}
_log = logging.getLogger(__name__)
_known: dict[Path, tuple[Run, ...]] = {}


@dataclass(frozen=True)
class Run:
    """How fast a run was.

    Attributes
    ----------
    computer
        Its name: homes may lie on a network.
    models, device, quality, count
        As they were asked for; the device also as it was found.
    stages
        Seconds per multiply-add.
    """

    computer: str
    models: str
    device: str
    quality: str
    count: int
    stages: dict[str, float]

    def is_like(self, other: Run) -> bool:
        """Whether only their paces may differ."""
        return replace(self, stages={}) == replace(other, stages={})


def remember(request: Request, result: Result) -> None:
    """Learn from a run that has ended. A folder that takes no files costs the next session the knowledge."""
    from .pipeline.costs import costs

    spent, work = result.seconds, costs(request)
    stages = {name: spent[name] / work[name] for name in work if name in spent and work[name] > 0}
    if not stages:
        return
    known = _read()  # anew: another Blender may have added its own
    for device in dict.fromkeys((request.device, result.device)):
        new = Run(platform.node(), request.models, device, request.quality, request.count, stages)
        known = _with(new, known)
    _known[file()] = known
    try:
        keeping.write(file(), [asdict(run) for run in known])
    except OSError as error:
        _log.warning("How long this took is not remembered: %s", error)


def seconds(request: Request) -> float | None:
    """About how long a run will take; `None` where none like it was made on this computer.

    What was made with the same models on the same device counts; of that, first what had the same quality and
    then the nearest number of variants.
    """
    from .pipeline.costs import costs

    place = file()
    if place not in _known:  # panels ask at every redraw
        _known[place] = _read()
    same = platform.node(), request.models, request.device
    alike = [run for run in _known[place] if (run.computer, run.models, run.device) == same]
    alike.sort(key=lambda run: (run.quality != request.quality, abs(math.log(run.count / request.count))))
    total = 0.0
    for stage, work in costs(request).items():
        names = stage, LIKE.get(stage)
        pace = next((run.stages[name] for name in names for run in alike if name in run.stages), None)
        if pace is None:
            return None
        total += pace * work
    return total


def spoken(seconds: float) -> str:
    """As exact as a guess can be: "9 s", "30 s", "12 min", "1.5 h"."""
    if seconds < 9.5:
        return f"{max(1, round(seconds))} s"
    if seconds < 57.5:
        return f"{5 * round(seconds / 5)} s"
    if seconds < 59.5 * 60:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 1800) / 2:g} h"


def forget() -> None:
    """The file is gone, or may be another one."""
    _known.clear()


def file() -> Path:
    """Where the paces are kept."""
    return preferences.user_folder() / "pace.json"


def _with(new: Run, known: Iterable[Run]) -> tuple[Run, ...]:
    """The newest first; stages that it did not have keep the pace that they had."""
    before = next((run.stages for run in known if run.is_like(new)), {})
    others = (run for run in known if not run.is_like(new))
    return (replace(new, stages={**before, **new.stages}), *others)[:KEPT]


def _read() -> tuple[Run, ...]:
    """All that is known, the newest first; what is damaged is left out."""
    found = keeping.read(file())
    return tuple(run for entry in found if (run := _run(entry))) if isinstance(found, list) else ()


def _run(entry: Any) -> Run | None:
    """An entry of the file, if it is one."""
    match entry:
        case {
            "computer": str(),
            "models": str(),
            "device": str(),
            "quality": str(),
            "count": int(count),
            "stages": dict(stages),
        } if count > 0 and all(_is_pace(value) for value in stages.values()):
            return Run(**{field.name: entry[field.name] for field in fields(Run)})
    return None


def _is_pace(value: Any) -> bool:
    return isinstance(value, float) and 0.0 <= value < math.inf
