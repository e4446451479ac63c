"""Find schedules.json: for every stage and level the cheapest schedule that passes the level's gates.

    python -m pointe_blender.pipeline.tuning.search [--models NAME ...] [--level high|fast ...] [--write]

Run it again when better weights are there. A released set is tried with its own networks where they are
installed, else with an exact denoiser. What is found on one draw of prompts and noise has to pass on another,
and that draw is reported.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from math import ceil
from typing import Any

from ..costs import evaluations
from ..models import MODEL_SETS, ModelSet, Stage
from ..run import usable_device
from ..schedules import FILE, SCHEDULES
from .cases import Level, StageName, set_cases, stage_case
from .gates import Fast, Gate, High, fine_ode

ROWS = ("starter", "official-text", "official-40M")  # a set for each row of schedules.json
LEVELS: tuple[Level, ...] = ("high", "fast")
STAGES: tuple[StageName, ...] = ("base", "upsample")
FIELDS = (
    "sampler", "order", "steps", "sigma_min", "sigma_max", "rho", "guided_above", "half_below", "s_churn",
    "whole_levels",
)  # fmt: skip
ALWAYS = 1e9  # above every noise level; JSON has no infinity
THRESHOLDS = {"guided_above": (1.0, 0.5, 0.25), "half_below": (ALWAYS, 1.0, 0.5, 0.25, 0.125)}
HALF_COST = 0.6  # of an evaluation in half precision, as measured on a CPU
# Part of a limit that has to be left: other draws differ, and now and then a cloud becomes another sample.
MARGIN: dict[Level, float] = {"high": 0.6, "fast": 0.15}
CANDIDATES: dict[Level, int] = {"high": 6, "fast": 2}  # of so many steps, how many the gates are asked of
FAR = -15.0  # room at the gate of "high" below which the gate of "fast" need not be asked
STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 28, 32, 40)
FEWEST = 10  # from pure noise; with fewer, networks jump farther than an exact denoiser can tell of
SOLVERS = ({"sampler": "unipc", "order": 2}, {"sampler": "unipc", "order": 3}, {"sampler": "dpmpp"})
RHOS = (7.0, 10.0, 20.0, 40.0, 80.0)
# The ends of the noise, as parts of the stage's own and of the smallest that was trained.
HIGHEST = {"high": (1.0,), "fast": (1.0, 0.5, 0.25, 0.1)}
LOWEST = {"high": (1.0, 1.5), "fast": (1.0, 2.0, 3.0)}


class Trial:
    """One stage of a model set on one draw of prompts and noise: what its schedules are held against."""

    def __init__(self, models: ModelSet, name: StageName, device: str, draw: int) -> None:
        self._of = models, name, device, draw
        self._case = stage_case(*self._of, "high")
        self.own = self._case.stage

    @cached_property
    def _high(self) -> High:
        return High(self._case, self._of[-1])

    @cached_property
    def _fast(self) -> Fast:
        return Fast(set_cases(*self._of))

    def gates(self, stage: Stage, level: Level) -> tuple[Gate, ...]:
        """What a level's gates say of a schedule."""
        return (self._high if level == "high" else self._fast)(stage)

    def room(self, stage: Stage, level: Level) -> float:
        """What is left of the limit that is nearest, see `Gate.room`."""
        return min(gate.room for gate in self.gates(stage, level))


def axes(own: Stage, level: Level) -> list[list[dict[str, Any]]]:
    """What can be changed about a schedule of so many steps, one thing after the other."""
    lowest = fine_ode(own).sigma_min
    ends = [{"sigma_min": ceil(lowest * part * 1e4) / 1e4} for part in LOWEST[level]]
    # Where a stage begins with coarse points, they are as rough as they are.
    begins = [{"sigma_max": own.sigma_max * part} for part in HIGHEST[level] if own.start == "noise"]
    return [list(SOLVERS), [{"rho": rho} for rho in RHOS], begins, ends]


def cost(stage: Stage) -> float:
    """Evaluations in full precision without guidance that take as long as all of a schedule's own."""
    return sum(
        branches * (HALF_COST if sigma < stage.half_below else 1.0) for sigma, branches in evaluations(stage)
    )


