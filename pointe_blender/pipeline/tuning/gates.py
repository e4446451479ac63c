"""Quality gates: what a schedule has to show before its level may use it.

high: from the same noise, no farther from the fine ODE than the released sampler without churn is, but for
`CLOSE`. fast: the clouds are those of "exact" in distribution. The search, the benchmark and the tests ask
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from statistics import fmean, pstdev

import torch
from torch import Tensor

from ..metrics.sets import chamfer, chamfer_between, coverage, matching_distance
from ..models import ModelSet, Stage
from ..point_e.diffusion import GaussianDiffusion
from ..schedules import stage_of
from .cases import SETS, Case, Level, StageName, is_trained, set_cases, stage_case, whole

CLOSE = 0.01  # in scaled channels, where an object is about 2 long
SCORE = 1.0  # points of a hundred
BAND = 2.0  # standard deviations of exact against itself
SAME = 0.1  # rms below which two clouds are the same sample
COMPARED = 128  # points of a cloud in the distances between sets


@dataclass(frozen=True)
class Gate:
    """One thing that was asked of a schedule.

    Attributes
    ----------
    value, limit
        Passed is what is not above the limit.
    detail
        What was compared, for people.
    """

    name: str
    value: float
    limit: float
    detail: str

    @property
    def passed(self) -> bool:
        return self.value <= self.limit

    @property
    def room(self) -> float:
        """How much of the limit is left, from 1 down to 0 and below it where the gate is not passed."""
        return 1 - self.value / self.limit


def high(found: Tensor, official: Tensor, fine: Tensor) -> tuple[Gate, Gate]:
    """Whether a schedule makes the fine ODE's samples as well as the released sampler without churn does.

    Parameters
    ----------
    found, official, fine
        (P, 6, N) in scaled channels, all from the same noise.

    Returns
    -------
    tuple[Gate, Gate]
        How much larger than the released sampler's the distance to the fine ODE is, averaged over the clouds:
        root mean square over points and channels, and Chamfer distance of the places.
    """
    apart = [_rms(clouds, fine) for clouds in (found, official)]
    alike = [float((rms < SAME).float().mean()) for rms in apart]
    same = f"{alike[0]:.0%} the same sample, of the released {alike[1]:.0%}"
    names = ("rms to the fine ODE", "Chamfer distance to the fine ODE")
    distances = [_places_apart(clouds, fine) for clouds in (found, official)]
    pairs = zip((float(rms.mean()) for rms in apart), distances, strict=True)
    rms, distance = (
        Gate(name, ours - theirs, CLOSE, f"{ours:.4f}, the released sampler {theirs:.4f}; {same}")
        for name, ours, theirs in zip(names, *pairs, strict=True)
    )
    return rms, distance


def fast(found: Tensor, exact: Tensor, right: tuple[Tensor, Tensor]) -> tuple[Gate, Gate, Gate, Gate]:
    """Whether a schedule's clouds have the distribution of the clouds of "exact".

    Parameters
    ----------
    found, exact
        (S, P, 6, N) in scaled channels: S sets with a seed each, the same for both, of P prompts each.
    right
        Of found and of exact, (S, P, 2) bool: whether shape and colour are right.

    Returns
    -------
    tuple[Gate, Gate, Gate, Gate]
        By how many points the scores of shape and of colour are lower; how far coverage and minimum matching
        distance are from the middle of their bands. A band holds what each set of exact says of each other
        one, within `BAND` standard deviations; the schedule's sets are compared with the same others.
        Distances are Chamfer distances in all six channels.
    """
    clouds = exact.shape[0] * exact.shape[1]
    ours, theirs = (100 * answers.float().mean((0, 1)) for answers in right)
    scores = [
        Gate(
            f"{name} score below exact",
            float(theirs[i] - ours[i]),
            max(SCORE, 100 / clouds),  # a score has no finer steps than a cloud
            f"{ours[i]:.1f} of 100, exact {theirs[i]:.1f}, {clouds} clouds",
        )
        for i, name in enumerate(("shape", "colour"))
    ]
    pairs = list(permutations(range(len(exact)), 2))
    between = {(i, j): _between(exact[i], exact[j]) for i, j in pairs}
    across = {(i, j): _between(found[i], exact[j]) for i, j in pairs}
    bands = []
    step = 1 / exact.shape[1]  # coverage has no finer steps than a cloud of a set
    for name, measure, least in (("coverage", coverage, step), ("matching distance", matching_distance, 0.0)):
        itself = [measure(distances) for distances in between.values()]
        value, middle = fmean(measure(distances) for distances in across.values()), fmean(itself)
        width = max(BAND * pstdev(itself), least)
        bands.append(
            Gate(
                f"{name} from exact's",
                abs(value - middle),
                width,
                f"{value:.4f}, exact {middle:.4f} ± {width:.4f}",
            )
        )
    return scores[0], scores[1], bands[0], bands[1]


class High:
    """The gate of "high" on one case; what schedules are held against is sampled once."""

    def __init__(self, case: Case, seed: int = 0) -> None:
        self.case, self.seed = case, seed
        still = replace(case.stage, sampler="heun", s_churn=0.0)
        self.official = case.sample(replace(still, steps=64), seed)
        self.fine = case.sample(fine_ode(still), seed)

    def __call__(self, stage: Stage) -> tuple[Gate, ...]:
        found = self.case.sample(replace(stage, points=self.case.stage.points), self.seed)
        return _named(self.case.name, high(found, self.official, self.fine))


class Fast:
    """The gate of "fast" on a case for each set; the clouds of exact are sampled once."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = cases
        self.exact = self._sampled(cases[0].stage)
        self.right = self._right(self.exact)

    def __call__(self, stage: Stage) -> tuple[Gate, ...]:
        found = self._sampled(replace(stage, points=self.cases[0].stage.points))
        gates = fast(found, self.exact, (self._right(found), self.right))
        return _named(self.cases[0].name, gates)

    def _sampled(self, stage: Stage) -> Tensor:
        return torch.stack([case.sample(stage, seed) for seed, case in enumerate(self.cases)])

    def _right(self, clouds: Tensor) -> Tensor:
        return torch.stack([case.right(each) for case, each in zip(self.cases, clouds, strict=True)])


