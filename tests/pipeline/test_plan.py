"""What a request amounts to before anything is computed: stages by quality, passes, costs."""

from __future__ import annotations

from dataclasses import fields
from itertools import product

import numpy as np
import pytest

from pointe_blender.pipeline import InvalidRequest, PointCloud, Request
from pointe_blender.pipeline.costs import costs, sequences
from pointe_blender.pipeline.models import MODEL_SETS, Stage
from pointe_blender.pipeline.plan import Plan, chosen
from pointe_blender.pipeline.point_e.diffusion import GaussianDiffusion
from pointe_blender.pipeline.point_e.samplers import karras_sigmas
from pointe_blender.pipeline.schedules import SCHEDULES, stage_of

CLOUD = PointCloud(np.zeros((5000, 3), np.float32), np.zeros((5000, 3), np.float32))


@pytest.mark.parametrize("name", list(MODEL_SETS))
def test_exact_is_the_models_own_sampler(name: str) -> None:
    models = MODEL_SETS[name]
    assert stage_of(models, "base", "exact") == models.base_stage
    assert stage_of(models, "upsample", "exact") == models.upsample_stage
    if models.schedule.startswith("released"):
        for stage in (models.base_stage, models.upsample_stage):
            assert (stage.sampler, stage.steps, stage.whole_levels, stage.half_below) == ("heun", 64, True, 0)


@pytest.mark.parametrize(
    ("name", "stage", "quality"), list(product(MODEL_SETS, ("base", "upsample"), ("high", "fast")))
)
def test_the_other_levels_change_how_a_stage_is_sampled_and_nothing_else(
    name: str, stage: str, quality: str
) -> None:
    own, other = (stage_of(MODEL_SETS[name], stage, each) for each in ("exact", quality))  # type: ignore[arg-type]
    kept = ("points", "diffusion", "guidance", "start", "conditioned", "sigma_data")
    assert all(getattr(own, field) == getattr(other, field) for field in kept)
    assert set(SCHEDULES[MODEL_SETS[name].schedule][stage][quality]) <= {f.name for f in fields(Stage)}
    assert other.s_churn == 0 and not other.whole_levels
    assert sequences(other) < sequences(own)


@pytest.mark.parametrize(("stage", "quality"), list(product(("base", "upsample"), ("high", "fast"))))
def test_no_network_is_asked_below_what_it_was_trained_on(stage: str, quality: str) -> None:
    chosen_stage = stage_of(MODEL_SETS["official-text"], stage, quality)  # type: ignore[arg-type]
    smallest = GaussianDiffusion(chosen_stage.diffusion).sigmas[0]  # type: ignore[arg-type]
    assert chosen_stage.sigma_min >= smallest


def test_what_is_asked_for_wins_over_the_quality() -> None:
    plan = Plan.of(Request(prompt="a mug", quality="high", steps=9, guidance=2.0))
    assert (plan.base.steps, plan.upsample.steps, plan.base.guidance) == (9, 9, 2.0)
    assert plan.base.sampler == stage_of(plan.models, "base", "high").sampler


@pytest.mark.parametrize(
    ("request_", "passes"),
    [
        (Request(prompt="a mug"), 0),
        (Request(prompt="a mug", points=4096), 0),
        (Request(prompt="a mug", points=4097), 1),
        (Request(prompt="a mug", points=4096 + 2 * 3072), 2),
        (Request(cloud=CLOUD, points=8072, output="cloud"), 1),
        (Request(cloud=CLOUD), 0),
    ],
)
def test_the_upsampler_passes_until_there_are_enough_points(request_: Request, passes: int) -> None:
    assert Plan.of(request_).passes == passes


def test_only_what_is_used_is_loaded() -> None:
    def loaded(request: Request) -> list[str]:
        return [name.removeprefix("starter-") for name in Plan.of(request).checkpoints]

    assert loaded(Request(prompt="a mug")) == ["clip", "base", "upsample", "sdf"]
    assert loaded(Request(vector=np.ones(128, np.float32), output="cloud")) == ["base", "upsample"]
    assert loaded(Request(cloud=CLOUD)) == ["sdf"]
    assert loaded(Request(cloud=CLOUD, points=9000, output="cloud")) == ["upsample"]


def test_a_wrong_set_is_one_sentence_with_those_that_fit() -> None:
    with pytest.raises(InvalidRequest, match=r"no model set 'big': choose one of starter, official-text"):
        chosen("big", "text")
    with pytest.raises(InvalidRequest, match=r"does not take a picture: choose one of starter, official-40M"):
        Plan.of(Request(image=np.zeros((8, 8, 3), np.uint8), models="official-text"))
    with pytest.raises(InvalidRequest, match="does not take a vector of 3 numbers"):
        Plan.of(Request(vector=np.ones(3, np.float32)))
    assert chosen("official-text", None) is MODEL_SETS["official-text"]


@pytest.mark.parametrize(
    "stage",
    [
        Stage(1024, "cosine"),
        Stage(1024, "cosine", sampler="unipc", steps=16, rho=10.0, sigma_min=0.02, guided_above=1.0),
        Stage(1024, "cosine", sampler="dpmpp", steps=12, guidance=0.0),
        Stage(1024, "cosine", sampler="dpm", steps=5, guided_above=3.0),
    ],
)
def test_sequences_are_evaluations_and_twice_where_they_are_guided(stage: Stage) -> None:
    sigmas = karras_sigmas(stage.steps, stage.sigma_min, stage.sigma_max, stage.rho)[:-1].tolist()
    rows = [2 if stage.guidance > 1 and sigma > stage.guided_above else 1 for sigma in sigmas]
    again = {"heun": rows[1:], "dpm": rows}.get(stage.sampler, [])
    assert sequences(stage) == sum(rows) + sum(again)


def test_costs_grow_as_what_is_asked_for() -> None:
    def total(**fields: object) -> float:
        return sum(costs(Request(prompt="a mug", **fields)).values())  # type: ignore[arg-type]

    assert list(costs(Request(prompt="a mug", count=2, points=9000))) == [
        "condition",
        "base",
        "upsample",
        "densify",
        "rank",
        "mesh",
    ]
    assert total(quality="fast") < total(quality="high") < total(quality="exact")
    assert total(output="cloud") < total() < total(resolution=128) < total(resolution=256)
    one, four = (costs(Request(prompt="a mug", count=count))["base"] for count in (1, 4))
    assert four == 4 * one


def test_the_released_upsampler_costs_what_its_arithmetic_says() -> None:
    """794 GFLOP a sequence of 4353 tokens, two a multiply-add; 254 evaluations under guidance."""
    picture = Request(image=np.zeros((8, 8, 3), np.uint8), models="official-40M", quality="exact")
    assert costs(picture)["upsample"] == pytest.approx(254 * 794e9 / 2, rel=1e-3)
