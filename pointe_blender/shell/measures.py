"""The metrics by name: what each needs, its unit, which way is better; docs/evaluation.md defines them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from ..pipeline.metrics.statistics import Interval, of_share, over_seeds
from .evidence import Evidence

Need = Literal["mesh", "both", "reference", "prompts", "pictures"]


@dataclass(frozen=True)
class Each:
    """A value for every object that has one, by its index; `share`: they are 0 or 1."""

    values: dict[int, float]
    share: bool = False


@dataclass(frozen=True)
class Whole:
    """A value of a set of objects, given by their indices."""

    value: Callable[[Sequence[int]], float]


@dataclass(frozen=True)
class Measure:
    """A metric.

    Attributes
    ----------
    title
        Its name in the table.
    unit
        Empty for plain numbers; values are fractions where it begins with %.
    better
        "higher", "lower", or the best value.
    needs
        What there has to be.
    find
        Computes it.
    """

    title: str
    unit: str
    better: str
    needs: tuple[Need, ...]
    find: Callable[[Evidence], Each | Whole]


def _surface(field: str, share: bool = False) -> Callable[[Evidence], Each | Whole]:
    return lambda e: Each({i: own[field] for i, own in e.surfaces.items()}, share)


def _nearest(e: Evidence) -> Each:
    return Each(dict(enumerate(e.between.amin(1).tolist())))


def _coverage(e: Evidence) -> Whole:
    from ..pipeline.metrics.sets import coverage

    return Whole(lambda members: coverage(e.between[e.drawn(members)][:, e.chosen]))


def _matching(e: Evidence) -> Whole:
    from ..pipeline.metrics.sets import matching_distance

    return Whole(lambda members: matching_distance(e.between[e.drawn(members)][:, e.chosen]))


def _neighbours(e: Evidence) -> Whole:
    from ..pipeline.metrics.sets import nearest_neighbour_accuracy

    def accuracy(members: Sequence[int]) -> float:
        own = e.drawn(members)
        return nearest_neighbour_accuracy(e.between[own][:, e.chosen], e.within(own), e.within_references)

    return Whole(accuracy)


def _frechet(e: Evidence) -> Whole:
    from ..pipeline.metrics.scores import frechet_distance

    def distance(members: Sequence[int]) -> float:
        if min(len(members), len(e.reference_features)) < 2:
            return float("nan")
        return frechet_distance(e.features[0][list(members)], e.reference_features)

    return Whole(distance)


def _inception(e: Evidence) -> Whole:
    from ..pipeline.metrics.scores import inception_score

    return Whole(lambda members: inception_score(e.features[1][list(members)]))


MEASURES: dict[str, Measure] = {
    "p-fid": Measure("P-FID", "", "lower", ("reference",), _frechet),
    "p-is": Measure("P-IS", "", "higher", (), _inception),
    "r-precision": Measure(
        "CLIP R-Precision", "%", "higher", ("prompts", "pictures"), lambda e: Each(e.precision)
    ),
    "psnr": Measure("PSNR, mesh to cloud", "dB", "higher", ("both", "pictures"), lambda e: Each(e.likeness)),
    "chamfer": Measure("Chamfer distance to the nearest", "% of size", "lower", ("reference",), _nearest),
    "coverage": Measure("Coverage", "%", "higher", ("reference",), _coverage),
    "mmd": Measure("MMD", "% of size", "lower", ("reference",), _matching),
    "1-nna": Measure("1-NNA", "%", "50", ("reference",), _neighbours),
    "closed": Measure("Closed meshes", "%", "higher", ("mesh",), _surface("closed", share=True)),
    "self-intersections": Measure(
        "Self-intersecting triangles", "a mesh", "lower", ("mesh",), _surface("self_intersections")
    ),
    "components": Measure("Components", "a mesh", "1", ("mesh",), _surface("components")),
}
USUAL = ("chamfer", "coverage", "mmd", "1-nna", "closed", "self-intersections", "components")


@dataclass(frozen=True)
class Figure:
    """What a metric found.

    Attributes
    ----------
    value, low, high
        With its 95 % confidence interval, in the metric's unit; not numbers where there is none.
    over
        What the interval is over: "seeds" or "objects".
    count
        How many of them.
    """

    value: float
    low: float
    high: float
    over: Literal["seeds", "objects"]
    count: int


def measured(measure: Measure, evidence: Evidence) -> Figure:
    """Compute one metric and its interval: over seeds where there are several sets, else over objects.

    A single set says nothing of how far a value of the whole set is to be trusted.
    """
    found = measure.find(evidence)
    if isinstance(found, Each):
        sets = [[i for i in members if i in found.values] for members in evidence.found.sets]
        sets = [members for members in sets if members]
        of_set: Callable[[Sequence[int]], float] = partial(_mean, found.values)
    else:
        sets, of_set = evidence.found.sets, found.value
    if len(sets) > 1:
        return _figure(measure, _over([of_set(members) for members in sets]), "seeds")
    (members,) = sets
    if isinstance(found, Each):
        own = [found.values[i] for i in members]
        interval = of_share(round(sum(own)), len(own)) if found.share else _over(own)
    else:
        interval = Interval(of_set(members), math.nan, math.nan, len(members))
    return _figure(measure, interval, "objects")


def _over(values: Sequence[float]) -> Interval:
    """Student's interval; none where a value is infinite or no number."""
    if all(map(math.isfinite, values)):
        return over_seeds(values)
    return Interval(float(np.mean(values)), math.nan, math.nan, len(values))


def _figure(measure: Measure, interval: Interval, over: Literal["seeds", "objects"]) -> Figure:
    """In the metric's unit, the interval cut to what it can be: none is below 0, no share above 100 %."""
    scale = 100.0 if measure.unit.startswith("%") else 1.0
    low, high = max(scale * interval.low, 0.0), scale * interval.high
    if measure.unit == "%":
        high = min(high, 100.0)
    return Figure(scale * interval.mean, low, high, over, interval.count)


def _mean(values: dict[int, float], members: Sequence[int]) -> float:
    return float(np.mean([values[i] for i in members]))
