"""Quality gates at small sizes: the exact denoiser, what gates let through, and the schedules that ship."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pointe_blender.pipeline.models import MODEL_SETS, ModelSet, Stage
from pointe_blender.pipeline.point_e.diffusion import GaussianDiffusion
from pointe_blender.pipeline.schedules import FILE, SCHEDULES, stage_of
from pointe_blender.pipeline.tuning import cases, gates, search
from pointe_blender.pipeline.tuning.analytic import Surfaces, surfaces

SMALL: Any = {"high": {"base": 1, "upsample": 1}, "fast": {"base": 16, "upsample": 4}}
TEXT = MODEL_SETS["official-text"]
IMAGE = MODEL_SETS["official-40M"]


@pytest.fixture
def few() -> Surfaces:
    """Three shapes of four points, in float64."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(3, 4, 6, generator=generator, dtype=torch.float64) * 2 - 1
    return Surfaces(points, torch.tensor([0, 0, 1]))


def clouds_of(shape: Tensor) -> Tensor:
    """Every cloud of three points drawn from (M, C): (M³, C, 3)."""
    return torch.stack([torch.stack(chosen, dim=1) for chosen in itertools.product(shape, repeat=3)])


@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
@pytest.mark.parametrize("among", [[0, 1, 2], [0, 1], [2]])
def test_the_denoiser_is_the_mean_of_all_clouds_that_there_are(
    few: Surfaces, sigma: float, among: list[int]
) -> None:
    """By Bayes' rule, cloud by cloud."""
    x = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    every = torch.cat([clouds_of(few.points[k]) for k in among])
    squares = (x[:, None] - every).square().sum((2, 3))
    variance = sigma**2 + few.roughness**2
    middle = torch.einsum("bn,ncp->bcp", (-squares / (2 * variance)).softmax(1), every)
    expected = (sigma**2 * middle + few.roughness**2 * x) / variance
    found = few.denoise(x, sigma, torch.tensor([among, among]))
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_the_denoiser_follows_the_gradient_of_the_density(few: Surfaces) -> None:
    """Tweedie's formula: D = x + σ² ∇ log p(x; σ)."""
    sigma = 0.5
    x = torch.randn(1, 6, 5, dtype=torch.float64, requires_grad=True)
    squares = (x.transpose(1, 2)[:, None, :, None] - few.points[None, :, None]).square().sum(-1)
    per_shape = (-squares / (2 * (sigma**2 + few.roughness**2))).logsumexp(-1).sum(-1)
    (score,) = torch.autograd.grad(per_shape.logsumexp(1).sum(), x)
    torch.testing.assert_close(few.denoise(x.detach(), sigma), x.detach() + sigma**2 * score)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("sigma", [0.02, 0.7, 40.0])
def test_as_a_released_network_it_is_the_same_denoiser(schedule: str, sigma: float) -> None:
    world = surfaces(64)
    diffusion = GaussianDiffusion(schedule, whole_levels=False)  # type: ignore[arg-type]
    among = world.of_kind(torch.tensor([0, 3]))
    networks = world.networks(diffusion, among)
    assert networks.both is not None
    x = world.points[among[:, 0], :32].transpose(1, 2) + sigma * torch.randn(2, 6, 32)
    both = diffusion.denoise(networks.both, torch.cat([x, x]), sigma)
    torch.testing.assert_close(both[:2], world.denoise(x, sigma, among), atol=2e-4, rtol=0)
    torch.testing.assert_close(both[2:], world.denoise(x, sigma), atol=2e-4, rtol=0)
    conditional = diffusion.denoise(networks.conditional, x, sigma)
    torch.testing.assert_close(conditional, both[:2], atol=2e-4, rtol=0)


def test_low_precision_moves_the_noise_as_much_as_it_says_and_always_alike() -> None:
    world, diffusion = surfaces(64), GaussianDiffusion("cosine")
    among = torch.tensor([[0], [5]])
    exact, rough = (world.networks(diffusion, among, error).conditional for error in (0.0, 0.01))
    x, t = torch.randn(2, 6, 500), torch.full((2,), 300.0)
    moved = rough(x, t)[:, :6] - exact(x, t)[:, :6]
    assert moved.std().item() == pytest.approx(0.01, rel=0.05)
    torch.testing.assert_close(rough(x, t + 99)[:, :6] - exact(x, t + 99)[:, :6], moved, atol=1e-4, rtol=0)


