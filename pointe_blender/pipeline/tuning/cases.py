"""What schedules are tried on: a stage with networks, conditions and a judge; trained ones and exact ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from random import Random
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .. import memory
from ..conditioning import Clip
from ..geometry import PointCloud
from ..models import ModelSet, Stage
from ..point_e import samplers
from ..point_e.diffusion import GaussianDiffusion, scale_channels, unscale_channels
from ..point_e.precision import half_precision
from ..point_e.samplers import Networks
from ..schedules import stage_of
from ..starter.data import Dataset, make
from ..starter.evaluate import SEED, Judge
from ..starter.world import draw_labels
from ..weights import default_folders, is_installed
from .analytic import COLORS, KINDS, surfaces

Level = Literal["high", "fast"]
StageName = Literal["base", "upsample"]

# How much a gate samples: clouds, or for "fast" the prompts of each of so many sets; their points are fewer
# than a stage makes, as the fine ODE takes a thousand evaluations.
TRAINED: dict[Level, dict[StageName, int]] = {
    "high": {"base": 3, "upsample": 2},
    "fast": {"base": 48, "upsample": 24},
}
EXACT: dict[Level, int] = {"high": 8, "fast": 32}
SETS = 3
POINTS = 256
EXACT_POINTS, EXACT_SURFACE = 128, 256
BATCH = 16  # clouds at a time
HALF_ERROR = 0.01  # of a released network's noise in bfloat16 on a CPU, relative to its deviation


@dataclass(frozen=True, eq=False)
class Case:
    """P clouds to be sampled by one stage.

    Attributes
    ----------
    stage
        As it is released, with the number of points tried here.
    count
        P.
    bind
        From rows and whether half precision is meant: the networks under these rows' conditions.
    right
        (P, 6, N) clouds in scaled channels -> (P, 2) bool: whether shape and colour are what was asked for.
    start
        (P, 6, N) coarse points in scaled channels to which noise is added, where the stage begins with them.
    """

    name: str
    stage: Stage
    count: int
    bind: Callable[[slice, bool], Networks]
    right: Callable[[Tensor], Tensor]
    start: Tensor | None = None
    device: str = "cpu"

    def sample(self, stage: Stage, seed: int) -> Tensor:
        """The clouds that a schedule makes, (P, 6, N) in scaled channels; equal seeds draw equal noise."""
        return torch.cat([self._batch(stage, seed, begin) for begin in range(0, self.count, BATCH)])

    def _batch(self, stage: Stage, seed: int, begin: int) -> Tensor:
        rows = slice(begin, min(begin + BATCH, self.count))
        shape = (rows.stop - rows.start, 6, stage.points)
        generator = torch.Generator().manual_seed(self.count * seed + begin)
        noise = partial(torch.randn, generator=generator)
        x = None
        if self.start is not None:
            x = self.start[rows] + stage.sigma_max * noise(torch.Size(shape))
        half = self.bind(rows, True) if stage.half_below else None
        steps = samplers.sample(
            stage, self.bind(rows, False), shape, half=half, noise=noise, device=self.device, x=x
        )
        *_, (_, cloud) = steps
        return scale_channels(cloud).cpu()


def analytic(
    stage: Stage,
    given: Literal["kind", "shape"],
    count: int,
    points: int = EXACT_POINTS,
    surface: int = EXACT_SURFACE,
    draw: int = 0,
) -> Case:
    """A released stage with the exact denoiser of `surface` points on each of 16 shapes.

    Parameters
    ----------
    given
        What the condition tells: the kind, as a prompt does, or the shape, as a coarse cloud does.
    draw
        Another draw has other shapes of the same kinds.
    """
    world = surfaces(surface)
    among = world.of_kind(torch.arange(count) % len(KINDS))
    if given == "shape":
        chosen = torch.randint(among.shape[1], (count, 1), generator=torch.Generator().manual_seed(draw))
        among = among.gather(1, chosen)
    diffusion = GaussianDiffusion("linear" if stage.diffusion == "linear" else "cosine")

    def bind(rows: slice, half: bool) -> Networks:
        return world.networks(diffusion, among[rows], HALF_ERROR if half else 0.0)

    def right(clouds: Tensor) -> Tensor:
        """Whether the nearest shape is one of those asked for, and whether the colours are its own."""
        places, colors = (world.nearest(clouds, part) for part in (slice(0, 3), slice(3, 6)))
        return torch.stack(
            [(among == places[:, None]).any(1), colors % len(COLORS) == places % len(COLORS)], 1
        )

    guided = "guided" if stage.guided else "unguided"
    name = f"exact denoiser, {stage.diffusion}, {guided}"
    return Case(name, replace(stage, points=points), count, bind, right)


def base(models: ModelSet, count: int, device: str, draw: int) -> Case:
    """A set's base model under prompts or renders of the starter world that training never saw."""
    data = _drawn(count, draw)
    stage = replace(models.base_stage, points=POINTS)
    seen = _condition(models, data, device)
    network = partial(_network, models.base, device)

    def bind(rows: slice, half: bool) -> Networks:
        networks: Networks = network(half).under(seen[rows], guided=stage.guided)
        return networks

    return Case(f"{models.name} base", stage, count, bind, partial(_right, data), device=device)


