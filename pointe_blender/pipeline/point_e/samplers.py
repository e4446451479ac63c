"""Samplers: from noise to clean points by calling a denoiser along falling noise levels.

The order of random draws and of float32 operations is that of the released code, so that a seed
gives the same cloud. Draws are made on the host, so that it does on every device; noise levels stay
there as float32 scalars, so that no step waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .diffusion import EDM, Denoiser, GaussianDiffusion, Network, unscale_channels

if TYPE_CHECKING:
    from ..models import Stage

Denoise = Callable[[Tensor, Tensor], Tensor]
"""`denoise(x (B, C, N), sigma (B,)) -> (B, C, N)`, the estimate of the clean points."""

Noise = Callable[[torch.Size], Tensor]
"""`noise(shape) -> Tensor`: standard normal draws in float32 on the host."""

Steps = Iterator[tuple[int, Tensor]]
"""After every evaluation: how many steps are finished, and the estimate of the clean points."""


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Noise levels of Karras et al. 2022, equation 5: (steps + 1,) float32 on the host, falling to 0."""
    ramp = torch.linspace(0, 1, steps)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1)])


def heun(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    s_churn: float = 0.0,
    noise: Noise = torch.randn,
) -> Steps:
    """Algorithm 2 of Karras et al. 2022: second order, 2 evaluations a step, 1 in the last.

    Parameters
    ----------
    denoise
        The denoiser.
    x
        (B, C, N) points with noise of standard deviation `sigmas[0]`.
    sigmas
        (n + 1,) float32 noise levels on the host, falling to 0.
    s_churn
        Noise added over the whole run; 0 solves the ODE.
    noise
        Draws on the host, from the global generator by default.

    Yields
    ------
    tuple[int, Tensor]
        Finished steps and the estimate of the clean points; the last is the sample.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma_hat = _churned(x, sigma, s_churn / (len(sigmas) - 1), noise)
        x0 = _at(denoise, x, sigma_hat)
        if sigma_next == 0:  # the Euler step onto 0 lands on the estimate
            yield i + 1, x0
            return
        yield i, x0
        d = (x - x0) / sigma_hat
        dt = sigma_next - sigma_hat
        x_2 = x + d * dt
        x0 = _at(denoise, x_2, sigma_next)
        d_2 = (x_2 - x0) / sigma_next
        x = x + (d + d_2) / 2 * dt
        yield i + 1, x0


def dpm(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    s_churn: float = 0.0,
    noise: Noise = torch.randn,
) -> Steps:
    """DPM-Solver-2 (Lu et al. 2022): 2 evaluations a step, the second midway in the cube root of sigma.

    Parameters and yields as in `heun`.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x, sigma_hat = _churned(x, sigma, s_churn / (len(sigmas) - 1), noise)
        x0 = _at(denoise, x, sigma_hat)
        yield i, x0
        d = (x - x0) / sigma_hat
        sigma_mid = ((sigma_hat ** (1 / 3) + sigma_next ** (1 / 3)) / 2) ** 3
        x_2 = x + d * (sigma_mid - sigma_hat)
        x0 = _at(denoise, x_2, sigma_mid)
        d_2 = (x_2 - x0) / sigma_mid
        x = x + d_2 * (sigma_next - sigma_hat)
        yield i + 1, (x if sigma_next == 0 else x0)


def euler_ancestral(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    s_churn: float = 0.0,
    noise: Noise = torch.randn,
) -> Steps:
    """Euler steps that overshoot and add fresh noise, 1 evaluation each; `s_churn` has no part in it.

    Parameters and yields as in `heun`.
    """
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x0 = _at(denoise, x, sigma)
        sigma_up = (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2) ** 0.5
        sigma_down = (sigma_next**2 - sigma_up**2) ** 0.5
        x = x + (x - x0) / sigma * (sigma_down - sigma)
        x = x + noise(x.shape).to(x.device) * sigma_up
        yield i + 1, (x if sigma_next == 0 else x0)


