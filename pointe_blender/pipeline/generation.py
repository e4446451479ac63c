"""The story of a generation: condition → sample → mesh, told as progress that ends in a result."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import conditioning, meshing, weights
from .errors import InvalidRequest, NoSurface, OutOfMemory
from .geometry import Mesh, PointCloud
from .models import ARCHITECTURES, CHECKPOINTS, MODEL_SETS, ModelSet, Stage
from .point_e import samplers
from .point_e.diffusion import scale_channels
from .request import Progress, Request, Result


def run(request: Request, folders: weights.Folders | None = None) -> Iterator[Progress]:
    """Carry out a valid request; see `pipeline.generate`."""
    models = _model_set(request)
    device = _device(request.device)
    tale = _Tale(request, models, device, folders or weights.default_folders())
    try:
        yield from _download(tale)
        clouds = (request.cloud,) if request.cloud is not None else (yield from _sample(tale))
        meshes = (yield from _mesh(tale, clouds)) if request.wants_mesh else ()
    except NoSurface as error:
        if request.output != "both" or request.cloud is not None:
            raise
        meshes, tale.notice = (), str(error)  # the clouds took long enough to be kept
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(
            f"There is not enough memory on {device}: "
            "choose fewer variants, a smaller model set or another device."
        ) from error
    yield tale.ends(clouds, meshes)


def _download(tale: _Tale) -> Iterator[Progress]:
    """Fetch what is not on this machine, counted in megabytes."""
    for name in tale.checkpoints:
        for done, total in weights.fetching(name, tale.folders):
            yield tale.at("download", done >> 20, (total or done) >> 20)


def _sample(tale: _Tale) -> Generator[Progress, None, tuple[PointCloud, ...]]:
    """Both stages, from one stream of random draws."""
    draws = torch.Generator("cpu").manual_seed(tale.request.seed)
    base, upsample = tale.stages
    embedding = yield from _condition(tale)
    coarse = yield from _stage(tale, "base", base, draws, {"embeddings": embedding})
    condition = {"low_res": coarse, **({"embeddings": embedding} if upsample.conditioned else {})}
    points = yield from _stage(tale, "upsample", upsample, draws, condition)
    return tuple(_cloud(sample) for sample in points)


def _condition(tale: _Tale) -> Generator[Progress, None, Tensor]:
    """What the conditioned networks see: (count, D) vectors or (count, C, L) grids."""
    request, models = tale.request, tale.models
    yield tale.at("condition", 0, 1)
    if request.vector is not None:
        vector = torch.from_numpy(request.vector.astype(np.float32))
        embedding = (vector / vector.norm()).to(tale.device)
    else:
        clip = conditioning.Clip.load(models.clip, tale.device, tale.folders)
        if request.prompt is not None:
            embedding = clip.text([request.prompt])[0]
        else:
            assert request.image is not None
            embedding = (clip.grid if models.condition == "grid" else clip.image)([request.image])[0]
    yield tale.at("condition", 1, 1)
    expanded: Tensor = embedding.expand(request.count, *embedding.shape)
    return expanded


def _stage(
    tale: _Tale, name: str, stage: Stage, draws: torch.Generator, condition: dict[str, Tensor]
) -> Generator[Progress, None, Tensor]:
    """Sample one network: (count, 6, N) in raw channels, the coarse points it was given first."""
    yield tale.at(name, 0, stage.steps)
    network = weights.load(getattr(tale.models, name), tale.device, tale.folders)
    coarse = condition.get("low_res")
    start = None if coarse is None or stage.start == "noise" else _jittered(coarse, stage, draws)
    shape = (tale.request.count, 6, stage.points)
    steps = samplers.sample(
        stage, network, shape, condition=condition, generator=draws, device=tale.device, x=start
    )
    for step, points in steps:
        sample = points if coarse is None else torch.cat([coarse, points], dim=-1)
        yield tale.at(name, step, stage.steps, _cloud(sample[0]))
    return sample


def _jittered(coarse: Tensor, stage: Stage, draws: torch.Generator) -> Tensor:
    """Copies of the coarse points with noise of sigma_max, to be refined (SDEdit, Meng et al. 2022)."""
    copies = -(-stage.points // coarse.shape[-1])
    points = scale_channels(coarse.repeat(1, 1, copies)[..., : stage.points])
    return points + stage.sigma_max * torch.randn(points.shape, generator=draws).to(points.device)


def _mesh(tale: _Tale, clouds: tuple[PointCloud, ...]) -> Generator[Progress, None, tuple[Mesh, ...]]:
    """A mesh of each cloud; their lattice points are counted together."""
    yield tale.at("mesh", 0, len(clouds))
    network: Any = weights.load(tale.models.sdf, tale.device, tale.folders)
    meshes = []
    for cloud in clouds:
        steps = meshing.mesh_from_cloud(network, cloud, tale.resolution, tale.device)
        while True:
            try:
                done, total = next(steps)
            except StopIteration as finished:
                meshes.append(finished.value)
                break
            yield tale.at("mesh", len(meshes) * total + done, len(clouds) * total, cloud)
    return tuple(meshes)


def _cloud(sample: Tensor) -> PointCloud:
    """One sample, (6, N) raw, as the released code finishes it: colours clamped and rounded to 255ths."""
    values = sample.float().cpu().numpy().T
    colors = np.round(np.clip(values[:, 3:], 0, 255)) / np.float32(255)
    return PointCloud(np.ascontiguousarray(values[:, :3]), colors)


def _model_set(request: Request) -> ModelSet:
    """The set by name, checked against what it is asked with."""
    models = MODEL_SETS.get(request.models)
    if models is None:
        raise InvalidRequest(
            f"There is no model set {request.models!r}: choose one of {', '.join(MODEL_SETS)}."
        )
    asked = "text" if request.prompt is not None else "image" if request.image is not None else None
    if asked is not None and asked not in models.takes:
        fitting = ", ".join(name for name, other in MODEL_SETS.items() if asked in other.takes)
        what = "a prompt" if asked == "text" else "a picture"
        raise InvalidRequest(f"The model set {models.name} does not take {what}: choose one of {fitting}.")
    if request.vector is not None:
        config = ARCHITECTURES[CHECKPOINTS[models.base].architecture].config
        if config["condition"] != "vector" or len(request.vector) != config["condition_dim"]:
            raise InvalidRequest(
                f"The model set {models.name} does not take a vector of {len(request.vector)} numbers: "
                "give one of its own CLIP."
            )
    return models


def _device(name: str) -> str:
    """The device to compute on; "auto" is the fastest there is."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InvalidRequest(
            f"This computer has no device {name!r} that PyTorch can use: choose auto."
        ) from error
    return name


