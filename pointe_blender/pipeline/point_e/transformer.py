"""The denoising transformer over a set of points.

Points carry no positional embedding: permuting the input points permutes the output, and any
number of them is accepted. Equal tokens stay equal for the same reason, so a group of them is computed once
and counted. Parameter names are those of the released checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from .blocks import MLP, Transformer
from .diffusion import CHANNEL_BIASES, CHANNEL_SCALES
from .graphs import Graphs
from .precision import OverflowWatch
from .samplers import Networks

GRID_CELLS = 256


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Cosines and sines of t at `width / 2` frequencies from 1 down to 1e-4, float32: (B,) -> (B, width)."""
    half = width // 2
    frequencies = torch.exp(
        -math.log(10_000) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    )
    phases = t.float()[:, None] * frequencies
    return torch.cat([torch.cos(phases), torch.sin(phases)], dim=-1)


class Seen(NamedTuple):
    """A condition, embedded: what a network sees besides points and time."""

    tokens: Tensor  # (B or 1, K, W)
    counts: tuple[int, ...]  # how many equal tokens each of the first stands for
    added: Tensor | None  # (B or 1, 1, W), to every point


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
        self._overflow, self._graphs = OverflowWatch(), Graphs()

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
            (B, C, M) coarse points in raw units; `None` means `cond_ctx` zeros.

        Returns
        -------
        Tensor
            (B, C', N), of x's dtype.
        """
        if self.training and embeddings is not None and self.cond_drop_prob > 0:
            kept = torch.rand(len(x), device=x.device) >= self.cond_drop_prob
            embeddings = embeddings * kept.view(-1, *[1] * (embeddings.dim() - 1))
        return self._predict(x, t, *self._see(embeddings, low_res, self.cond_ctx))

    def under(
        self, embeddings: Tensor | None = None, low_res: Tensor | None = None, *, guided: bool = False
    ) -> Networks:
        """Bind the network to a condition, which is embedded here, once for all evaluations.

        Parameters
        ----------
        embeddings, low_res
            As in `forward`; a batch of 1 serves any number of samples.
        guided
            Whether guidance will ask for the unconditional branch too.

        Returns
        -------
        Networks
            Without gradients. Branches with as many tokens run in one batch, others one after the other.
        """
        self._overflow = OverflowWatch()
        with torch.no_grad():
            seen = self._see(embeddings, low_res, self.cond_ctx)
            if not guided:
                return Networks(partial(self._evaluate, seen))
            unseen = self._see(None, None, self.cond_ctx if low_res is None else low_res.shape[2])
        return Networks(partial(self._evaluate, seen), partial(self._evaluate_both, seen, unseen))

    def overflowed(self) -> bool:
        """Whether an answer since `under` was not finite, as float16 makes them; waits for the device."""
        return self._overflow.happened()

    def _see(self, embeddings: Tensor | None, low_res: Tensor | None, coarse: int) -> Seen:
        """Embed a condition; `coarse` is how many coarse points are zeros where there are none."""
        weight = self.input_proj.weight
        groups: list[tuple[Tensor, int]] = []  # tokens (B or 1, K, W); how many equal ones each stands for
        added: Tensor | None = None
        if self.condition == "vector":
            vector = weight.new_zeros(1, self.condition_dim) if embeddings is None else embeddings
            vector = self.clip_embed(math.sqrt(self.condition_dim) * vector)[:, None]
            if self.token_cond:
                groups.append((vector, 1))
            else:
                added = vector
        if self.condition == "grid":
            cells = weight.new_zeros(1, self.condition_dim, 1) if embeddings is None else embeddings
            count = GRID_CELLS if embeddings is None else 1
            groups.append((self.clip_embed(cells.transpose(1, 2)), count))
        if self.low_res:
            raw = weight.new_zeros(1, weight.shape[1], 1) if low_res is None else low_res
            scaled = raw * self.channel_scales[:, None] + self.channel_biases[:, None]
            count = coarse if low_res is None else 1
            groups.append((self.cond_point_proj(scaled.transpose(1, 2)), count))
        groups.sort(key=lambda group: group[1], reverse=True)
        batch = max((len(tokens) for tokens, _ in groups), default=1)
        tokens = [tokens.expand(batch, -1, -1) for tokens, _ in groups]
        joined = torch.cat(tokens, dim=1) if tokens else weight.new_zeros(1, 0, self.width)
        return Seen(joined, tuple(count for _, count in groups if count > 1), added)

    @torch.inference_mode()
    def _evaluate(self, seen: Seen, x: Tensor, t: Tensor) -> Tensor:
        predict = partial(self._graphs, self._predict) if x.device.type == "cuda" else self._predict
        return self._overflow.watch(predict(x, t, *seen))

    def _evaluate_both(self, seen: Seen, unseen: Seen, x: Tensor, t: Tensor) -> Tensor:
        if seen.counts == unseen.counts and seen.tokens.shape[1] == unseen.tokens.shape[1]:
            return self._evaluate(_doubled(seen, unseen, len(x) // 2), x, t)
        halves = zip((seen, unseen), x.chunk(2), t.chunk(2), strict=True)
        return torch.cat([self._evaluate(*half) for half in halves])

    def _predict(
        self, x: Tensor, t: Tensor, seen: Tensor, counts: tuple[int, ...], added: Tensor | None
    ) -> Tensor:
        time = self.time_embed(timestep_embedding(t, self.width))[:, None]  # (B, 1, W)
        points = self.input_proj(x.transpose(1, 2))  # (B, N, W)
        if added is not None:
            points = points + added
        tokens = [seen.expand(len(x), -1, -1)]
        if self.time_token_cond:
            tokens.append(time)
        else:
            points = points + time
        # Under autocast the projections are of low precision; the residual stream must not be.
        h = torch.cat([*tokens, points], dim=1).to(x.dtype)
        h = self.ln_post(self.backbone(self.ln_pre(h), x.shape[2], counts))
        out: Tensor = self.output_proj(h)
        return out.transpose(1, 2).to(x.dtype)


def _doubled(seen: Seen, unseen: Seen, batch: int) -> Seen:
    """Both branches in one batch, the conditional half first."""

    def joined(a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([each.expand(batch, -1, -1) for each in (a, b)])

    added = None
    if seen.added is not None and unseen.added is not None:
        added = joined(seen.added, unseen.added)
    return Seen(joined(seen.tokens, unseen.tokens), seen.counts, added)
