"""The story of a generation: condition → sample → mesh, told as progress that ends in a result."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from . import conditioning, memory, meshing, ranking, weights
from .errors import NoSurface, OutOfMemory
from .geometry import Mesh, PointCloud
from .models import Stage
from .needs import memory_needed
from .plan import Plan
from .point_e import samplers
from .point_e.diffusion import scale_channels
from .point_e.precision import half_precision
from .request import Progress, Request
from .run import Overflow, Run, usable_device

Made = TypeVar("Made")

SHOWN = 4096  # points of a preview at most


def carry_out(request: Request, folders: weights.Folders | None = None) -> Iterator[Progress]:
    """Carry out a valid request; see `pipeline.generate`."""
    plan = Plan.of(request)
    run = Run(plan, usable_device(request.device), folders or weights.default_folders())
    yield from _download(run)
    _make_room(run)
    clouds = (yield from _sample(run)) if request.cloud is None else (yield from _given(run))
    seeds = tuple(range(request.seed, request.seed + len(clouds)))
    rank = partial(_rank, clouds=clouds)
    scores = (yield from _retried(run, rank)) if plan.ranked else ()
    order = ranking.best_first(scores) if scores else range(len(clouds))
    clouds, seeds = tuple(clouds[i] for i in order), tuple(seeds[i] for i in order)
    try:
        meshes = (yield from _mesh(run, clouds)) if request.wants_mesh else ()
    except NoSurface as error:
        if request.output != "both" or request.cloud is not None:
            raise
        meshes = ()  # the clouds took long enough to be kept
        run.notices.append(str(error))
    yield run.ends(clouds, meshes, seeds, tuple(sorted(scores, reverse=True)))


def _download(run: Run) -> Iterator[Progress]:
    """Fetch what is not on this machine, counted in megabytes."""
    for name in run.plan.checkpoints:
        for done, total in weights.fetching(name, run.folders):
            yield run.at("download", done >> 20, (total or done) >> 20)


def _make_room(run: Run) -> None:
    """Forget what earlier runs left if this one would not fit; plan it smaller if it still does not."""

    def fits() -> bool:
        quality, held = run.request.quality, not run.frugal
        needed = memory_needed(run.models.name, run.batch, run.device, quality, held)
        return needed <= memory.available(run.device) + memory.resident_bytes(run.device)

    if not fits():
        memory.unload()
    while not fits() and run.shrinks():
        pass


def _sample(run: Run) -> Generator[Progress, None, tuple[PointCloud, ...]]:
    """All variants of what is asked for, as many at once as memory allows."""
    embedding = yield from _retried(run, _condition)
    clouds: list[PointCloud] = []
    while run.next_seeds:
        clouds += yield from _retried(run, partial(_batch, embedding=embedding))
        run.finished = len(clouds)
    return tuple(clouds)


def _batch(run: Run, embedding: Tensor) -> Generator[Progress, None, list[PointCloud]]:
    """Variants from noise to the points that were asked for, each from its own stream of draws."""
    seeds, plan = run.next_seeds, run.plan
    noise = _noise(seeds)
    embeddings = embedding.to(run.device).expand(len(seeds), *embedding.shape)
    coarse = yield from _stage(run, "base", plan.base, noise, {"embeddings": embeddings})
    seen = {"low_res": coarse, **({"embeddings": embeddings} if plan.upsample.conditioned else {})}
    samples = yield from _stage(run, "upsample", plan.upsample, noise, seen, coarse)
    samples = yield from _densify(run, noise, seen, samples)
    return [_cloud(sample, run.request.points) for sample in samples]


def _given(run: Run) -> Generator[Progress, None, tuple[PointCloud, ...]]:
    """The cloud of the request, with more points if these were asked for."""
    cloud = run.request.cloud
    assert cloud is not None
    return ((yield from _retried(run, _denser)) if run.plan.passes else cloud,)


def _denser(run: Run) -> Generator[Progress, None, PointCloud]:
    """More points around an even selection of those that are there."""
    cloud, count = run.request.cloud, run.plan.base.points
    assert cloud is not None
    raw = np.concatenate((cloud.points, cloud.colors * np.float32(255)), axis=1, dtype=np.float32)
    spread = meshing.farthest_points(cloud.points, min(count, len(cloud)))
    coarse = torch.from_numpy(raw[np.resize(spread, count)].T.copy())[None].to(run.device)
    known = torch.from_numpy(raw.T.copy())[None].to(run.device)
    (sample,) = yield from _densify(run, _noise([run.request.seed]), {"low_res": coarse}, known)
    return _cloud(sample, run.request.points)


def _condition(run: Run) -> Generator[Progress, None, Tensor]:
    """What the conditioned networks see: a (D,) vector or a (C, L) grid."""
    request, models = run.request, run.models
    yield run.at("condition", 0, 1)
    if request.vector is not None:
        vector = torch.from_numpy(request.vector.astype(np.float32))
        embedding: Tensor = (vector / vector.norm()).to(run.device)
    elif models.condition == "grid" and request.image is not None:
        embedding = _clip(run, "visual").grid([request.image])[0]
    else:
        embedding = _wanted(run)
    yield run.at("condition", 1, 1)
    return embedding


def _wanted(run: Run) -> Tensor:
    """CLIP's (D,) vector of the prompt or the picture."""
    if run.request.prompt is not None:
        return _clip(run, "text").text([run.request.prompt])[0]
    assert run.request.image is not None
    return _clip(run, "visual").image([run.request.image])[0]


