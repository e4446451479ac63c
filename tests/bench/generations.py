"""From a vector or a picture to a cloud: the official program and this one in turns, then whole runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch

from pointe_blender.pipeline import PointCloud, Request, Result, generate
from pointe_blender.pipeline.conditioning import Clip
from pointe_blender.pipeline.models import ARCHITECTURES, CHECKPOINTS, MODEL_SETS, ModelSet
from pointe_blender.pipeline.weights import Folders

from .reference import Official
from .table import OFFICIAL, Row
from .timing import Laps, Turns, race, repeats, together

QUALITIES = ("exact", "high", "fast")
STAGES: tuple[Literal["base", "upsample"], ...] = ("base", "upsample")
OURS = "ours"
SEED = 4


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes
    ----------
    steps
        Of a race, whose evaluations stand for those of a whole stage.
    whole
        Whether races have all steps instead.
    times
        Repetitions of what is quick.
    """

    steps: int
    whole: bool
    times: int


@dataclass
class Timed:
    """What one model set takes on one device.

    Attributes
    ----------
    laps
        Seconds of an evaluation, by program and stage; this one's at quality "exact".
    whole
        Seconds of each stage in whole runs, by quality.
    apart
        Root mean square distance of this program's exact points to the official ones from the same noise.
    """

    laps: dict[str, Laps] = field(default_factory=dict)
    whole: dict[str, dict[str, float]] = field(default_factory=dict)
    apart: float | None = None


def asked(models: ModelSet, device: str, **settings: Any) -> Request:
    """A request that every program can be given: a unit vector, or a picture where no vector is taken."""
    draws = np.random.default_rng(0)
    request = Request(models=models.name, device=device, output="cloud", seed=SEED)
    if models.condition == "vector":
        width = ARCHITECTURES[CHECKPOINTS[models.base].architecture].config["condition_dim"]
        vector = draws.standard_normal(width).astype(np.float32)
        request = replace(request, vector=vector / np.linalg.norm(vector))
    else:
        request = replace(request, image=draws.integers(0, 256, (224, 224, 3), np.uint8))
    return replace(request, **settings)


def upsampled(models: ModelSet, device: str, quality: Any) -> Request:
    """A request of one pass of the upsampler alone, in two steps."""
    draws = np.random.default_rng(0)
    count = models.base_stage.points + models.upsample_stage.points
    points = draws.uniform(-0.5, 0.5, (count, 3)).astype(np.float32)
    cloud = PointCloud(points, draws.random((count, 3), np.float32))
    common = {"models": models.name, "device": device, "quality": quality, "output": "cloud"}
    return Request(cloud=cloud, points=count + 1, steps=2, **common)


def run(request: Request, folders: Folders) -> Result:
    """To the end."""
    *_, last = generate(request, folders=folders)
    assert last.result is not None
    return last.result


def turns(request: Request, folders: Folders, keep: Callable[[Result], None]) -> Turns:
    """This program, pausing where the official one does: after one evaluation, then after every second."""
    stage, evaluations = "", 0
    for update in generate(request, folders=folders):
        if update.result is not None:
            keep(update.result)
        if update.stage not in (*STAGES, "densify"):
            continue
        if update.stage != stage:  # it begins: nothing is evaluated yet
            stage, evaluations = update.stage, 0
            continue
        evaluations += 1
        if evaluations % 2:
            yield stage, min(evaluations, 2)


def measure(name: str, device: str, folders: Folders, official: Official | None, scale: Scale) -> Timed:
    """Race the programs before the whole runs, and the two that matter once more after them."""
    models, timed = MODEL_SETS[name], Timed()
    small = models.base_stage.steps < 64  # a whole run takes seconds
    if small:
        _run_whole(timed, models, device, folders, QUALITIES, scale.times)
    else:
        races = [_race(timed, models, device, folders, official, scale)]
        _run_whole(timed, models, device, folders, ("high", "fast"), scale.times)
        if not scale.whole:
            races.append(_race(timed, models, device, folders, official, scale, again=True))
        timed.laps = together(races)
    return timed