def upsample(models: ModelSet, count: int, device: str, draw: int, coarse: Tensor | None = None) -> Case:
    """A set's upsampler on coarse clouds (P, 6, M) in scaled channels, by default points of objects."""
    data = _drawn(count, draw)
    stage = replace(models.upsample_stage, points=POINTS)
    if coarse is None:
        coarse = scale_channels(_raw(data)[..., :POINTS])
    low_res = unscale_channels(coarse).to(device)
    seen = _condition(models, data, device) if stage.conditioned else None
    network = partial(_network, models.upsample, device)

    def bind(rows: slice, half: bool) -> Networks:
        embeddings = None if seen is None else seen[rows]
        networks: Networks = network(half).under(embeddings, low_res[rows], guided=stage.guided)
        return networks

    start = coarse if stage.start == "coarse" else None
    return Case(f"{models.name} upsampler", stage, count, bind, partial(_right, data), start, device)


def _network(name: str, device: str, half: bool) -> Any:
    """A trained network, in the half precision of this device or in float32."""
    precision = half_precision(device) if half else None
    return memory.load(name, device, default_folders(), precision or "float32")


@cache
def _drawn(count: int, draw: int) -> Dataset:
    """Objects of all kinds and colours, held-out pairs among them, with a caption and a render each."""
    labels = draw_labels(count, Random(SEED + draw), include_held_out=True)
    return make(labels, SEED + 10 + draw, views=1, wordings=1)


def _raw(data: Dataset) -> Tensor:
    """The objects' points as raw clouds, (P, 6, M)."""
    points = data.points.float().transpose(1, 2)
    return torch.cat([points[:, :3], 255 * points[:, 3:]], dim=1)


def _condition(models: ModelSet, data: Dataset, device: str) -> Tensor:
    """What a set's networks see of the objects: their captions where it takes text, else their renders."""
    clip = Clip.load(models.clip, device, default_folders())
    if "text" in models.takes:
        return clip.text([words[0] for words in data.captions])
    pictures = [views[0].numpy() for views in data.pictures]
    return clip.grid(pictures) if models.condition == "grid" else clip.image(pictures)


@cache
def _judge() -> Judge:
    return Judge(Random(SEED))


def _right(data: Dataset, clouds: Tensor) -> Tensor:
    """Whether kind and main colour of clouds in scaled channels are those of the objects: (P, 2) bool."""
    raw = unscale_channels(clouds).transpose(1, 2).numpy()
    made = [PointCloud(cloud[:, :3], np.clip(cloud[:, 3:] / 255, 0, 1)) for cloud in raw]
    kinds, colors, _ = _judge().answers(data.labels, made)
    return torch.tensor([kinds, colors]).T


def is_trained(models: ModelSet) -> bool:
    """Whether a set's own networks are here."""
    return all(is_installed(part.name, default_folders()) for part in models.checkpoints)


def stage_case(models: ModelSet, name: StageName, device: str, draw: int, level: Level) -> Case:
    """What a stage's schedules are tried on: the set's networks if they are here, else the exact denoiser."""
    if is_trained(models):
        make = base if name == "base" else upsample
        return make(models, TRAINED[level][name], device, draw)
    if name == "base":
        return analytic(models.base_stage, "kind", EXACT[level], draw=draw)
    return analytic(models.upsample_stage, "shape", EXACT[level], draw=draw)


def set_cases(models: ModelSet, name: StageName, device: str, draw: int) -> tuple[Case, ...]:
    """Cases for the sets of "fast", which differ as other seeds do: for upsamplers in the coarse clouds."""
    if name == "base":
        return (stage_case(models, name, device, draw, "fast"),) * SETS
    draws = range(SETS * draw, SETS * (draw + 1))
    return tuple(stage_case(models, name, device, each, "fast") for each in draws)


def whole(models: ModelSet, quality: str, device: str, draw: int, seed: int) -> tuple[Tensor, Tensor]:
    """What both stages make: (P, 6, 2 · POINTS) in scaled channels, and what is right of it, (P, 2)."""
    count = TRAINED["fast"]["base"]
    first = base(models, count, device, draw)
    coarse = first.sample(replace(stage_of(models, "base", quality), points=POINTS), seed)
    second = upsample(models, count, device, draw, coarse)
    rest = second.sample(replace(stage_of(models, "upsample", quality), points=POINTS), seed)
    clouds = torch.cat([coarse, rest], dim=2)
    return clouds, first.right(clouds)
