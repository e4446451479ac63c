"""Samplers: exact solutions where there are any, and equal clouds from equal seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pointe_blender.pipeline.models import Stage
from pointe_blender.pipeline.point_e.diffusion import EDM, scale_channels, unscale_channels
from pointe_blender.pipeline.point_e.samplers import (
    STOCHASTIC,
    Networks,
    dpm,
    dpmpp,
    euler_ancestral,
    guided,
    heun,
    karras_sigmas,
    sample,
    unipc,
)
from tests import parity

DEVIATION = 0.3
EDM_STAGE = Stage(64, "edm", steps=6, sigma_max=60.0, s_churn=3.0, guidance=0.0, sigma_data=0.5)


SAMPLERS: dict[str, Callable[..., Any]] = {**STOCHASTIC, "unipc": unipc, "dpmpp": dpmpp}


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """The exact denoiser of normal points of deviation `DEVIATION`."""
    return x * (DEVIATION**2 / (DEVIATION**2 + sigma**2))


def pulling(x: Tensor, t: Tensor, pull: Tensor | None = None) -> Tensor:
    """A network that pulls towards a condition."""
    output = -0.5 * torch.tanh(x + t[:, None, None] / 1000)
    if pull is not None:
        output = output + pull[:, None, None]
    return torch.cat([output, torch.zeros_like(output)], dim=1)


def towards(pull: Tensor) -> Networks:
    """`pulling` towards a condition, (B,), and towards nothing."""
    both = torch.cat([pull, torch.zeros_like(pull)])
    return Networks(partial(pulling, pull=pull), both=partial(pulling, pull=both))


FREE = Networks(pulling)


def last(stage: Stage, networks: Networks = FREE, seed: int = 3, **options: Any) -> Tensor:
    """The sample of a stage."""
    generator = torch.Generator().manual_seed(seed)
    *_, (step, cloud) = sample(
        stage, networks, (2, 6, 64), noise=partial(torch.randn, generator=generator), **options
    )
    assert step == stage.steps
    return cloud


def test_sigmas_fall_as_karras_et_al_say() -> None:
    sigmas = karras_sigmas(64, 1e-3, 120.0)
    expected = [(120 ** (1 / 7) + i / 63 * (0.001 ** (1 / 7) - 120 ** (1 / 7))) ** 7 for i in range(64)]
    np.testing.assert_allclose(sigmas[:-1], expected, rtol=1e-4)
    assert sigmas.dtype == torch.float32 and sigmas[-1] == 0 and len(sigmas) == 65
    assert karras_sigmas(1, 1e-3, 120.0).tolist() == pytest.approx([120.0, 0.0])


@pytest.mark.parametrize(
    ("sampler", "order"),
    [
        (heun, 2),
        (dpm, 2),
        (dpmpp, 2),
        (partial(unipc, order=1), 2),
        (partial(unipc, order=2), 3),
        (partial(unipc, order=3), 4),
    ],
)
def test_the_ode_of_a_gaussian_is_solved_to_the_samplers_order(
    sampler: Callable[..., Any], order: int
) -> None:
    """The exact solution shrinks x by the ratio of the total deviations; UniPC's corrector adds an order."""
    torch.manual_seed(0)
    x = torch.randn(4, 6, 100, dtype=torch.float64) * 60
    exact = x * DEVIATION / math.hypot(DEVIATION, 60)
    errors = []
    for steps in (80, 160):
        *_, (_, found) = sampler(gaussian, x, karras_sigmas(steps, 1e-4, 60.0).double())
        errors.append((found - exact).abs().max().item())
    assert errors[0] < 1e-2
    assert errors[0] / errors[1] > 0.8 * 2**order


