"""A world whose denoiser is known exactly: clouds of points drawn independently from coloured surfaces.

A sampler can be tried on it at any noise level, guided or not, without a network and without its errors. The
surfaces are a little rough, as what a network learns is: if points could lie only where the samples of a
surface are, two samplers would end on the same ones or on others, however close they were before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ..metrics.sets import chamfer_between
from ..point_e.diffusion import GaussianDiffusion, scale_channels
from ..point_e.samplers import Networks
from ..starter.data import SPREAD, make
from ..starter.world import Label

KINDS = ("chair", "mug", "car", "tree")
COLORS = ("red", "yellow", "blue", "white")
SEED = 16
ROUGHNESS = 0.05  # an object is about 2 long
NOTHING = -60.0  # of logits: below it weights add nothing, but denormal numbers take many times as long


@dataclass(frozen=True, eq=False)
class Surfaces:
    """K shapes, each M equal Gaussians around points of its surface: p(x₀) = 1/K Σₖ Πᵢ p(x₀ᵢ | k).

    Attributes
    ----------
    points
        (K, M, C) float32, in scaled channels.
    kinds
        (K,) int64: which class a shape belongs to.
    roughness
        r, the deviation of the Gaussians in every channel.
    """

    points: Tensor
    kinds: Tensor
    roughness: float = ROUGHNESS

    def denoise(self, x: Tensor, sigma: float, among: Tensor | None = None) -> Tensor:
        """The posterior mean D(x; σ) = E[x₀ | x] of clouds with noise of deviation σ.

        D(x)ᵢ = Σₖ wₖ E[x₀ᵢ | xᵢ, k], where wₖ is proportional to Πᵢ Σₘ exp(−|xᵢ − pₖₘ|² / 2(σ² + r²)).

        Parameters
        ----------
        x
            (B, C, N) float32.
        sigma
            Above 0.
        among
            (B, J) int64: the shapes that each cloud may have, its condition; all of them by default.

        Returns
        -------
        Tensor
            (B, C, N).
        """
        shapes = self.points[None] if among is None else self.points[among]
        means, evidence = self._posteriors(x, sigma, shapes)
        return _mixed(means, evidence)

    def of_kind(self, kinds: Tensor) -> Tensor:
        """(B,) classes -> (B, J): the shapes of each; every class has equally many."""
        return torch.stack([torch.nonzero(self.kinds == kind)[:, 0] for kind in kinds])

    def nearest(self, clouds: Tensor, channels: slice) -> Tensor:
        """(B, C, N) -> (B,): the shape nearest to each cloud by Chamfer distance in these channels."""
        return chamfer_between(clouds[:, channels].transpose(1, 2), self.points[..., channels]).argmin(1)

    def networks(self, diffusion: GaussianDiffusion, among: Tensor, error: float = 0.0) -> Networks:
        """The denoiser as what a released network would be: one that predicts the noise.

        Parameters
        ----------
        diffusion
            Says which noise level a t, whole or not, stands for.
        among
            (B, J) int64: the condition of each cloud, see `denoise`.
        error
            Deviation of what low precision adds to the predicted noise, the same in every evaluation, as
            the roundings of weights are.
        """

        def conditional(x: Tensor, t: Tensor) -> Tensor:
            noisy, sigma = _exploding(diffusion, x, t)
            return _noise(noisy, self.denoise(noisy, sigma, among), sigma, error)

        def both(x: Tensor, t: Tensor) -> Tensor:
            noisy, sigma = _exploding(diffusion, x[: len(among)], t)  # the second half is the first again
            means, evidence = self._posteriors(noisy, sigma, self.points[None])
            allowed = torch.zeros_like(evidence).scatter_(1, among, 1.0)
            x0 = torch.cat([_mixed(means, evidence + allowed.log()), _mixed(means, evidence)])
            return _noise(torch.cat([noisy, noisy]), x0, sigma, error)

        return Networks(conditional, both)

    def _posteriors(self, x: Tensor, sigma: float, shapes: Tensor) -> tuple[Tensor, Tensor]:
        """E[x₀ | x, k] of every shape, (B, K, C, N), and log p(x | k) but for what all shapes share, (B, K).

        `shapes` is (B or 1, K, M, C).
        """
        variance = sigma**2 + self.roughness**2
        means, evidence = [], []
        halves = x.new_full((len(x), x.shape[2], 1), -0.5)
        queries = torch.cat([x.transpose(1, 2), halves], dim=-1) / variance
        for points in shapes.unbind(1):
            keys = torch.cat([points, points.square().sum(-1, keepdim=True)], dim=-1)  # (B or 1, M, C + 1)
            logits = queries @ keys.transpose(1, 2)  # (B, N, M): −|x − p|² / 2(σ² + r²), but for |x|²
            highest = logits.amax(-1, keepdim=True)
            weights = logits.sub_(highest).clamp_(min=NOTHING).exp_()
            values = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
            summed = weights @ values  # (B, N, C + 1)
            nearest = (summed[..., :-1] / summed[..., -1:]).transpose(1, 2)
            means.append(nearest + self.roughness**2 / variance * (x - nearest))
            evidence.append((highest + summed[..., -1:].log()).sum((1, 2)))
        return torch.stack(means, dim=1), torch.stack(evidence, dim=1)


@cache
def surfaces(points: int = SPREAD, kinds: int = len(KINDS), colors: int = len(COLORS)) -> Surfaces:
    """Objects of the starter world: of so many kinds so many, each another colour and other proportions."""
    labels = [Label(kind, color) for kind in KINDS[:kinds] for color in COLORS[:colors]]
    drawn = make(labels, SEED, views=0, wordings=1).points[:, :points].float()  # (K, M, 6), rgb in [0, 1]
    raw = torch.cat([drawn[..., :3], 255 * drawn[..., 3:]], dim=-1).transpose(1, 2)
    return Surfaces(
        scale_channels(raw).transpose(1, 2).contiguous(), torch.arange(kinds).repeat_interleave(colors)
    )


def _mixed(means: Tensor, evidence: Tensor) -> Tensor:
    """(B, K, C, N) and (B, K) -> (B, C, N): the shapes' means, weighted by their posterior probabilities."""
    return torch.einsum("bk,bkcn->bcn", evidence.softmax(1), means)


def _exploding(diffusion: GaussianDiffusion, x: Tensor, t: Tensor) -> tuple[Tensor, float]:
    """What a network is shown, without its shrinking: clean points with noise, and that noise's deviation."""
    log_sigma = np.interp(float(t[0]), np.arange(diffusion.steps), np.log(diffusion.sigmas))
    sigma = math.exp(log_sigma)
    return x * math.sqrt(1 + sigma**2), sigma


def _noise(x: Tensor, x0: Tensor, sigma: float, error: float) -> Tensor:
    """The noise in x, less exact by `error`; its variances, which no sampler here reads, are 0."""
    eps = (x - x0) / sigma
    if error:
        generator = torch.Generator().manual_seed(SEED)
        eps = eps + error * torch.randn(eps.shape, generator=generator)
    return torch.cat([eps, torch.zeros_like(eps)], dim=1)
