"""What a request amounts to: its networks, stages and passes. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .errors import InvalidRequest
from .models import ARCHITECTURES, CHECKPOINTS, MODEL_SETS, ModelSet, Stage
from .request import Request
from .schedules import stage_of


@dataclass(frozen=True)
class Plan:
    """A request with the model set that carries it out."""

    request: Request
    models: ModelSet

    @classmethod
    def of(cls, request: Request) -> Plan:
        """The plan of a valid request.

        Raises
        ------
        InvalidRequest
            There is no such model set, or it does not take what is asked with.
        """
        models = chosen(request.models, _asked_with(request))
        if request.vector is not None:
            config = ARCHITECTURES[CHECKPOINTS[models.base].architecture].config
            if config["condition"] != "vector" or len(request.vector) != config["condition_dim"]:
                raise InvalidRequest(
                    f"The model set {models.name} does not take a vector of {len(request.vector)} numbers: "
                    "give one of its own CLIP."
                )
        return cls(request, models)

    @property
    def base(self) -> Stage:
        """How the base model is sampled."""
        request = self.request
        stage = stage_of(self.models, "base", request.quality)
        if request.steps is not None:
            stage = replace(stage, steps=request.steps)
        if request.guidance is not None:
            stage = replace(stage, guidance=request.guidance)
        return stage

    @property
    def upsample(self) -> Stage:
        """How the upsampler is sampled."""
        request = self.request
        stage = stage_of(self.models, "upsample", request.quality)
        if request.steps is not None:
            stage = replace(stage, steps=request.steps)
        if request.cloud is not None:  # nothing but the cloud itself says what it shows
            stage = replace(stage, conditioned=False, guidance=0.0)
        return stage

    @property
    def passes(self) -> int:
        """How often the upsampler runs beyond its first time."""
        request, new = self.request, self.upsample.points
        there = len(request.cloud) if request.cloud is not None else self.base.points + new
        return -(-max(0, (request.points or 0) - there) // new)

    @property
    def resolution(self) -> int:
        """Lattice points along each side of the field."""
        return self.request.resolution or self.models.resolution

    @property
    def ranked(self) -> bool:
        """Whether there are variants, and something to compare them with."""
        return self.request.count > 1 and _asked_with(self.request) is not None

    @property
    def checkpoints(self) -> list[str]:
        """Everything that is loaded, in the order of its use."""
        models, sampled = self.models, self.request.cloud is None
        needed = [
            (models.clip, _asked_with(self.request) is not None),
            (models.base, sampled),
            (models.upsample, sampled or self.passes > 0),
            (models.sdf, self.request.wants_mesh),
        ]
        return [name for name, used in needed if used]


def chosen(name: str, asked: str | None) -> ModelSet:
    """The model set by name, if it takes what it is asked with: "text", "image" or nothing.

    Raises
    ------
    InvalidRequest
    """
    models = MODEL_SETS.get(name)
    if models is None:
        raise InvalidRequest(f"There is no model set {name!r}: choose one of {', '.join(MODEL_SETS)}.")
    if asked is not None and asked not in models.takes:
        fitting = ", ".join(other.name for other in MODEL_SETS.values() if asked in other.takes)
        what = "a prompt" if asked == "text" else "a picture"
        raise InvalidRequest(f"The model set {name} does not take {what}: choose one of {fitting}.")
    return models


def _asked_with(request: Request) -> str | None:
    return "text" if request.prompt is not None else "image" if request.image is not None else None
