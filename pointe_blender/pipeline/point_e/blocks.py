"""The blocks of Point-E's networks: a residual stream, attention over all tokens and an MLP for each.

Linear maps compute in the precision of their weights; the stream and the norms in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import attend

HIDDEN = {"cpu": 2**21}  # numbers inside an MLP at once: in a CPU's cache, and in no memory that is new
HIDDEN_ELSEWHERE = 2**26


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
        h: Tensor = self.c_proj(F.gelu(self.c_fc(x.to(self.c_fc.weight.dtype))))
        return h


class SelfAttention(nn.Module):
    """Every token attends to every token; queries, keys and values are packed per head."""

    def __init__(self, width: int, heads: int, deviation: float) -> None:
        super().__init__()
        self.heads = heads
        self.c_qkv = initialised(nn.Linear(width, 3 * width), deviation)
        self.c_proj = initialised(nn.Linear(width, width), deviation)

    def forward(self, x: Tensor, last: int = 0, counts: Sequence[int] = ()) -> Tensor:
        """What the last tokens of x, or all, see in all of them: (B, L, W) -> (B, last or L, W)."""
        packed: Tensor = self.c_qkv(x.to(self.c_qkv.weight.dtype))  # (B, L, 3 W)
        q, k, v = packed.view(*x.shape[:2], self.heads, -1).transpose(1, 2).chunk(3, dim=-1)
        h = attend(q[:, :, -last:], k, v, counts)
        out: Tensor = self.c_proj(h.transpose(1, 2).flatten(2))
        return out


def add_mlp(x: Tensor, norm: nn.LayerNorm, mlp: MLP) -> Tensor:
    """x + mlp(norm(x)); in place and some tokens at a time where nothing is to be learnt."""
    if x.requires_grad:
        out: Tensor = x + mlp(norm(x))
        return out
    tokens = max(1, HIDDEN.get(x.device.type, HIDDEN_ELSEWHERE) // (4 * x.shape[-1]))
    for some in torch.split(x.view(-1, x.shape[-1]), tokens):
        some += mlp(norm(some))
    return x


class Block(nn.Module):
    """Self-attention and MLP, each normalised first and added to the stream."""

    def __init__(self, width: int, heads: int, deviation: float) -> None:
        super().__init__()
        self.attn = SelfAttention(width, heads, deviation)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = MLP(width, deviation)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, last: int = 0, counts: Sequence[int] = ()) -> Tensor:
        """The last tokens of the stream, or all: (B, L, W) -> (B, last or L, W)."""
        return add_mlp(x[:, -last:] + self.attn(self.ln_1(x), last, counts), self.ln_2, self.mlp)


class Transformer(nn.Module):
    """A stack of blocks: (B, L, W) -> the last tokens alone, or all, (B, last or L, W)."""

    def __init__(self, width: int, layers: int, heads: int, init_scale: float) -> None:
        super().__init__()
        deviation = init_scale * math.sqrt(1 / width)
        self.resblocks = nn.ModuleList(Block(width, heads, deviation) for _ in range(layers))

    def forward(self, x: Tensor, last: int = 0, counts: Sequence[int] = ()) -> Tensor:
        """`counts`: how many equal tokens each of the first stands for."""
        *blocks, final = self.resblocks
        for block in blocks:
            x = block(x, counts=counts)
        x = final(x, last, counts)  # what it would make of the others nobody reads
        return x