SAMPLERS: dict[str, Callable[..., Steps]] = {"heun": heun, "dpm": dpm, "euler_ancestral": euler_ancestral}


def with_unconditional(condition: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The condition of a guided batch: each tensor followed by as many rows of zeros."""
    return {name: torch.cat([value, torch.zeros_like(value)]) for name, value in condition.items()}


def guided(denoise: Denoise, scale: float) -> Denoise:
    """Classifier-free guidance (Ho and Salimans 2022), applied to the estimate of the clean points.

    Parameters
    ----------
    denoise
        Is called with the batch doubled; its condition is `with_unconditional`'s.
    scale
        Of the step from the unconditional to the conditional estimate. 0 and 1 mean none:
        `denoise` itself comes back, its condition must not be doubled.
    """
    if not is_guided(scale):
        return denoise

    def denoise_guided(x: Tensor, sigma: Tensor) -> Tensor:
        conditional, unconditional = denoise(torch.cat([x, x]), torch.cat([sigma, sigma])).chunk(2)
        return unconditional + scale * (conditional - unconditional)

    return denoise_guided


def is_guided(scale: float) -> bool:
    """Whether this scale asks for guidance at all."""
    return scale not in (0, 1)


def diffusion_of(stage: Stage) -> Denoiser:
    """The diffusion that a stage's network was trained with."""
    if stage.diffusion == "edm":
        assert stage.sigma_data is not None
        return EDM(stage.sigma_data)
    return GaussianDiffusion(stage.diffusion)


@torch.inference_mode()
def sample(
    stage: Stage,
    network: Network,
    shape: tuple[int, int, int],
    *,
    condition: Mapping[str, Tensor] | None = None,
    noise: Noise = torch.randn,
    device: torch.device | str = "cpu",
    x: Tensor | None = None,
) -> Steps:
    """Run one stage.

    Parameters
    ----------
    stage
        Diffusion, sampler and its settings.
    network
        What denoises, on `device`.
    shape
        (B, C, N) of the result.
    condition
        Keyword arguments of the network, (B, ...) each.
    noise
        Draws on the host, from the global generator by default.
    device
        Where the network is.
    x
        Where to begin, in scaled channels with noise of `stage.sigma_max` in it; from pure noise by default.

    Yields
    ------
    tuple[int, Tensor]
        After every evaluation of the network, finished steps and the estimate of the clean points,
        (B, C, N) in raw channels: xyz in [-0.5, 0.5], rgb in [0, 255]. The last is the sample.
    """
    condition = condition or {}
    if is_guided(stage.guidance):
        condition = with_unconditional(condition)
    diffusion = diffusion_of(stage)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return diffusion.denoise(network, x, sigma, clip=True, **condition)

    sigmas = karras_sigmas(stage.steps, stage.sigma_min, stage.sigma_max, stage.rho)
    if x is None:
        x = noise(torch.Size(shape)) * stage.sigma_max
    sampler = SAMPLERS[stage.sampler]
    for step, x0 in sampler(
        guided(denoise, stage.guidance), x.to(device), sigmas, s_churn=stage.s_churn, noise=noise
    ):
        yield step, unscale_channels(x0)


def _at(denoise: Denoise, x: Tensor, sigma: Tensor) -> Tensor:
    return denoise(x, sigma.expand(len(x)))


def _churned(x: Tensor, sigma: Tensor, churn: float, noise: Noise) -> tuple[Tensor, Tensor]:
    """Noise raised from sigma to sigma_hat; the draw is made even where it is not used."""
    gamma = min(churn, 2**0.5 - 1)
    drawn = noise(x.shape).to(x.device)
    sigma_hat = sigma * (gamma + 1)
    if gamma > 0:
        x = x + drawn * (sigma_hat**2 - sigma**2) ** 0.5
    return x, sigma_hat
