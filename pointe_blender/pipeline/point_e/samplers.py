"""Samplers: from noise to clean points by calling a denoiser along falling noise levels.

In the released samplers the order of random draws and of float32 operations is that of the released code, so
that a seed gives the same cloud. Draws are made on the host, so that it does on every device; noise levels
stay there as scalars, so that no step waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .diffusion import EDM, Denoiser, GaussianDiffusion, Network, unscale_channels

if TYPE_CHECKING:
    from ..models import Stage

Denoise = Callable[[Tensor, float], Tensor]
"""`denoise(x (B, C, N), sigma) -> (B, C, N)`, the estimate of the clean points."""

Noise = Callable[[torch.Size], Tensor]
"""`noise(shape) -> Tensor`: standard normal draws in float32 on the host."""

Steps = Iterator[tuple[int, Tensor]]
"""After every evaluation: how many steps are finished, and the estimate of the clean points."""


@dataclass(frozen=True)
class Networks:
    """A denoising network under its condition.

    Attributes
    ----------
    conditional
        Predicts the noise of (B, C, N) points.
    both
        Predicts that of (2B, C, N), the first half under the condition, the second without; what guidance
        calls, `None` where there is none.
    """

    conditional: Network
    both: Network | None = None


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
        x0 = denoise(x, float(sigma_hat))
        if sigma_next == 0:  # the Euler step onto 0 lands on the estimate
            yield i + 1, x0
            return
        yield i, x0
        d = (x - x0) / sigma_hat
        dt = sigma_next - sigma_hat
        x_2 = x + d * dt
        x0 = denoise(x_2, float(sigma_next))
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
        x0 = denoise(x, float(sigma_hat))
        yield i, x0
        d = (x - x0) / sigma_hat
        sigma_mid = ((sigma_hat ** (1 / 3) + sigma_next ** (1 / 3)) / 2) ** 3
        x_2 = x + d * (sigma_mid - sigma_hat)
        x0 = denoise(x_2, float(sigma_mid))
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
        x0 = denoise(x, float(sigma))
        sigma_up = (sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2) ** 0.5
        sigma_down = (sigma_next**2 - sigma_up**2) ** 0.5
        x = x + (x - x0) / sigma * (sigma_down - sigma)
        x = x + noise(x.shape).to(x.device) * sigma_up
        yield i + 1, (x if sigma_next == 0 else x0)


STOCHASTIC: dict[str, Callable[..., Steps]] = {"heun": heun, "dpm": dpm, "euler_ancestral": euler_ancestral}


def unipc(denoise: Denoise, x: Tensor, sigmas: Tensor, *, order: int = 3) -> Steps:
    """UniPC in its data prediction (Zhao et al. 2023): 1 evaluation a step, which corrects and predicts.

    Over lambda = -log(sigma) the ODE is x' = D - x: it is solved exactly for the polynomial through the
    latest estimates D. With all of the paper's order conditions met, its free function B(h) cancels.

    Parameters
    ----------
    denoise, x, sigmas
        As in `heun`.
    order
        Estimates that a prediction rests on, 1 or more; a correction rests on one more.

    Yields
    ------
    tuple[int, Tensor]
        As `heun`.
    """
    levels = sigmas.tolist()
    known: list[tuple[float, Tensor]] = []  # sigma and estimate, the latest last
    start = x
    for i, (sigma, sigma_next) in enumerate(pairwise(levels)):
        x0 = denoise(x, sigma)
        yield i + 1, x0
        if sigma_next == 0:
            return
        if known:
            x = _integrated(start, [*known, (sigma, x0)], known[-1][0], sigma)
        known = [*known, (sigma, x0)][-order:]
        start, x = x, _integrated(x, known, sigma, sigma_next)


def dpmpp(denoise: Denoise, x: Tensor, sigmas: Tensor) -> Steps:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): second order, 1 evaluation a step.

    Parameters and yields as in `heun`.
    """
    levels = sigmas.tolist()
    previous: tuple[float, Tensor] | None = None  # the step before, in lambda, and its estimate
    for i, (sigma, sigma_next) in enumerate(pairwise(levels)):
        x0 = denoise(x, sigma)
        yield i + 1, x0
        if sigma_next == 0:
            return
        h = math.log(sigma / sigma_next)
        ahead = x0
        if previous is not None:
            ahead = x0 + h / (2 * previous[0]) * (x0 - previous[1])
        x = sigma_next / sigma * x - math.expm1(-h) * ahead
        previous = h, x0


