"""The network that turns a point cloud into a signed distance field.

Parameter names are those of the released checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor, nn

from .attention import attend
from .blocks import MLP, Transformer, add_mlp, initialised

Encoded = tuple[tuple[Tensor, Tensor], ...]
"""A cloud as the decoder reads it: of each layer keys and values, (B, H, N, W / H) each."""


class CrossAttention(nn.Module):
    """Queries attend to latents; keys and values are packed per head."""

    def __init__(self, width: int, heads: int, deviation: float) -> None:
        super().__init__()
        self.heads = heads
        self.c_q = initialised(nn.Linear(width, width), deviation)
        self.c_kv = initialised(nn.Linear(width, 2 * width), deviation)
        self.c_proj = initialised(nn.Linear(width, width), deviation)

    def keys_values(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, W) -> twice (B, H, N, W / H)."""
        keys, values = self._per_head(self.c_kv, latents).chunk(2, dim=-1)
        return keys.contiguous(), values.contiguous()

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        h = attend(self._per_head(self.c_q, x), keys, values)
        out: Tensor = self.c_proj(h.transpose(1, 2).flatten(2))
        return out

    def _per_head(self, linear: nn.Linear, x: Tensor) -> Tensor:
        out: Tensor = linear(x.to(linear.weight.dtype))
        return out.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class CrossBlock(nn.Module):
    """Cross-attention and MLP, each normalised first and added to the stream."""

    def __init__(self, width: int, heads: int, deviation: float) -> None:
        super().__init__()
        self.attn = CrossAttention(width, heads, deviation)
        self.ln_1 = nn.LayerNorm(width)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = MLP(width, deviation)
        self.ln_3 = nn.LayerNorm(width)

    def keys_values(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """What this block reads from the latents; the same for every query."""
        return self.attn.keys_values(self.ln_2(latents))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return add_mlp(x + self.attn(self.ln_1(x), keys, values), self.ln_3, self.mlp)


class Perceiver(nn.Module):
    """Queries that see the latents but not one another."""

    def __init__(self, width: int, layers: int, heads: int, init_scale: float) -> None:
        super().__init__()
        deviation = init_scale * math.sqrt(1 / width)
        self.resblocks = nn.ModuleList(CrossBlock(width, heads, deviation) for _ in range(layers))

    def keys_values(self, latents: Tensor) -> Encoded:
        """What the blocks read from latents (B, N, W); the same for every query."""
        return tuple(block.keys_values(latents) for block in self._blocks())

    def forward(self, x: Tensor, encoded: Encoded) -> Tensor:
        """(B, M, W) -> (B, M, W)."""
        for block, (keys, values) in zip(self._blocks(), encoded, strict=True):
            x = block(x, keys, values)
        return x

    def _blocks(self) -> Iterator[CrossBlock]:
        for block in self.resblocks:
            assert isinstance(block, CrossBlock)
            yield block


class PointCloudSDF(nn.Module):
    """Signed distance to the surface that a point cloud samples; inside is positive.

    Parameters
    ----------
    width
        Channels of every token.
    n_ctx
        Points it was trained on; any number works.
    encoder_layers, encoder_heads, decoder_layers, decoder_heads
        Size of the self-attention over the points and of the cross-attention of the queries.
    init_scale
        Initial weights have standard deviation `init_scale / sqrt(width)`.
    """

    def __init__(
        self,
        *,
        width: int,
        n_ctx: int = 4096,
        encoder_layers: int,
        encoder_heads: int,
        decoder_layers: int,
        decoder_heads: int,
        init_scale: float = 0.25,
    ) -> None:
        super().__init__()
        self.n_ctx = n_ctx
        self.encoder_input_proj = nn.Linear(3, width)
        self.encoder = Transformer(width, encoder_layers, encoder_heads, init_scale)
        self.decoder_input_proj = nn.Linear(3, width)
        self.decoder = Perceiver(width, decoder_layers, decoder_heads, init_scale)
        self.ln_post = nn.LayerNorm(width)
        self.output_proj = nn.Linear(width, 1)

    def encode(self, points: Tensor) -> Encoded:
        """A cloud (B, 3, N), to be kept for all its queries."""
        # Under autocast the projection is of low precision; the residual stream must not be.
        h = self.encoder_input_proj(points.transpose(1, 2)).to(points.dtype)
        return self.decoder.keys_values(self.encoder(h))

    def decode(self, queries: Tensor, encoded: Encoded) -> Tensor:
        """Distance at each query, alone: (B, 3, M) -> (B, M)."""
        h = self.decoder_input_proj(queries.transpose(1, 2)).to(queries.dtype)
        out: Tensor = self.output_proj(self.ln_post(self.decoder(h, encoded)))
        return out.squeeze(-1).to(queries.dtype)

    def forward(self, queries: Tensor, points: Tensor) -> Tensor:
        """Distance at (B, 3, M) queries to the surface of (B, 3, N) points: (B, M)."""
        return self.decode(queries, self.encode(points))
