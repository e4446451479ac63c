"""The diffusions: exact tables, exact denoisers recovered, and a loss that is what it should be."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from pointe_blender.pipeline.point_e.diffusion import (
    EDM,
    GaussianDiffusion,
    scale_channels,
    unscale_channels,
)

SIGMA_DATA = 0.5


def test_channels_are_scaled_to_unit_range_and_back() -> None:
    corners = torch.tensor([[-0.5, -0.5, 0.5, 0, 127.5, 255], [0.5, 0.25, 0, 255, 0, 51]]).T[None]
    scaled = scale_channels(corners)
    expected = torch.tensor([[-1, -1, 1, -1, 0, 1], [1, 0.5, 0, 1, -1, -0.6]]).T[None]
    torch.testing.assert_close(scaled, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(unscale_channels(scaled), corners, atol=5e-5, rtol=0)


def test_the_linear_schedule_is_ho_et_als_stretched() -> None:
    betas = 1 - np.exp(np.diff(np.log(GaussianDiffusion("linear").alphas_cumprod), prepend=0.0))
    np.testing.assert_allclose(betas[[0, -1]], [1e-4 * 1000 / 1024, 0.02 * 1000 / 1024], rtol=1e-9)
    np.testing.assert_allclose(np.diff(betas, 2), 0, atol=1e-12)


def test_the_cosine_schedule_is_nichol_and_dhariwals() -> None:
    t = np.arange(1, 1025) / 1024
    signal = (np.cos((t + 0.008) / 1.008 * np.pi / 2) / np.cos(0.008 / 1.008 * np.pi / 2)) ** 2
    found = GaussianDiffusion("cosine").alphas_cumprod
    np.testing.assert_allclose(found[:-1], signal[:-1], rtol=1e-9)
    assert 1 - found[-1] / found[-2] == pytest.approx(0.999)  # the last step would remove everything


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_noise_level_is_found_again_from_its_sigma_and_truncated(schedule: str) -> None:
    diffusion = GaussianDiffusion(schedule)  # type: ignore[arg-type]
    sigmas = diffusion.sigmas
    between = np.sqrt(sigmas[100:900] * sigmas[101:901])
    assert [diffusion.level(sigma) for sigma in between] == list(range(100, 900))
    ends = [0.0, 1e-3, sigmas[0] * 0.9, sigmas[-1] * 1.1, 1e6]
    assert [diffusion.level(sigma) for sigma in ends] == [0, 0, 0, 1023, 1023]


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_in_fractions_every_noise_level_is_its_own_sigmas(schedule: str) -> None:
    diffusion = GaussianDiffusion(schedule, whole_levels=False)  # type: ignore[arg-type]
    found = [diffusion.level(sigma) for sigma in diffusion.sigmas]
    np.testing.assert_allclose(found, range(1024), atol=1e-6)
    halfway = math.sqrt(diffusion.sigmas[300] * diffusion.sigmas[301])
    assert diffusion.level(halfway) == pytest.approx(300.5)
    assert [diffusion.level(sigma) for sigma in (1e-4, 1e6)] == [0, 1023]


@pytest.mark.parametrize("whole_levels", [True, False])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_true_noise_gives_the_clean_points(schedule: str, whole_levels: bool) -> None:
    """At every sigma where levels are told in fractions, near the trained ones where they are truncated."""
    diffusion = GaussianDiffusion(schedule, whole_levels=whole_levels)  # type: ignore[arg-type]
    torch.manual_seed(0)
    clean, noise = torch.rand(2, 6, 50) * 2 - 1, torch.randn(2, 6, 50)
    asked: list[Tensor] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        asked[:] = (x, t)
        return torch.cat([noise, torch.full_like(noise, torch.nan)], dim=1)

    for level in (0, 5, 300, 500):
        # A little above each level: below it, it would be truncated to the one before.
        part = 0.02 if whole_levels else 0.5
        low, high = diffusion.sigmas[level : level + 2]
        sigma = float(np.float32(low + part * (high - low)))
        x0 = diffusion.denoise(network, clean + sigma * noise, sigma)
        torch.testing.assert_close(x0, clean, atol=5e-3 if whole_levels else 1e-4, rtol=0)
        x, t = asked
        assert x.dtype == t.dtype == torch.float32
        if whole_levels:
            assert t.tolist() == [level] * 2
        else:
            assert level < t[0] < level + 1
        alpha = 1 / (1 + sigma**2)
        expected = math.sqrt(alpha) * clean + math.sqrt(1 - alpha) * noise
        torch.testing.assert_close(x, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("diffusion", [GaussianDiffusion("cosine"), EDM(SIGMA_DATA)])
def test_estimates_are_clipped_unless_told_otherwise(diffusion: GaussianDiffusion | EDM) -> None:
    x = torch.full((2, 6, 5), 40.0)

    def network(x: Tensor, t: Tensor) -> Tensor:
        return torch.full((2, 12, 5), 0.1)

    assert diffusion.denoise(network, x, 3.0).abs().max() == 1
    assert diffusion.denoise(network, x, 3.0, clip=False).abs().max() > 1


def gaussian_network(x: Tensor, t: Tensor) -> Tensor:
    """What EDM's network should answer for normal data of deviation `SIGMA_DATA`: always 0."""
    return torch.zeros_like(x)