def _stage(
    run: Run,
    name: str,
    stage: Stage,
    noise: samplers.Noise,
    condition: dict[str, Tensor],
    known: Tensor | None = None,
    number: int = 0,
) -> Generator[Progress, None, Tensor]:
    """Sample one network: (B, 6, N) in raw channels, behind the points that are known already.

    `number` is that of the pass where a stage has several.
    """
    passes = run.plan.passes if name == "densify" else 1
    yield run.at(name, number * stage.steps, passes * stage.steps)
    checkpoint = run.models.base if name == "base" else run.models.upsample
    loaded = [_load(run, checkpoint, precision) for precision in _precisions(run, stage)]
    bound = [network.under(guided=stage.guided, **condition) for network in loaded]
    (count,) = {len(value) for value in condition.values()}
    shape = (count, 6, stage.points)
    start = None if stage.start == "noise" else _jittered(condition["low_res"], stage, noise)
    steps = samplers.sample(stage, bound[0], shape, half=bound[-1], noise=noise, device=run.device, x=start)
    for step, points in steps:
        sample = points if known is None else torch.cat([known, points], dim=-1)
        step += number * stage.steps
        yield run.at(name, step, passes * stage.steps, partial(_preview, sample[0]))
    if not run.precise and any(network.overflowed() for network in loaded):
        raise Overflow
    return sample


def _precisions(run: Run, stage: Stage) -> list[str]:
    """What a stage computes in: at its high noise levels, and at its low ones if that is something else."""
    half = None if run.precise or not stage.half_below else half_precision(run.device)
    if half is None:
        return ["float32"]
    # float16 with a float32 stream changes no sample, whatever the noise level; bfloat16 is coarser.
    return [half] if half == "float16" or stage.half_below > stage.sigma_max else ["float32", half]


def _load(run: Run, checkpoint: str, precision: str = "float32") -> Any:
    """A network of a checkpoint."""
    with _loading(run, checkpoint):
        return memory.load(checkpoint, run.device, run.folders, precision)


def _clip(run: Run, tower: conditioning.Tower) -> conditioning.Clip:
    """CLIP with the tower that is needed of it."""
    with _loading(run, run.models.clip):
        clip = conditioning.Clip.load(run.models.clip, run.device, run.folders)
        clip.tower(tower)
        return clip


@contextmanager
def _loading(run: Run, checkpoint: str) -> Iterator[None]:
    """Load a network inside, in the place of the others where memory is short."""
    with run.loading():
        if run.frugal:
            memory.forget(*(name for name in run.plan.checkpoints if name != checkpoint))
        yield


