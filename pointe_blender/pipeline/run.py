"""Where a run stands: its settings, how far it has come, what it has to give up when memory runs out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import torch

from .errors import InvalidRequest
from .geometry import Mesh, PointCloud
from .models import ARCHITECTURES, CHECKPOINTS, MODEL_SETS, ModelSet, Stage
from .point_e import samplers
from .request import Progress, Request, Result
from .weights import Folders

SAMPLED = ("base", "upsample", "densify")  # the stages that are done anew for each batch of variants
PACE = 0.02  # the part of a run after which its pace is known


def model_set(request: Request) -> ModelSet:
    """The set by name, checked against what it is asked with.

    Raises
    ------
    InvalidRequest
    """
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


def usable_device(name: str) -> str:
    """The device to compute on; "auto" is the fastest there is.

    Raises
    ------
    InvalidRequest
    """
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
class Run:
    """A run: what it was asked for, and where it stands.

    Attributes
    ----------
    device
        Where the networks run from now on.
    batch
        How many variants are sampled at once.
    notices
        What the user has to be told in the end.
    finished
        How many variants are sampled.
    """

    request: Request
    models: ModelSet
    device: str
    folders: Folders
    batch: int = field(init=False)
    notices: list[str] = field(default_factory=list)
    finished: int = 0
    _stage: str = ""
    _fraction: float = 0.0
    _paced: tuple[float, float] | None = None  # moment and fraction at which computing began

    def __post_init__(self) -> None:
        self.batch = self.request.count
        costs = self._costs()
        self._share = {stage: cost / sum(costs.values()) for stage, cost in costs.items()}
        self._changed = 0.0
        self._seconds: dict[str, float] = {}

    @property
    def stages(self) -> tuple[Stage, Stage]:
        """Base and upsampler as the request changes them."""
        request, base, upsample = self.request, self.models.base_stage, self.models.upsample_stage
        if request.steps is not None:
            base, upsample = replace(base, steps=request.steps), replace(upsample, steps=request.steps)
        if request.guidance is not None:
            base = replace(base, guidance=request.guidance)
        if request.cloud is not None:  # nothing but the cloud itself says what it shows
            upsample = replace(upsample, conditioned=False, guidance=0.0)
        return base, upsample

    @property
    def passes(self) -> int:
        """How often the upsampler runs beyond its first time."""
        request, (base, upsample) = self.request, self.stages
        there = len(request.cloud) if request.cloud is not None else base.points + upsample.points
        return -(-max(0, (request.points or 0) - there) // upsample.points)

    @property
    def resolution(self) -> int:
        """Lattice points along each side of the field."""
        return self.request.resolution or self.models.resolution

    @property
    def ranked(self) -> bool:
        """Whether there are variants, and something to compare them with."""
        request = self.request
        return request.count > 1 and (request.prompt is not None or request.image is not None)

    @property
    def checkpoints(self) -> list[str]:
        """Everything that this run loads."""
        models, request = self.models, self.request
        seen = [models.clip] if request.prompt is not None or request.image is not None else []
        sampled = [models.base] if request.cloud is None else []
        refined = [models.upsample] if request.cloud is None or self.passes else []
        return seen + sampled + refined + ([models.sdf] if request.wants_mesh else [])

    @property
    def next_seeds(self) -> range:
        """The seeds of the next batch; none when all variants are there."""
        seeds = range(self.request.seed, self.request.seed + self.request.count)
        return seeds[self.finished : self.finished + self.batch]

    def shrinks(self) -> bool:
        """Take less memory from now on: smaller batches, then the CPU; false when neither is left."""
        if self.batch > 1 and self.next_seeds:
            self.batch //= 2
            self._notice("There was not enough memory for all variants at once: fewer were made at a time.")
        elif self.device != "cpu":
            self._notice(f"There was not enough memory on {self.device}: it was made on the CPU.")
            self.device = "cpu"
        else:
            return False
        return True

    def at(self, stage: str, step: int, steps: int, preview: PointCloud | None = None) -> Progress:
        """The next update."""
        now = self._clocked(stage)
        if stage in self._share:
            if self._paced is None and stage != "condition":
                self._paced = (now, self._fraction)
            self._fraction = max(self._fraction, min(1.0, self._reached(stage, step / max(steps, 1))))
        return Progress(stage, step, steps, self._fraction, self.device, self._remaining(now), preview)

    def ends(
        self,
        clouds: tuple[PointCloud, ...],
        meshes: tuple[Mesh, ...],
        seeds: tuple[int, ...],
        scores: tuple[float, ...],
    ) -> Progress:
        """The last update."""
        self._clocked("done")
        seconds = {**self._seconds, "total": sum(self._seconds.values())}
        notice = " ".join(filter(None, [*self.notices, self._outside()]))
        result = Result(clouds, meshes, seeds, scores, self.models.name, self.device, seconds, notice)
        return Progress("done", 1, 1, 1.0, self.device, 0.0, clouds[0], result)

    def _notice(self, text: str) -> None:
        if text not in self.notices:
            self.notices.append(text)

    def _clocked(self, stage: str) -> float:
        """Count the time since the last update for the stage it belonged to."""
        now = time.perf_counter()
        if self._stage:
            self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._changed
        self._stage, self._changed = stage, now
        return now

    def _reached(self, stage: str, part: float) -> float:
        """The fraction of the run that is done when a part of this stage is."""
        names = list(self._share)
        before = {name: self._share[name] for name in names[: names.index(stage)]}
        if stage not in SAMPLED:
            return sum(before.values()) + self._share[stage] * part
        other = sum(share for name, share in before.items() if name not in SAMPLED)
        sampling = sum(self._share.get(name, 0.0) for name in SAMPLED)
        own = sum(share for name, share in before.items() if name in SAMPLED) + self._share[stage] * part
        size = min(self.batch, self.request.count - self.finished)
        return other + (sampling * self.finished + own * size) / self.request.count

    def _remaining(self, now: float) -> float | None:
        if self._paced is None or self._fraction - self._paced[1] < PACE:
            return None
        moment, fraction = self._paced
        return (now - moment) * (1.0 - self._fraction) / (self._fraction - fraction)

    def _outside(self) -> str:
        """What to say of a prompt that the models were not trained for."""
        if self.models.name == "starter" and self.request.prompt is not None:
            from .starter import world

            return world.notice(self.request.prompt)
        return ""

    def _costs(self) -> dict[str, float]:
        """Rough multiply-adds of each stage, so that the bar moves evenly."""
        request, (base, upsample) = self.request, self.stages
        costs = {"condition": 1e9}
        if request.cloud is None:
            costs["base"] = request.count * self._cost(self.models.base, base, base.points)
        seen = base.points + upsample.points
        once = request.count * self._cost(self.models.upsample, upsample, seen)
        if request.cloud is None:
            costs["upsample"] = once
        if self.passes:
            costs["densify"] = self.passes * once
        if self.ranked:
            costs["rank"] = request.count * 1e9
        if request.wants_mesh:
            config = ARCHITECTURES[CHECKPOINTS[self.models.sdf].architecture].config
            width = config["width"]
            per_query = config["decoder_layers"] * width * (12 * width + 2 * config["n_ctx"])
            costs["mesh"] = request.count * self.resolution**3 * per_query
        return costs

    def _cost(self, checkpoint: str, stage: Stage, points: int) -> float:
        """Multiply-adds of one pass of a network over so many points."""
        config = ARCHITECTURES[CHECKPOINTS[checkpoint].architecture].config
        seen = points + (256 if config.get("condition") == "grid" else 0)
        evaluations = 2 * stage.steps * (2 if samplers.is_guided(stage.guidance) else 1)
        per_token: float = config["layers"] * config["width"] * (12 * config["width"] + 2 * seen)
        return evaluations * seen * per_token