def _race(
    timed: Timed,
    models: ModelSet,
    device: str,
    folders: Folders,
    official: Official | None,
    scale: Scale,
    again: bool = False,
) -> dict[str, Laps]:
    """Quality "exact" and the official program, evaluation by evaluation, from the same noise."""
    steps = models.base_stage.steps if scale.whole else 2 if again else scale.steps
    clouds: dict[str, np.ndarray] = {}
    request = asked(models, device, quality="exact", steps=steps)
    programs = {OURS: turns(request, folders, lambda result: clouds.update({OURS: result.clouds[0].points}))}
    if official is not None:
        condition = _condition(request, models, folders)
        for program in (OFFICIAL,) if again else official.programs:

            def keep(points: np.ndarray, program: str = program) -> None:
                clouds[program] = points[:, :3]

            programs[program] = official.sampling(program, models, condition, steps, SEED, keep)
    laps = race(programs, device)
    if device == "cpu" and official is not None:  # elsewhere the official program draws on the device
        apart = clouds[OURS] - clouds[OFFICIAL]
        timed.apart = float(np.sqrt(np.mean(np.square(apart))))
    return laps


def _condition(request: Request, models: ModelSet, folders: Folders) -> dict[str, torch.Tensor]:
    """What the official program is conditioned on, the same as this one."""
    if request.vector is not None:
        return {"embeddings": torch.from_numpy(request.vector)[None].to(request.device)}
    assert request.image is not None
    return {"images": Clip.load(models.clip, request.device, folders).grid([request.image])}


def _run_whole(
    timed: Timed, models: ModelSet, device: str, folders: Folders, qualities: tuple[str, ...], times: int
) -> None:
    """Whole runs as users get them, networks in memory: the median seconds of each stage."""
    found: dict[str, list[dict[str, float]]] = {quality: [] for quality in qualities}
    for quality in qualities:  # loads and warms up
        run(asked(models, device, quality=quality, steps=2), folders)
    for _ in range(times):
        for quality in qualities:
            longest = max((sum(each.values()) for each in found[quality]), default=0.0)
            if len(found[quality]) < repeats(times, longest):
                seconds = run(asked(models, device, quality=quality), folders).seconds
                found[quality].append({stage: seconds[stage] for stage in STAGES})
    for quality, runs in found.items():
        timed.whole[quality] = {stage: statistics.median(each[stage] for each in runs) for stage in STAGES}


def evaluations(models: ModelSet) -> dict[str, int]:
    """Of each stage of the released sampler: two a step, one in the last."""
    return {"base": 2 * models.base_stage.steps - 1, "upsample": 2 * models.upsample_stage.steps - 1}


def rows(timed: Timed, name: str, device: str, scale: Scale) -> Iterator[Row]:
    """Of each stage and quality, of the whole way, and of eight variants."""
    models = MODEL_SETS[name]
    counts = evaluations(models)
    way = f"{'text' if models.condition == 'vector' else 'image'} → cloud"
    average, word = (statistics.fmean, "mean") if scale.whole else (statistics.median, "median")
    derived = {
        program: {stage: counts[stage] * average(seconds) for stage, seconds in laps.items()}
        for program, laps in timed.laps.items()
    }
    official = {program: stages for program, stages in derived.items() if program != OURS}
    taken: dict[str, Mapping[str, float]] = {**timed.whole}
    if OURS in derived:
        taken["exact"] = derived[OURS]
    for quality in (quality for quality in QUALITIES if quality in taken):
        how = f"{word} evaluation × {counts['base']}" if quality not in timed.whole else "whole runs"
        if official:
            how += f"; official: {word} × {counts['base']}" if quality in timed.whole else " for all"
        for stage in (*STAGES, way):
            stages = STAGES if stage == way else (stage,)
            yield Row(
                "Sampling",
                stage,
                name,
                device,
                quality,
                sum(taken[quality][each] for each in stages),
                references={
                    program: sum(found[each] for each in stages) for program, found in official.items()
                },
                how=how,
            )