@dataclass
class _Tale:
    """Where a run stands: its settings, and how far it has come."""

    request: Request
    models: ModelSet
    device: str
    folders: weights.Folders
    notice: str = ""
    _began: dict[str, float] = field(default_factory=dict)
    _fraction: float = 0.0

    def __post_init__(self) -> None:
        costs = self._costs()
        self._share = {stage: cost / sum(costs.values()) for stage, cost in costs.items()}

    @property
    def stages(self) -> tuple[Stage, Stage]:
        """Base and upsampler as the request changes them."""
        request, base, upsample = self.request, self.models.base_stage, self.models.upsample_stage
        if request.steps is not None:
            base, upsample = replace(base, steps=request.steps), replace(upsample, steps=request.steps)
        if request.guidance is not None:
            base = replace(base, guidance=request.guidance)
        return base, upsample

    @property
    def resolution(self) -> int:
        """Lattice points along each side of the field."""
        return self.request.resolution or self.models.resolution

    @property
    def checkpoints(self) -> list[str]:
        """Everything that this run loads."""
        models, request = self.models, self.request
        sampled = [] if request.cloud is not None else [models.base, models.upsample]
        seen = [models.clip] if request.prompt is not None or request.image is not None else []
        return seen + sampled + ([models.sdf] if request.wants_mesh else [])

    def at(self, stage: str, step: int, steps: int, preview: PointCloud | None = None) -> Progress:
        """The next update."""
        self._began.setdefault(stage, time.perf_counter())
        names = list(self._share)
        if stage in names:
            before = sum(self._share[name] for name in names[: names.index(stage)])
            self._fraction = max(self._fraction, before + self._share[stage] * step / max(steps, 1))
        return Progress(stage, step, steps, min(self._fraction, 1.0), self.device, preview)

    def ends(self, clouds: tuple[PointCloud, ...], meshes: tuple[Mesh, ...]) -> Progress:
        """The last update."""
        now = time.perf_counter()
        began = [*self._began.values(), now]
        seconds = {name: end - start for name, start, end in zip(self._began, began, began[1:], strict=False)}
        seconds["total"] = now - began[0]
        seed, notice = self.request.seed, self.notice or self._outside()
        result = Result(clouds, meshes, seed, self.models.name, self.device, seconds, notice)
        return Progress("done", 1, 1, 1.0, self.device, clouds[0], result)

    def _outside(self) -> str:
        """What to say of a prompt that the models were not trained for."""
        if self.models.name == "starter" and self.request.prompt is not None:
            from .starter import world

            return world.notice(self.request.prompt)
        return ""

    def _costs(self) -> dict[str, float]:
        """Rough multiply-adds of each stage, so that the bar moves evenly."""
        costs = {"condition": 1e9}
        if self.request.cloud is None:
            seen = 0
            for name, stage in zip(("base", "upsample"), self.stages, strict=True):
                config = ARCHITECTURES[CHECKPOINTS[getattr(self.models, name)].architecture].config
                seen += stage.points + (256 if config.get("condition") == "grid" else 0)
                evaluations = 2 * stage.steps * (2 if samplers.is_guided(stage.guidance) else 1)
                per_token = config["layers"] * config["width"] * (12 * config["width"] + 2 * seen)
                costs[name] = self.request.count * evaluations * seen * per_token
        if self.request.wants_mesh:
            config = ARCHITECTURES[CHECKPOINTS[self.models.sdf].architecture].config
            per_query = (
                config["decoder_layers"] * config["width"] * (12 * config["width"] + 2 * config["n_ctx"])
            )
            costs["mesh"] = self.request.count * self.resolution**3 * per_query
        return costs
