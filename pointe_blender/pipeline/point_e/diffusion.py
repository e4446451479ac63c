"""Noise: how clean points and noisy points relate, and what the network is asked to predict.

Both diffusions answer the one question that samplers ask: given points with noise of standard
deviation sigma, what are the clean points? Tables are float64 on the host; a device sees float32 only.
"""

from __future__ import annotations

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

Network = Callable[..., Tensor]
"""`network(x (B, C, N), t (B,), **condition) -> (B, C or more, N)`."""


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

    def denoise(
        self, network: Network, x: Tensor, sigma: Tensor, clip: bool = True, **condition: Tensor
    ) -> Tensor:
        """Estimate the clean points (B, C, N) from x with noise of standard deviation sigma (B,)."""


class GaussianDiffusion:
    """The variance-preserving diffusion of the released models, predicting the noise.

    Ho et al. 2020 (linear), Nichol and Dhariwal 2021 (cosine, learned variances).

    Parameters
    ----------
    schedule
        "cosine" or "linear".
    steps
        Noise levels the network was trained with.
    """

    def __init__(self, schedule: Literal["cosine", "linear"], steps: int = 1024) -> None:
        self.steps = steps
        self.alphas_cumprod = np.cumprod(1 - _betas(schedule, steps))

    def time(self, sigma: Tensor) -> npt.NDArray[np.int64]:
        """The noise level, 0 to steps - 1, whose ratio of noise to signal is sigma (B,): (B,) int64."""
        alpha = (1 / (sigma.float().cpu() ** 2 + 1)).numpy()
        interpolated = np.interp(alpha, self.alphas_cumprod[::-1], np.arange(self.steps)[::-1])
        return interpolated.astype(np.int64)  # truncated, as the released samplers do

    def denoise(
        self, network: Network, x: Tensor, sigma: Tensor, clip: bool = True, **condition: Tensor
    ) -> Tensor:
        """Estimate the clean points.

        Parameters
        ----------
        network
            Predicts the noise in its first C channels.
        x
            (B, C, N) clean points plus noise of standard deviation sigma.
        sigma
            (B,) float32; best on the host, where it is looked up.
        clip
            Clamp the estimate to [-1, 1].
        condition
            Passed on to the network.

        Returns
        -------
        Tensor
            (B, C, N).
        """
        level = self.time(sigma)
        alphas = self.alphas_cumprod[level]
        shrink = (1 / (sigma.float().cpu() ** 2 + 1) ** 0.5).numpy()
        # One upload for everything this evaluation needs to know about its noise level.
        t, c_in, c_x, c_eps = _upload(x, level, shrink, np.sqrt(1 / alphas), np.sqrt(1 / alphas - 1))
        x = x * _wide(c_in)
        eps = network(x, t, **condition)[:, : x.shape[1]]
        x0 = _wide(c_x) * x - _wide(c_eps) * eps
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
        **condition: Tensor,
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
        clip, condition
            As in `denoise`.

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
            out = network(x, x.new_full((len(x),), float(levels[i])), **condition)
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

    def denoise(
        self, network: Network, x: Tensor, sigma: Tensor, clip: bool = True, **condition: Tensor
    ) -> Tensor:
        """Estimate the clean points: D in equation 7. Parameters as in `GaussianDiffusion.denoise`."""
        c_skip, c_out, _, _ = self._preconditioning(sigma.to(x.device))
        x0 = _wide(c_skip) * x + _wide(c_out) * self._raw(network, x, sigma.to(x.device), condition)
        return x0.clamp(-1, 1) if clip else x0

    def loss(
        self, network: Network, x_start: Tensor, sigma: Tensor, noise: Tensor, **condition: Tensor
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
        c_skip, c_out, _, _ = self._preconditioning(sigma)
        x = x_start + _wide(sigma) * noise
        target = (x_start - _wide(c_skip) * x) / _wide(c_out)
        return (self._raw(network, x, sigma, condition) - target).square().mean(dim=(1, 2))

    def _raw(self, network: Network, x: Tensor, sigma: Tensor, condition: dict[str, Tensor]) -> Tensor:
        """F in equation 7, float32."""
        _, _, c_in, c_noise = self._preconditioning(sigma)
        return network(_wide(c_in) * x, c_noise, **condition)[:, : x.shape[1]].float()

    def _preconditioning(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """c_skip, c_out, c_in and c_noise of table 1, the last in the thousandths of the released code."""
        total = sigma**2 + self.sigma_data**2
        c_skip = self.sigma_data**2 / total
        return c_skip, sigma * self.sigma_data / total.sqrt(), 1 / total.sqrt(), 1000 * 0.25 * sigma.log()


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


def _upload(x: Tensor, *rows: npt.NDArray[np.generic]) -> Tensor:
    """Rows of (B,) host numbers as one float32 tensor on x's device."""
    return torch.from_numpy(np.stack(rows).astype(np.float32)).to(x.device)


def _wide(v: Tensor) -> Tensor:
    """(B,) to (B, 1, 1)."""
    return v[:, None, None]
