"""The denoising transformer over a set of points.

Points carry no positional embedding: permuting the input points permutes the output, and any
number of them is accepted. Parameter names are those of the released checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .diffusion import CHANNEL_BIASES, CHANNEL_SCALES

GRID_CELLS = 256


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Cosines and sines of t at `width / 2` frequencies from 1 down to 1e-4, float32: (B,) -> (B, width)."""
    half = width // 2
    frequencies = torch.exp(
        -math.log(10_000) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    )
    phases = t.float()[:, None] * frequencies
    return torch.cat([torch.cos(phases), torch.sin(phases)], dim=-1)


def initialised(linear: nn.Linear, deviation: float) -> nn.Linear:
    """Normal weights of the given standard deviation and zero bias, in place."""
    nn.init.normal_(linear.weight, std=deviation)
    nn.init.zeros_(linear.bias)
    return linear


class MLP(nn.Module):
    """Two linear maps around a GELU, four times as wide inside."""

    def __init__(self, width: int, deviation: float) -> None:
        super().__init__()
        self.c_fc = initialised(nn.Linear(width, 4 * width), deviation)
        self.c_proj = initialised(nn.Linear(4 * width, width), deviation)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.c_proj(F.gelu(self.c_fc(x)))
        return h


class SelfAttention(nn.Module):
    """Every token attends to every token; queries, keys and values are packed per head."""

    def __init__(self, width: int, heads: int, deviation: float) -> None:
        super().__init__()
        self.heads = heads
        self.c_qkv = initialised(nn.Linear(width, 3 * width), deviation)
        self.c_proj = initialised(nn.Linear(width, width), deviation)

    def forward(self, x: Tensor) -> Tensor:
        packed = self.c_qkv(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, L, 3 W/H)
        h = F.scaled_dot_product_attention(*packed.chunk(3, dim=-1))
        out: Tensor = self.c_proj(h.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Self-attention and MLP, each normalised first and added to the stream."""

    def __init__(self, width: int, heads: int, deviation: float) -> None:
        super().__init__()
        self.attn = SelfAttention(width, heads, deviation)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = MLP(width, deviation)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        x = x + self.mlp(self.ln_2(x))
        return x


class Transformer(nn.Module):
    """A stack of blocks: (B, L, W) -> (B, L, W)."""

    def __init__(self, width: int, layers: int, heads: int, init_scale: float) -> None:
        super().__init__()
        deviation = init_scale * math.sqrt(1 / width)
        self.resblocks = nn.ModuleList(Block(width, heads, deviation) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x)
        return x


class PointDiffusionTransformer(nn.Module):
    """Predicts the noise in a set of points.

    Parameters
    ----------
    width, layers, heads
        Size of the transformer.
    n_ctx, cond_ctx
        Points it was trained to denoise, and coarse points it was trained to see; any number works.
    input_channels, output_channels
        Channels of a point going in, and coming out; the released models append variances.
    condition, condition_dim
        A CLIP vector, a CLIP grid or nothing, and its channels.
    token_cond, time_token_cond
        Whether vector and time are tokens of their own, or added to every point instead.
    low_res
        Whether it also sees a coarse cloud.
    channel_scales, channel_biases
        What brings the coarse cloud's raw channels to unit range.
    cond_drop_prob
        How often training drops the condition, so that guidance has an unconditional branch.
    init_scale
        Initial weights have standard deviation `init_scale / sqrt(width)`.
    """

    channel_scales: Tensor
    channel_biases: Tensor

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        heads: int,
        n_ctx: int = 1024,
        input_channels: int = 6,
        output_channels: int = 12,
        condition: Literal["vector", "grid"] | None = None,
        condition_dim: int = 0,
        token_cond: bool = True,
        time_token_cond: bool = True,
        low_res: bool = False,
        cond_ctx: int = 1024,
        channel_scales: Sequence[float] = CHANNEL_SCALES,
        channel_biases: Sequence[float] = CHANNEL_BIASES,
        cond_drop_prob: float = 0.1,
        init_scale: float = 0.25,
    ) -> None:
        super().__init__()
        self.width, self.n_ctx, self.cond_ctx = width, n_ctx, cond_ctx
        self.condition, self.condition_dim, self.cond_drop_prob = condition, condition_dim, cond_drop_prob
        self.token_cond, self.time_token_cond, self.low_res = token_cond, time_token_cond, low_res

        self.time_embed = MLP(width, init_scale * math.sqrt(1 / width))
        self.ln_pre = nn.LayerNorm(width)
        self.backbone = Transformer(width, layers, heads, init_scale)
        self.ln_post = nn.LayerNorm(width)
        self.input_proj = nn.Linear(input_channels, width)
        self.output_proj = nn.Linear(width, output_channels)
        nn.init.zeros_(self.output_proj.weight)
        nn.init.zeros_(self.output_proj.bias)
        if low_res:
            self.cond_point_proj = nn.Linear(input_channels, width)
            self.register_buffer("channel_scales", torch.tensor(channel_scales))
            self.register_buffer("channel_biases", torch.tensor(channel_biases))
        if condition == "vector":
            self.clip_embed: nn.Module = nn.Linear(condition_dim, width)
        elif condition == "grid":
            self.clip_embed = nn.Sequential(nn.LayerNorm(condition_dim), nn.Linear(condition_dim, width))

    def forward(
        self, x: Tensor, t: Tensor, embeddings: Tensor | None = None, low_res: Tensor | None = None
    ) -> Tensor:
        """Predict the noise.

        Parameters
        ----------
        x
            (B, C, N) noisy points, scaled to unit variance.
        t
            (B,) noise level as the diffusion numbers it; need not be whole.
        embeddings
            (B, D) unit vectors or (B, D, 256) grids; `None` means no condition, as zeros do.
        low_res
            (B, C, M) coarse points in raw units.

        Returns
        -------
        Tensor
            (B, C', N), of x's dtype.
        """
        time: Tensor = self.time_embed(timestep_embedding(t, self.width))  # (B, W)
        points: Tensor = self.input_proj(x.transpose(1, 2))  # (B, N, W)
        tokens: list[Tensor] = []

        if self.condition == "vector":
            vector = self._condition(x, embeddings, (self.condition_dim,))
            vector = self.clip_embed(math.sqrt(self.condition_dim) * vector)
            if self.token_cond:
                tokens.append(vector[:, None])
            else:
                points = points + vector[:, None]
        if self.time_token_cond:
            tokens.append(time[:, None])
        else:
            points = points + time[:, None]
        if self.condition == "grid":
            grid = self._condition(x, embeddings, (self.condition_dim, GRID_CELLS))
            tokens.append(self.clip_embed(grid.transpose(1, 2)))
        if self.low_res:
            assert low_res is not None, "an upsampler needs the coarse points"
            scaled = low_res * self.channel_scales[:, None] + self.channel_biases[:, None]
            tokens.append(self.cond_point_proj(scaled.transpose(1, 2)))

        # Under autocast the projections are of low precision; the residual stream must not be.
        h = torch.cat([*tokens, points], dim=1).to(x.dtype)
        h = self.ln_post(self.backbone(self.ln_pre(h)))
        out: Tensor = self.output_proj(h[:, -x.shape[2] :])
        return out.transpose(1, 2).to(x.dtype)

    def _condition(self, x: Tensor, embeddings: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        """The condition of each sample: zeros where there is none, or where training drops it."""
        if embeddings is None:
            return x.new_zeros(len(x), *shape)
        if self.training and self.cond_drop_prob > 0:
            kept = torch.rand(len(x), device=x.device) >= self.cond_drop_prob
            return embeddings * kept.view(-1, *[1] * len(shape))
        return embeddings
