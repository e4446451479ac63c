"""Noise: how clean points and noisy points relate, and what the network is asked to predict.

Both diffusions answer the one question that samplers ask: given points with noise of standard
deviation sigma, what are the clean points? Noise levels are numbers of the host; a device sees float32 only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import accumulate, repeat
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

CHANNEL_SCALES = (2.0, 2.0, 2.0, 0.007843137255, 0.007843137255, 0.007843137255)
CHANNEL_BIASES = (0.0, 0.0, 0.0, -1.0, -1.0, -1.0)

Network = Callable[[Tensor, Tensor], Tensor]
"""`network(x (B, C, N), t (B,)) -> (B, C or more, N)`; whatever it depends on beside is bound to it."""


def scale_channels(cloud: Tensor) -> Tensor:
    """Raw (B, 6, N), xyz in [-0.5, 0.5] and rgb in [0, 255], to [-1, 1]."""
    scales, biases = (cloud.new_tensor(v)[:, None] for v in (CHANNEL_SCALES, CHANNEL_BIASES))
    return cloud * scales + biases


def unscale_channels(x: Tensor) -> Tensor:
    """The inverse of `scale_channels`."""
    scales, biases = (x.new_tensor(v)[:, None] for v in (CHANNEL_SCALES, CHANNEL_BIASES))
    return (x - biases) / scales


class Denoiser(Protocol):
    """What a sampler needs of a diffusion."""

    def denoise(self, network: Network, x: Tensor, sigma: float, clip: bool = True) -> Tensor:
        """Estimate the clean points (B, C, N) from x with noise of standard deviation sigma."""


class GaussianDiffusion:
    """The variance-preserving diffusion of the released models, predicting the noise.

    Ho et al. 2020 (linear), Nichol and Dhariwal 2021 (cosine, learned variances).

    Parameters
    ----------
    schedule
        "cosine" or "linear".
    steps
        Noise levels the network was trained with.
    whole_levels
        Whether the network is told the level below in whole numbers, as the released samplers do, or the
        level itself, in fractions.
    """

    def __init__(
        self, schedule: Literal["cosine", "linear"], steps: int = 1024, whole_levels: bool = True
    ) -> None:
        self.steps = steps
        self.whole_levels = whole_levels
        self.alphas_cumprod = np.cumprod(1 - _betas(schedule, steps))
        self.sigmas = np.sqrt(1 / self.alphas_cumprod - 1)
        """(steps,) float64: ratio of noise to signal at each level, rising; below the first is untrained."""

    def level(self, sigma: float) -> float:
        """The noise level, 0 to steps - 1, whose ratio of noise to signal is sigma."""
        if not self.whole_levels:
            return float(np.interp(np.log(sigma), np.log(self.sigmas), np.arange(self.steps)))
        # In the released code's precision and order: where it is truncated, a last bit decides.
        alpha = (1 / (torch.tensor(sigma, dtype=torch.float32) ** 2 + 1)).item()
        return float(int(np.interp(alpha, self.alphas_cumprod[::-1], np.arange(self.steps)[::-1])))

    def denoise(self, network: Network, x: Tensor, sigma: float, clip: bool = True) -> Tensor:
        """Estimate the clean points.

        Parameters
        ----------
        network
            Predicts the noise in its first C channels.
        x
            (B, C, N) clean points plus noise of standard deviation sigma.
        sigma
            Above 0; a number of the host, so that nothing waits for the device.
        clip
            Clamp the estimate to [-1, 1].

        Returns
        -------
        Tensor
            (B, C, N).
        """
        level = self.level(sigma)
        shrink = (1 / (torch.tensor(sigma, dtype=torch.float32) ** 2 + 1) ** 0.5).item()
        # A whole level is that of a slightly smaller sigma, whose relation to the points it keeps.
        known = float(self.sigmas[int(level)]) if self.whole_levels else sigma
        x = x * shrink
        eps = network(x, x.new_full((len(x),), level))[:, : x.shape[1]]
        x0 = math.sqrt(1 + known**2) * x - known * eps
        return x0.clamp(-1, 1) if clip else x0

    @torch.inference_mode()
    def ddpm(
        self,
        network: Network,
        x: Tensor,
        steps: int,
        *,
        generator: torch.Generator | None = None,
        clip: bool = True,
    ) -> Iterator[tuple[int, Tensor]]:
        """Sample by the ancestral loop (Ho et al. 2020, algorithm 2) with learned variances.

        Parameters
        ----------
        network
            Predicts noise in its first C channels, and variances in the next C.
        x
            (B, C, N) normal noise.
        steps
            2 to `self.steps` noise levels, spread evenly.
        generator
            Host generator of the draws; the global one by default.
        clip
            Clamp the estimates to [-1, 1].

        Yields
        ------
        tuple[int, Tensor]
            Finished steps and the estimate of the clean points; the last is the sample.
        """
        levels = _spread(self.steps, steps)
        alphas_cumprod = self.alphas_cumprod[levels]
        previous = np.append(1.0, alphas_cumprod[:-1])
        betas = 1 - alphas_cumprod / previous
        variances = betas * (1 - previous) / (1 - alphas_cumprod)  # of x[t-1] given x[t] and x0
        tables = [
            np.sqrt(1 / alphas_cumprod),
            np.sqrt(1 / alphas_cumprod - 1),
            np.log(betas),
            np.log(np.append(variances[1], variances[1:])),  # the first is 0
            betas * np.sqrt(previous) / (1 - alphas_cumprod),
            (1 - previous) * np.sqrt(1 - betas) / (1 - alphas_cumprod),
        ]
        rows = np.stack(tables, axis=1).astype(np.float32).tolist()

        channels = x.shape[1]
        for i in reversed(range(steps)):
            c_x, c_eps, log_upper, log_lower, mean_x0, mean_x = rows[i]
            out = network(x, x.new_full((len(x),), float(levels[i])))
            x0 = c_x * x - c_eps * out[:, :channels]
            x0 = x0.clamp(-1, 1) if clip else x0
            share = (out[:, channels : 2 * channels] + 1) / 2
            deviation = torch.exp(0.5 * (share * log_upper + (1 - share) * log_lower))
            noise = torch.randn(x.shape, generator=generator).to(x.device)
            mean = mean_x0 * x0 + mean_x * x
            x = mean + deviation * noise if i else mean
            yield steps - i, (x0 if i else x)


class EDM:
    """The variance-exploding diffusion of Karras et al. 2022, with its preconditioning.

    Parameters
    ----------
    sigma_data
        Standard deviation of the scaled data.
    """

    def __init__(self, sigma_data: float) -> None:
        self.sigma_data = sigma_data

    def denoise(self, network: Network, x: Tensor, sigma: float, clip: bool = True) -> Tensor:
        """Estimate the clean points: D in equation 7. Parameters as in `GaussianDiffusion.denoise`."""
        total = sigma**2 + self.sigma_data**2
        t = x.new_full((len(x),), 250 * math.log(sigma))
        raw = network(x / math.sqrt(total), t)[:, : x.shape[1]].float()
        x0 = self.sigma_data**2 / total * x + sigma * self.sigma_data / math.sqrt(total) * raw
        return x0.clamp(-1, 1) if clip else x0

    def loss(
        self,
        network: Callable[..., Tensor],
        x_start: Tensor,
        sigma: Tensor,
        noise: Tensor,
        **condition: Tensor,
    ) -> Tensor:
        """Mean squared error of each sample, against a target of unit variance (equation 8).

        The weight of equation 8 is 1 / c_out², which makes every noise level count alike.

        Parameters
        ----------
        network
            Its first C output channels are F in equation 7.
        x_start
            (B, C, N) clean points, scaled to [-1, 1].
        sigma
            (B,) standard deviation of the noise to add.
        noise
            (B, C, N) of unit variance.
        condition
            Passed on to the network.

        Returns
        -------
        Tensor
            (B,) float32.
        """
        total = sigma**2 + self.sigma_data**2
        c_skip, c_out = self.sigma_data**2 / total, sigma * self.sigma_data / total.sqrt()
        x = x_start + _wide(sigma) * noise
        target = (x_start - _wide(c_skip) * x) / _wide(c_out)
        raw = network(_wide(1 / total.sqrt()) * x, 250 * sigma.log(), **condition)[:, : x.shape[1]].float()
        return (raw - target).square().mean(dim=(1, 2))


@cache
def _betas(schedule: str, steps: int) -> npt.NDArray[np.float64]:
    """Variance added at each noise level, float64."""
    if schedule == "linear":
        return np.linspace(0.1 / steps, 20 / steps, steps)
    signal = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
    betas: npt.NDArray[np.float64] = np.minimum(1 - signal[1:] / signal[:-1], 0.999)
    return betas


def _spread(total: int, count: int) -> list[int]:
    """`count` of `total` noise levels, first and last among them, rounded as the released code does."""
    stride = (total - 1) / (count - 1)
    return [round(v) for v in accumulate(repeat(stride, count - 1), initial=0.0)]


def _wide(v: Tensor) -> Tensor:
    """(B,) to (B, 1, 1)."""
    return v[:, None, None]