def guided(denoise: Denoise, scale: float) -> Denoise:
    """Classifier-free guidance (Ho and Salimans 2022), applied to the estimate of the clean points.

    Parameters
    ----------
    denoise
        Is called with the batch doubled, first the conditional half.
    scale
        Of the step from the unconditional to the conditional estimate.
    """

    def denoise_guided(x: Tensor, sigma: float) -> Tensor:
        conditional, unconditional = denoise(torch.cat([x, x]), sigma).chunk(2)
        return unconditional + scale * (conditional - unconditional)

    return denoise_guided


def diffusion_of(stage: Stage) -> Denoiser:
    """The diffusion that a stage's network was trained with."""
    if stage.diffusion == "edm":
        assert stage.sigma_data is not None
        return EDM(stage.sigma_data)
    return GaussianDiffusion(stage.diffusion, whole_levels=stage.whole_levels)


@torch.inference_mode()
def sample(
    stage: Stage,
    networks: Networks,
    shape: tuple[int, int, int],
    *,
    half: Networks | None = None,
    noise: Noise = torch.randn,
    device: torch.device | str = "cpu",
    x: Tensor | None = None,
) -> Steps:
    """Run one stage.

    Parameters
    ----------
    stage
        Diffusion, sampler and its settings.
    networks
        What denoises, on `device`; `both` where the stage is guided.
    shape
        (B, C, N) of the result.
    half
        The same in half precision, called at noise levels below `stage.half_below`.
    noise
        Draws on the host, from the global generator by default.
    device
        Where the networks are.
    x
        Where to begin, in scaled channels with noise of `stage.sigma_max` in it; from pure noise by default.

    Yields
    ------
    tuple[int, Tensor]
        After every evaluation of the network, finished steps and the estimate of the clean points,
        (B, C, N) in raw channels: xyz in [-0.5, 0.5], rgb in [0, 255]. The last is the sample.
    """
    diffusion = diffusion_of(stage)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        chosen = half if half is not None and sigma < stage.half_below else networks
        if not stage.guided or sigma <= stage.guided_above:
            return diffusion.denoise(chosen.conditional, x, sigma)
        assert chosen.both is not None, "guidance needs the unconditional branch"
        return guided(partial(diffusion.denoise, chosen.both), stage.guidance)(x, sigma)

    sigmas = karras_sigmas(stage.steps, stage.sigma_min, stage.sigma_max, stage.rho)
    if x is None:
        x = noise(torch.Size(shape)) * stage.sigma_max
    for step, x0 in _solved(stage, denoise, x.to(device), sigmas, noise):
        yield step, unscale_channels(x0)


def _solved(stage: Stage, denoise: Denoise, x: Tensor, sigmas: Tensor, noise: Noise) -> Steps:
    """The stage's sampler at work."""
    if stage.sampler == "unipc":
        return unipc(denoise, x, sigmas, order=stage.order)
    if stage.sampler == "dpmpp":
        return dpmpp(denoise, x, sigmas)
    return STOCHASTIC[stage.sampler](denoise, x, sigmas, s_churn=stage.s_churn, noise=noise)


def _integrated(x: Tensor, known: list[tuple[float, Tensor]], sigma: float, sigma_next: float) -> Tensor:
    """Follow the ODE from sigma to sigma_next with D as the polynomial through `known`, in lambda."""
    h = math.log(sigma / sigma_next)
    nodes = np.array([math.log(sigma / at) / h for at, _ in known])  # 0 at sigma, 1 at sigma_next
    # Moments of the kernel h exp(h (u - 1)) over [0, 1], by parts; the weights reproduce all of them.
    moments = [-math.expm1(-h)]
    for k in range(1, len(known)):
        moments.append(1 - k / h * moments[-1])
    weights = np.linalg.solve(np.vander(nodes, increasing=True).T, moments).tolist()
    result = sigma_next / sigma * x
    for weight, (_, x0) in zip(weights, known, strict=True):
        result = result + weight * x0
    return result


def _churned(x: Tensor, sigma: Tensor, churn: float, noise: Noise) -> tuple[Tensor, Tensor]:
    """Noise raised from sigma to sigma_hat; the draw is made even where it is not used."""
    gamma = min(churn, 2**0.5 - 1)
    drawn = noise(x.shape).to(x.device)
    sigma_hat = sigma * (gamma + 1)
    if gamma > 0:
        x = x + drawn * (sigma_hat**2 - sigma**2) ** 0.5
    return x, sigma_hat