def cheapest(level: Level, searched: Trial, confirming: Trial) -> Stage:
    """The schedule of fewest steps that passes on both draws, then made as thrifty as both allow.

    Raises
    ------
    LookupError
        Nothing in the grid passes.
    """
    stage = replace(searched.own, s_churn=0.0, whole_levels=False)
    for axis in axes(searched.own, level):
        stage = replace(stage, **(axis or [{}])[0])
    for steps in (n for n in STEPS if n >= FEWEST or stage.start == "coarse"):
        # Each number begins where the one before ended. What takes many clouds is asked of the best.
        tried = _tried(replace(stage, steps=steps), level, searched)
        best, stage = tried[0]
        print(f"  {steps:2} steps: {best:.2f} of the limit left by {_told(stage)}", flush=True)
        for room, candidate in tried[: CANDIDATES[level]]:
            if level == "fast" and room > FAR:
                room = searched.room(candidate, level)
            if room >= MARGIN[level]:
                other = confirming.room(candidate, level)
                print(f"     {room:.2f} and {other:.2f} left by {_told(candidate)}", flush=True)
                if other >= MARGIN[level]:
                    return _thrifty(candidate, level, searched, confirming)
    raise LookupError(
        f"No schedule of up to {STEPS[-1]} steps passes the gates of {level!r}: widen the search."
    )


def _tried(stage: Stage, level: Level, searched: Trial) -> list[tuple[float, Stage]]:
    """Schedules of as many steps along one axis after the other, the closest to the fine ODE first."""
    rooms = {stage: searched.room(stage, "high")}
    for axis in axes(searched.own, level):
        best = max(rooms, key=rooms.__getitem__)
        for fields in axis:
            other = replace(best, **fields)
            rooms[other] = rooms[other] if other in rooms else searched.room(other, "high")
    return sorted(((room, stage) for stage, room in rooms.items()), key=lambda pair: -pair[0])


def _thrifty(stage: Stage, level: Level, searched: Trial, confirming: Trial) -> Stage:
    """Guidance and full precision only above the highest noise levels at which both draws pass.

    Guidance is what makes a network's clouds clear, and an exact denoiser's are clear without it: so it may
    be dropped only where every cloud stays the same sample, whatever the level.
    """
    least = searched.room(stage, "high") - 1  # no farther from the fine ODE than a whole limit
    fields = ["guided_above"] if stage.guided else []
    for field in [*fields, "half_below"]:
        for threshold in THRESHOLDS[field]:
            change: dict[str, Any] = {field: threshold}
            thriftier = replace(stage, **change)
            if field == "guided_above" and searched.room(thriftier, "high") < least:
                continue
            if min(trial.room(thriftier, level) for trial in (searched, confirming)) >= MARGIN[level]:
                stage = thriftier
                break
    return stage


def _told(stage: Stage) -> str:
    order = f" order {stage.order}" if stage.sampler == "unipc" else ""
    return f"{stage.sampler}{order}, rho {stage.rho:g}, {stage.sigma_max:g} to {stage.sigma_min:g}"


def _line(title: str, stage: Stage, own: Stage) -> str:
    """A row of the table that is printed in the end."""
    half = "always" if stage.half_below == ALWAYS else f"below {stage.half_below:g}"
    what = f"{stage.steps} steps, {_told(stage)}, guided above {stage.guided_above:g}, half precision {half}"
    return f"| {title} | {cost(stage):.1f} of {cost(own):.0f} | {what} |"


def layout(table: dict[str, dict[str, dict[str, dict[str, Any]]]]) -> str:
    """schedules.json: a schedule a line."""
    sets = []
    for row, stages in table.items():
        rows = []
        for name, levels in stages.items():
            lines = ",\n".join(f'      "{level}": {json.dumps(fields)}' for level, fields in levels.items())
            rows.append(f'    "{name}": {{\n{lines}\n    }}')
        sets.append(f'  "{row}": {{\n' + ",\n".join(rows) + "\n  }")
    return "{\n" + ",\n".join(sets) + "\n}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, print, and write if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", action="append", choices=list(MODEL_SETS), help="one of each row")
    parser.add_argument("--stage", action="append", choices=STAGES, help="both")
    parser.add_argument("--level", action="append", choices=LEVELS, help="both")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true", help="put what is found into schedules.json")
    options = parser.parse_args(arguments)
    device = usable_device(options.device)
    rows: list[str] = []
    for models in (MODEL_SETS[name] for name in options.models or ROWS):
        for name in options.stage or STAGES:
            searched, confirming = (Trial(models, name, device, draw) for draw in (0, 1))
            for level in options.level or LEVELS:
                print(f"{models.schedule}, {name}, {level}", flush=True)
                begun = time.monotonic()
                stage = cheapest(level, searched, confirming)
                print(f"  found in {time.monotonic() - begun:.0f} s", flush=True)
                SCHEDULES[models.schedule][name][level] = {field: getattr(stage, field) for field in FIELDS}
                rows.append(_line(f"{models.schedule} {name}, {level}", stage, searched.own))
                rows += [f"| | | {gate.name}: {gate.detail} |" for gate in confirming.gates(stage, level)]
    print("\n".join(["", "| stage | cost, of exact | schedule and gates |", "|---|---|---|", *rows]))
    if options.write:
        FILE.write_text(layout(SCHEDULES), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