def test_guidance_ends_on_a_shape_of_the_kind_asked_for() -> None:
    case = cases.analytic(replace(TEXT.base_stage, guidance=3.0), "kind", 8, 64, 128)
    made = case.sample(stage_of(TEXT, "base", "high"), seed=1)
    assert case.right(made)[:, 0].all()
    world = surfaces(128)
    nearest = torch.cdist(made.transpose(1, 2), world.points[world.nearest(made, slice(0, 6))]).amin(2)
    assert nearest.mean() < 6**0.5 * 2 * world.roughness


def clouds(seed: int, prompts: int = 24) -> Tensor:
    """Drawn points of the analytic world's shapes in turn."""
    world, generator = surfaces(256), torch.Generator().manual_seed(seed)
    chosen = world.points[torch.arange(prompts) % 16]
    columns = torch.rand(prompts, 256, generator=generator).argsort(1)[:, :64]
    return torch.gather(chosen, 1, columns[..., None].expand(-1, -1, 6)).transpose(1, 2)


def scores(clouds: Tensor, share: float) -> Tensor:
    """Answers of a judge who finds this share of the clouds right."""
    right = torch.arange(clouds.shape[1]) < share * clouds.shape[1]
    return right[None, :, None].expand(len(clouds), -1, 2)


@pytest.fixture(scope="module")
def exact() -> Tensor:
    return torch.stack([clouds(seed) for seed in range(4)])


def test_the_same_clouds_pass_every_gate(exact: Tensor) -> None:
    same = gates.high(exact[0], exact[0], exact[0])
    assert [gate.value for gate in same] == [0, 0] and all(gate.room == 1 for gate in same)
    right = scores(exact, 0.75)
    again = gates.fast(exact, exact, (right, right))
    assert all(gate.passed and gate.value == pytest.approx(0, abs=1e-6) for gate in again)


def test_other_draws_of_the_same_clouds_are_equal_in_distribution_but_not_the_same_samples(
    exact: Tensor,
) -> None:
    others = torch.stack([clouds(seed) for seed in range(10, 14)])
    right = scores(exact, 1.0)
    assert all(gate.passed for gate in gates.fast(others, exact, (right, right)))
    assert not any(gate.passed for gate in gates.high(others[0], exact[0], exact[0]))


def test_high_counts_from_where_the_released_sampler_is(exact: Tensor) -> None:
    fine, official = exact[0], exact[0] + 0.02
    assert all(gate.passed for gate in gates.high(exact[0] - 0.02, official, fine))
    rms, distance = gates.high(exact[0] + 0.04, official, fine)
    assert rms.value == pytest.approx(0.02, abs=1e-5) and not rms.passed
    assert not distance.passed
    assert "100% the same sample" in rms.detail


@pytest.mark.parametrize(
    ("spoil", "failing"),
    [
        (lambda clouds: clouds + 0.05 * torch.randn(clouds.shape), {"matching distance"}),
        (lambda clouds: clouds[:, :1].expand_as(clouds), {"coverage", "matching distance"}),
    ],
    ids=["rough surfaces", "always the same object"],
)
def test_fast_sees_what_scores_do_not(
    exact: Tensor, spoil: Callable[[Tensor], Tensor], failing: set[str]
) -> None:
    right = scores(exact, 1.0)
    found = gates.fast(spoil(exact), exact, (right, right))
    failed = {gate.name.removesuffix(" from exact's") for gate in found if not gate.passed}
    assert failing <= failed


def test_a_score_may_be_one_point_lower_and_no_more() -> None:
    many = torch.zeros(2, 200, 6, 2)
    for share, passes in ((0.995, True), (1.0, True), (0.98, False)):
        shape, color, *_ = gates.fast(many, many, (scores(many, share), scores(many, 1.0)))
        assert shape.passed is color.passed is passes
        assert shape.value == pytest.approx(100 * (1 - share), abs=1e-4)