def _densify(
    run: Run, noise: samplers.Noise, condition: dict[str, Tensor], samples: Tensor
) -> Generator[Progress, None, Tensor]:
    """Run the upsampler from new noise until there are enough points: it makes a sample of the surface."""
    for number in range(run.plan.passes):
        stage = run.plan.upsample
        samples = yield from _stage(run, "densify", stage, noise, condition, samples, number)
    return samples


def _noise(seeds: Sequence[int]) -> samplers.Noise:
    """Draws for a batch, each row from a generator of its own."""
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def draw(shape: torch.Size) -> Tensor:
        return torch.stack([torch.randn(shape[1:], generator=generator) for generator in generators])

    return draw


def _jittered(coarse: Tensor, stage: Stage, noise: samplers.Noise) -> Tensor:
    """Copies of the coarse points with noise of sigma_max, to be refined (SDEdit, Meng et al. 2022)."""
    copies = -(-stage.points // coarse.shape[-1])
    points = scale_channels(coarse.repeat(1, 1, copies)[..., : stage.points])
    return points + stage.sigma_max * noise(points.shape).to(points.device)


def _rank(run: Run, clouds: Sequence[PointCloud]) -> Generator[Progress, None, tuple[float, ...]]:
    """How much each cloud looks like the prompt or the picture."""
    scores = []
    yield run.at("rank", 0, len(clouds), lambda: clouds[0])
    clip = _clip(run, "visual")
    wanted = _wanted(run)
    for i, cloud in enumerate(clouds, 1):
        scores.append(ranking.similarity(clip, wanted, cloud))
        yield run.at("rank", i, len(clouds))
    return tuple(scores)


def _mesh(run: Run, clouds: Sequence[PointCloud]) -> Generator[Progress, None, tuple[Mesh, ...]]:
    """A mesh of each cloud; their lattice points are counted together."""
    yield run.at("mesh", 0, len(clouds))
    meshes: list[Mesh] = []
    for i, cloud in enumerate(clouds):
        work = partial(_meshed, cloud=cloud, number=i, count=len(clouds))
        meshes.append((yield from _retried(run, work)))
    return tuple(meshes)


def _meshed(run: Run, cloud: PointCloud, number: int, count: int) -> Generator[Progress, None, Mesh]:
    """One of `count` meshes."""
    network = _load(run, run.models.sdf)
    steps = meshing.mesh_from_cloud(network, cloud, run.plan.resolution, run.device)
    while True:
        try:
            done, total = next(steps)
        except StopIteration as finished:
            mesh: Mesh = finished.value
            return mesh
        yield run.at("mesh", number * total + done, count * total, lambda: cloud)


def _retried(
    run: Run, work: Callable[[Run], Generator[Progress, None, Made]]
) -> Generator[Progress, None, Made]:
    """Do it, and again with less as long as memory runs out."""
    while True:
        try:
            return (yield from work(run))
        except Overflow:
            run.overflowed()
        except (RuntimeError, MemoryError) as error:
            if not memory.is_exhausted(error):
                raise
            if not run.shrinks():
                raise OutOfMemory(
                    f"There is not enough memory on {run.device}: "
                    "choose fewer points, a smaller model set or another device."
                ) from error
        memory.unload()  # out here, where the error no longer holds on to what it met


def _preview(sample: Tensor) -> PointCloud:
    """An even selection of one sample, (6, N) raw."""
    return _cloud(sample[:, :: -(-sample.shape[1] // SHOWN)], None)


def _cloud(sample: Tensor, count: int | None) -> PointCloud:
    """One sample, (6, N) raw, as the released code finishes it: colours clamped and rounded to 255ths."""
    values = sample.float().cpu().numpy().T[:count]
    colors = np.round(np.clip(values[:, 3:], 0, 255)) / np.float32(255)
    return PointCloud(np.ascontiguousarray(values[:, :3]), colors)