def test_unipc_follows_a_denoiser_that_is_a_polynomial_in_log_sigma_exactly() -> None:
    """D = log(sigma)²: x' = D - x over lambda has the solution lambda² - 2 lambda + 2 + c exp(-lambda)."""

    def square(x: Tensor, sigma: float) -> Tensor:
        return torch.full_like(x, math.log(sigma) ** 2)

    sigmas = karras_sigmas(12, 1e-2, 20.0).double()
    first, final = -math.log(sigmas[0]), -math.log(sigmas[-2])
    seen: list[Tensor] = []

    def watched(x: Tensor, sigma: float) -> Tensor:
        seen.append(x)
        return square(x, sigma)

    def solution(at: float) -> float:
        return at**2 - 2 * at + 2 + math.exp(-at)

    start = torch.full((1, 6, 2), solution(first), dtype=torch.float64)
    # It has nothing to rest on in its first two steps: there it is started on the solution itself.
    *_, _ = unipc(watched, start, sigmas, order=3)
    drift = [x[0, 0, 0].item() - solution(-math.log(s)) for x, s in zip(seen, sigmas[:-1], strict=True)]
    decayed = [d / s for d, s in zip(drift[3:], sigmas[3:-1].tolist(), strict=True)]
    np.testing.assert_allclose(
        decayed, decayed[0], rtol=1e-6
    )  # the error made at first only shrinks as sigma
    assert abs(drift[-1]) < 1e-3 and final > first


def test_ancestral_sampling_of_a_gaussian_has_its_deviation() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6, 4000) * 60
    *_, (_, found) = euler_ancestral(gaussian, x, karras_sigmas(200, 1e-3, 60.0))
    assert found.std().item() == pytest.approx(DEVIATION, rel=0.05)


def test_churn_keeps_the_deviation_of_a_gaussian() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6, 4000) * 60
    *_, (_, found) = heun(gaussian, x, karras_sigmas(60, 1e-3, 60.0), s_churn=20.0)
    assert found.std().item() == pytest.approx(DEVIATION, rel=0.03)