@pytest.mark.parametrize(
    ("models", "name", "given"),
    [(TEXT, "base", "kind"), (TEXT, "upsample", "shape"), (IMAGE, "upsample", "shape")],
    ids=["base, guided", "upsampler", "upsampler, guided"],
)
def test_high_makes_the_samples_of_the_fine_ode(models: ModelSet, name: Any, given: Any) -> None:
    own = stage_of(models, name, "exact")
    test = gates.High(cases.analytic(own, given, count=4, points=64, surface=128))
    stage = stage_of(models, name, "high")
    assert all(gate.passed for gate in test(stage)), test(stage)
    assert not any(gate.passed for gate in test(replace(stage, steps=6)))


@pytest.mark.parametrize("name", ["base", "upsample"])
def test_fast_has_the_distribution_of_exact(monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    monkeypatch.setattr(cases, "EXACT", {"fast": 16})
    monkeypatch.setattr(cases, "analytic", partial(cases.analytic, points=48, surface=64))
    test = gates.Fast(cases.set_cases(TEXT, name, "cpu", draw=0))
    stage = stage_of(TEXT, name, "fast")
    assert all(gate.passed for gate in test(stage)), test(stage)
    assert not all(gate.passed for gate in test(replace(stage, steps=1)))


def test_starter_schedules_pass_on_their_trained_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """High on each stage, and fast on what both make together."""
    monkeypatch.setattr(cases, "POINTS", 64)
    monkeypatch.setattr(cases, "TRAINED", SMALL)
    for level in ("high", "fast"):
        found = gates.gates_of(MODEL_SETS["starter"], level)
        assert len(found) == 4
        assert all(gate.passed for gate in found), found


def test_the_search_finds_a_schedule_and_writes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cases, "POINTS", 32)
    monkeypatch.setattr(cases, "TRAINED", SMALL)
    monkeypatch.setattr(search, "FILE", tmp_path / "schedules.json")
    monkeypatch.setattr(search, "SCHEDULES", deepcopy(SCHEDULES))
    assert search.main(["--models", "starter", "--stage", "upsample", "--level", "high", "--write"]) == 0
    written = json.loads((tmp_path / "schedules.json").read_text(encoding="utf-8"))
    found = written["starter"]["upsample"].pop("high")
    assert (
        {field.name for field in fields(Stage)} >= found.keys() == SCHEDULES["starter"]["base"]["high"].keys()
    )
    assert found["steps"] <= 4 and "starter upsample, high" in capsys.readouterr().out
    assert written["released"] == SCHEDULES["released"]
    assert written["starter"]["base"] == SCHEDULES["starter"]["base"]


def test_a_cost_counts_branches_and_precision() -> None:
    sigmas = replace(TEXT.base_stage, sampler="unipc", steps=4, sigma_min=0.01, sigma_max=100.0, rho=1e6)
    assert search.cost(TEXT.base_stage) == 2 * 127  # as released: 64 steps of Heun, both branches
    assert search.cost(sigmas) == 2 * 4
    # About 100, 4.6, 0.2 and 0.01.
    assert search.cost(replace(sigmas, guided_above=1.0)) == 2 * 2 + 2
    assert search.cost(replace(sigmas, half_below=1.0)) == pytest.approx(2 * 2 + 2 * 2 * search.HALF_COST)


def test_the_shipped_schedules_ask_nothing_of_untrained_noise_levels() -> None:
    assert FILE.read_text(encoding="utf-8") == search.layout(SCHEDULES)
    for models, name, level in itertools.product(MODEL_SETS.values(), ("base", "upsample"), ("high", "fast")):
        stage = stage_of(models, name, level)  # type: ignore[arg-type]
        own = stage_of(models, name, "exact")  # type: ignore[arg-type]
        assert gates.fine_ode(own).sigma_min <= stage.sigma_min < stage.sigma_max <= own.sigma_max
        assert search.cost(stage) < search.cost(own)