def fine_ode(stage: Stage) -> Stage:
    """512 steps of Heun's method, in fractional levels down to the smallest that was trained."""
    lowest = stage.sigma_min
    if stage.diffusion != "edm":
        lowest = max(lowest, float(GaussianDiffusion(stage.diffusion).sigmas[0]))
    return replace(stage, sampler="heun", s_churn=0.0, steps=512, whole_levels=False, sigma_min=lowest)


def gates_of(models: ModelSet, level: Level, device: str = "cpu", draw: int = 2) -> tuple[Gate, ...]:
    """The gates of a set's present schedules, on a draw that the search does not use.

    "high" is asked of each stage, and so is "fast" where an exact denoiser stands in for networks that are
    not here. Where they are, "fast" is asked of what both stages make together.
    """
    if level == "fast" and is_trained(models):
        return _whole(models, device, draw)
    names: tuple[StageName, ...] = ("base", "upsample")
    found: list[Gate] = []
    for name in names:
        test: High | Fast
        if level == "high":
            test = High(stage_case(models, name, device, draw, level), draw)
        else:
            test = Fast(set_cases(models, name, device, draw))
        found += test(stage_of(models, name, level))
    return tuple(found)


def _whole(models: ModelSet, device: str, draw: int) -> tuple[Gate, ...]:
    """The gate of "fast" on what both stages make."""
    (found, right), (exact, exact_right) = (
        map(
            torch.stack,
            zip(*(whole(models, quality, device, draw, seed) for seed in range(SETS)), strict=True),
        )
        for quality in ("fast", "exact")
    )
    return _named(models.name, fast(found, exact, (right, exact_right)))


def _named(name: str, gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
    return tuple(replace(gate, name=f"{name}: {gate.name}") for gate in gates)


def _rms(a: Tensor, b: Tensor) -> Tensor:
    """How far each cloud is from its counterpart, point by point: (P,)."""
    return (a - b).square().mean((1, 2)).sqrt()


def _places_apart(a: Tensor, b: Tensor) -> float:
    return float(chamfer(a[:, :3].transpose(1, 2), b[:, :3].transpose(1, 2)).mean())


def _between(a: Tensor, b: Tensor) -> Tensor:
    """(G, 6, N) and (R, 6, N) -> (G, R)."""
    first, second = (clouds[..., :COMPARED].transpose(1, 2) for clouds in (a, b))
    return chamfer_between(first, second)