def test_edm_denoises_gaussian_data_by_the_wiener_filter() -> None:
    x = torch.randn(3, 6, 20)
    for sigma in (0.01, 0.5, 50.0):
        gain = SIGMA_DATA**2 / (SIGMA_DATA**2 + sigma**2)
        found = EDM(SIGMA_DATA).denoise(gaussian_network, x, sigma, clip=False)
        torch.testing.assert_close(found, gain * x)


def test_edm_loss_of_the_exact_denoiser_is_one_at_every_noise_level() -> None:
    """For Gaussian data nothing can be learnt, and the target has unit variance (Karras et al., 4)."""
    torch.manual_seed(0)
    sigma = torch.tensor([0.01, 0.1, 0.5, 3.0, 60.0])
    clean = SIGMA_DATA * torch.randn(5, 6, 20_000)
    loss = EDM(SIGMA_DATA).loss(gaussian_network, clean, sigma, torch.randn_like(clean))
    torch.testing.assert_close(loss, torch.ones(5), atol=0.02, rtol=0)


def test_edm_loss_is_the_weighted_error_of_the_denoiser() -> None:
    torch.manual_seed(0)
    edm = EDM(0.6)
    clean, noise, sigma = torch.rand(3, 6, 50) - 0.5, torch.randn(3, 6, 50), torch.tensor([0.05, 0.7, 9.0])
    asked: list[Tensor] = []

    def network(x: Tensor, t: Tensor, push: Tensor) -> Tensor:
        asked.append(t)
        return torch.cat([torch.sin(x) + push, torch.full_like(x, torch.nan)], dim=1)

    push = torch.tensor(0.3)
    loss = edm.loss(network, clean, sigma, noise, push=push)
    levels = sigma.tolist()
    torch.testing.assert_close(asked[0], torch.tensor([250 * math.log(level) for level in levels]))
    for i, level in enumerate(levels):
        x = clean[i : i + 1] + level * noise[i : i + 1]
        x0 = edm.denoise(partial(network, push=push), x, level, clip=False)
        error = (x0 - clean[i : i + 1]).square().mean()
        torch.testing.assert_close(loss[i], error * (level**2 + 0.6**2) / (level * 0.6) ** 2)


def test_edm_loss_has_gradients_in_bfloat16_too() -> None:
    weight = torch.nn.Parameter(torch.zeros(6, 6))
    clean = torch.rand(2, 6, 30) - 0.5
    with torch.autocast("cpu", torch.bfloat16):
        loss = EDM(0.6).loss(lambda x, t: weight @ x, clean, torch.tensor([0.3, 2.0]), torch.randn(2, 6, 30))
    assert loss.dtype == torch.float32
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.abs().max() > 0


def test_ddpm_with_the_true_noise_walks_back_to_the_clean_points() -> None:
    diffusion = GaussianDiffusion("cosine")
    clean = torch.rand(2, 6, 40) * 2 - 1

    def network(x: Tensor, t: Tensor) -> Tensor:
        alpha = torch.tensor(diffusion.alphas_cumprod[t.long().numpy()], dtype=torch.float32)[:, None, None]
        eps = (x - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        return torch.cat([eps, torch.full_like(eps, -1.0)], dim=1)

    start = torch.randn(2, 6, 40)
    steps = list(diffusion.ddpm(network, start, 16, generator=torch.Generator().manual_seed(0)))
    assert [step for step, _ in steps] == list(range(1, 17))
    torch.testing.assert_close(steps[-1][1], clean, atol=1e-3, rtol=0)


def test_ddpm_visits_levels_from_the_last_to_the_first() -> None:
    visited: list[float] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        visited.append(t[0].item())
        return torch.zeros(1, 12, 4)

    list(GaussianDiffusion("linear").ddpm(network, torch.randn(1, 6, 4), 5))
    assert visited == [1023.0, 767.0, 512.0, 256.0, 0.0]
