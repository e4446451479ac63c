"""The starter distance network: what the cloud's points near a place say of the surface there.

A small transformer lets every point know its surroundings, so that it knows which side of it is inside; the
field at a place is read off its nearest points alone, by attention (after POCO, Boulch and Marlet 2022). The
distance to the nearest point bounds the field's size, and leaves the network only to say where in between.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..point_e.blocks import Transformer

AT_ONCE = 2**12  # places, each with all its neighbours' channels


class Surroundings(NamedTuple):
    """A cloud as places read it."""

    points: Tensor  # (B, N, 3)
    features: Tensor  # (B, N, W): what each point adds to the first layer of the reading


class LocalSDF(nn.Module):
    """Signed distance to the surface that a point cloud samples; inside is positive.

    Parameters
    ----------
    width
        Channels of every token.
    n_ctx
        Points it was trained on; any number from `neighbours` works.
    layers, heads
        Of the self-attention over the points.
    neighbours
        How many points a place is read off.
    frequencies
        Octaves of sines and cosines, from half a period over the cube, by which places are told apart.
    slack
        How far off the surface points may be: what the bound allows beyond the nearest of them.
    init_scale
        Initial weights have standard deviation `init_scale / sqrt(width)`.
    """

    def __init__(
        self,
        *,
        width: int,
        n_ctx: int = 1024,
        layers: int,
        heads: int,
        neighbours: int = 12,
        frequencies: int = 6,
        slack: float = 0.015,
        init_scale: float = 0.5,
    ) -> None:
        super().__init__()
        self.n_ctx, self.neighbours, self.frequencies, self.slack = n_ctx, neighbours, frequencies, slack
        inputs = 3 + 6 * frequencies
        self.input_proj = nn.Linear(inputs, width)
        self.encoder = Transformer(width, layers, heads, init_scale)
        self.ln_post = nn.LayerNorm(width)
        self.point_proj = nn.Linear(width, width)
        self.offset_proj = nn.Linear(inputs + 1, width)
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)
        self.out_hidden = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, 1)

    def encode(self, points: Tensor) -> Surroundings:
        """A cloud (B, 3, N), to be kept for all its queries."""
        places = points.transpose(1, 2)
        # Under autocast the projection is of low precision; the residual stream must not be.
        h = self.input_proj(self._waves(places)).to(points.dtype)
        return Surroundings(places, self.point_proj(self.ln_post(self.encoder(h))))

    def decode(self, queries: Tensor, encoded: Surroundings) -> Tensor:
        """Distance at each query, alone: (B, 3, M) -> (B, M)."""
        some = torch.split(queries, queries.shape[2] if torch.is_grad_enabled() else AT_ONCE, dim=2)
        return torch.cat([self._read(each.transpose(1, 2), encoded) for each in some], 1).to(queries.dtype)

    def _read(self, places: Tensor, encoded: Surroundings) -> Tensor:
        """(B, M, 3) -> (B, M)."""
        distance = torch.cdist(places, encoded.points)
        nearest = distance.topk(self.neighbours, dim=-1, largest=False)  # (B, M, k)
        rows = torch.arange(len(places), device=places.device)[:, None, None]
        offsets = places[:, :, None] - encoded.points[rows, nearest.indices]
        length = nearest.values[..., None]
        shape = torch.cat((self._waves(4 * offsets), 10 * length), -1)
        h = functional.gelu(self.offset_proj(shape) + encoded.features[rows, nearest.indices])
        h = functional.gelu(self.hidden(h))
        # The farthest of them counts for nothing, so that the field does not jump where it changes.
        fade = (1 - length / length[:, :, -1:].clamp(min=1e-6)).clamp(min=1e-4).log()
        weights = (self.score(h).float() + fade).softmax(dim=2)
        seen = functional.gelu(self.out_hidden((weights * h).sum(2)))
        side = torch.tanh(self.output_proj(seen).float().squeeze(-1))
        return (nearest.values[..., 0] + self.slack) * side

    def forward(self, queries: Tensor, points: Tensor) -> Tensor:
        """Distance at (B, 3, M) queries to the surface of (B, 3, N) points: (B, M)."""
        return self.decode(queries, self.encode(points))

    def _waves(self, places: Tensor) -> Tensor:
        """(..., 3) -> (..., 3 + 6 frequencies)."""
        octaves = math.pi * 2.0 ** torch.arange(self.frequencies, device=places.device)
        phases = (places[..., None] * octaves).flatten(-2)
        return torch.cat((places, phases.sin(), phases.cos()), -1)
