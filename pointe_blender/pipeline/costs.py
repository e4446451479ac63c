"""How much a request asks of a computer, told before it begins. No torch."""

from __future__ import annotations

from .architectures import Architecture
from .models import ARCHITECTURES, CHECKPOINTS, Stage
from .plan import Plan
from .request import Request

_CLIP = 1e9  # multiply-adds of a look at a prompt or a picture, roughly: never much of a run
_QUERIES = 11  # of the distance field for each cell of one side of its cube, surfaces being what they are


def costs(request: Request) -> dict[str, float]:
    """Multiply-adds of each stage of a valid request, by its name in `Progress`.

    Raises
    ------
    InvalidRequest
        There is no such model set, or it does not take what is asked with.
    """
    plan = Plan.of(request)
    models, base, upsample = plan.models, plan.base, plan.upsample
    found = {"condition": _CLIP}
    if request.cloud is None:
        found["base"] = request.count * _sampling(models.base, base, base.points)
    once = request.count * _sampling(models.upsample, upsample, base.points + upsample.points)
    if request.cloud is None:
        found["upsample"] = once
    if plan.passes:
        found["densify"] = plan.passes * once
    if plan.ranked:
        found["rank"] = request.count * _CLIP
    if request.wants_mesh:
        encoder, query = _distances(ARCHITECTURES[CHECKPOINTS[models.sdf].architecture])
        found["mesh"] = request.count * (encoder + _QUERIES * plan.resolution**2 * query)
    return found


def _distances(architecture: Architecture) -> tuple[float, float]:
    """Multiply-adds of reading a cloud, and of one query of its field."""
    config = architecture.config
    width, seen = config["width"], config["n_ctx"]
    per_token = width * (12 * width + 2 * seen)
    if architecture.kind == "sdf":
        return config["encoder_layers"] * seen * per_token, config["decoder_layers"] * per_token
    offsets = 4 + 6 * config["frequencies"]
    return config["layers"] * seen * per_token, config["neighbours"] * width * (width + offsets)


def sequences(stage: Stage) -> int:
    """Clouds that a stage's network is called with: one an evaluation, two where it is guided."""
    return sum(branches for _, branches in evaluations(stage))


def evaluations(stage: Stage) -> list[tuple[float, int]]:
    """Of each evaluation of a stage its noise level and its branches: 2 where it is guided."""
    low, high = stage.sigma_min ** (1 / stage.rho), stage.sigma_max ** (1 / stage.rho)
    last = max(1, stage.steps - 1)
    evaluated = [(high + i / last * (low - high)) ** stage.rho for i in range(stage.steps)]
    if stage.sampler in ("heun", "dpm"):  # Heun's last step ends on its first estimate
        evaluated += evaluated[stage.sampler == "heun" :]
    return [(sigma, 2 if stage.guided and sigma > stage.guided_above else 1) for sigma in evaluated]


def _sampling(checkpoint: str, stage: Stage, points: int) -> float:
    """Multiply-adds of one cloud's way through a network that sees so many points."""
    config = ARCHITECTURES[CHECKPOINTS[checkpoint].architecture].config
    width = config["width"]
    # Without a condition the grid's cells are all alike, and one token does for them.
    seen = points + (256 if config["condition"] == "grid" and stage.conditioned else 0)
    per_token: float = config["layers"] * width * (12 * width + 2 * seen)
    return sequences(stage) * seen * per_token