@pytest.mark.parametrize(
    ("name", "evaluations"),
    [("heun", 127), ("dpm", 128), ("euler_ancestral", 64), ("unipc", 64), ("dpmpp", 64)],
)
def test_every_evaluation_is_followed_by_a_chance_to_stop(name: str, evaluations: int) -> None:
    calls: list[float] = []

    def counted(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return gaussian(x, sigma)

    steps = []
    for step, x0 in SAMPLERS[name](counted, torch.randn(2, 6, 5), karras_sigmas(64, 1e-3, 120.0)):
        steps.append(step)
        assert len(calls) == len(steps) and x0.shape == (2, 6, 5)
    assert len(calls) == evaluations and steps[-1] == 64 and steps == sorted(steps)
    assert calls == sorted(calls, reverse=True) or name == "dpm"
    assert all(type(sigma) is float for sigma in calls)


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_equal_seeds_give_equal_clouds_and_others_do_not(sampler: Any) -> None:
    stage = replace(EDM_STAGE, sampler=sampler)
    assert torch.equal(last(stage), last(stage))
    assert (last(stage) - last(stage, seed=4)).abs().max() > 1e-3


def test_the_global_generator_draws_what_an_explicit_one_does() -> None:
    torch.manual_seed(3)
    *_, (_, cloud) = sample(EDM_STAGE, FREE, (2, 6, 64))
    assert torch.equal(cloud, last(EDM_STAGE))


@pytest.mark.parametrize("churn", [0.0, 3.0])
def test_noise_is_drawn_on_every_step_used_or_not(churn: float) -> None:
    generator = torch.Generator().manual_seed(3)
    list(
        sample(
            replace(EDM_STAGE, s_churn=churn),
            FREE,
            (2, 6, 64),
            noise=partial(torch.randn, generator=generator),
        )
    )
    other = torch.Generator().manual_seed(3)
    for _ in range(1 + EDM_STAGE.steps):
        torch.randn(2, 6, 64, generator=other)
    assert torch.equal(generator.get_state(), other.get_state())


def test_clouds_come_in_raw_units_within_their_range() -> None:
    cloud = last(EDM_STAGE)
    assert cloud[:, :3].abs().max() <= 0.5 + 1e-6
    assert cloud[:, 3:].min() >= -1e-3 and cloud[:, 3:].max() <= 255 + 1e-3


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_scales_of_zero_and_one_mean_no_guidance(scale: float) -> None:
    alone = Networks(towards(torch.tensor([0.5, -0.5])).conditional)
    assert torch.equal(last(replace(EDM_STAGE, guidance=scale), alone), last(EDM_STAGE, alone))


def test_guidance_pushes_away_from_the_unconditional_estimate() -> None:
    seen: list[tuple[int, ...]] = []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        seen.append(tuple(x.shape))
        return torch.cat([torch.full((2, 6, 5), 0.5), torch.full((2, 6, 5), 0.1)])

    x0 = guided(denoise, 3.0)(torch.randn(2, 6, 5), 1.0)
    torch.testing.assert_close(x0, torch.full((2, 6, 5), 0.1 + 3 * 0.4))
    assert seen == [(4, 6, 5)]


def test_below_its_end_guidance_costs_no_second_branch() -> None:
    networks, rows = towards(torch.tensor([0.5, -0.5])), []

    def counting(network: Any) -> Any:
        return lambda x, t: (rows.append(len(x)), network(x, t))[1]

    assert networks.both is not None
    counted = Networks(counting(networks.conditional), both=counting(networks.both))
    stage = replace(EDM_STAGE, sampler="unipc", guidance=3.0, steps=5, guided_above=1.0)
    last(stage, counted)
    above = int((karras_sigmas(5, stage.sigma_min, stage.sigma_max) > 1.0).sum())
    assert 0 < above < 5 and rows == [4] * above + [2] * (5 - above)


def test_half_precision_is_for_the_lower_noise_levels() -> None:
    asked: list[tuple[str, float]] = []

    def noted(name: str) -> Networks:
        return Networks(lambda x, t: (asked.append((name, t[0].item())), pulling(x, t))[1])

    stage = replace(EDM_STAGE, sampler="dpmpp", half_below=0.7)
    last(stage, noted("full"), half=noted("half"))
    limit = 250 * math.log(0.7)  # EDM tells the network 1000 log(sigma) / 4
    assert [name for name, _ in asked] == ["full" if t >= limit else "half" for _, t in asked]
    assert {name for name, _ in asked} == {"full", "half"}


def test_sampling_may_start_from_points_that_are_already_there() -> None:
    stage = replace(EDM_STAGE, sigma_max=1e-2, s_churn=0.0, steps=3)
    torch.manual_seed(0)
    coarse = torch.cat([torch.rand(2, 3, 64) - 0.5, torch.rand(2, 3, 64) * 255], dim=1) * 0.8
    found = last(stage, x=scale_channels(coarse))
    moved = (scale_channels(found) - scale_channels(coarse)).abs().max()
    assert 0 < moved < 0.05


def test_nothing_is_recorded_for_gradients() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    *_, (_, cloud) = sample(EDM_STAGE, Networks(lambda x, t: weight * x), (1, 6, 8))
    assert not cloud.requires_grad


def test_the_first_variant_does_not_depend_on_the_network_of_others() -> None:
    """Rows of a batch never mix."""
    one, other = (towards(torch.tensor([0.5, second])) for second in (-0.5, 0.2))
    assert torch.equal(last(EDM_STAGE, one)[0], last(EDM_STAGE, other)[0])


def test_closed_forms_answer_as_recorded(recorded: Path) -> None:
    settings = json.loads((recorded / "sampling.json").read_text())
    with np.load(recorded / "sampling.npz") as answers:
        cases = {name: answers[name] for name in answers if name != "two_stage"}
    for name, expected in cases.items():
        found = parity.closed_form(name, settings, expected.shape)
        np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("scale", [0.0, 2.0])
def test_a_stage_is_its_denoiser_guided_sampled_and_unscaled(scale: float) -> None:
    networks, edm = towards(torch.tensor([0.5, -0.5])), EDM(0.5)
    assert networks.both is not None
    denoise = partial(edm.denoise, networks.conditional)
    if scale:
        denoise = guided(partial(edm.denoise, networks.both), scale)
    torch.manual_seed(3)
    sigmas = karras_sigmas(EDM_STAGE.steps, EDM_STAGE.sigma_min, EDM_STAGE.sigma_max)
    x = torch.randn(2, 6, 64) * EDM_STAGE.sigma_max
    *_, (_, x0) = heun(denoise, x, sigmas, s_churn=EDM_STAGE.s_churn)
    found = last(replace(EDM_STAGE, guidance=scale), networks)
    torch.testing.assert_close(found, unscale_channels(x0))
