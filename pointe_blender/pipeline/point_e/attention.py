"""Attention that never holds the matrix of all scores: on each device the fastest way there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 512  # queries at once on a CPU: their scores against 4096 keys, 4 MiB, stay in its cache
SCORES = 2**25  # numbers at once on Metal


def attend(q: Tensor, k: Tensor, v: Tensor, counts: Sequence[int] = ()) -> Tensor:
    """Softmax of the scaled scores, times the values (Vaswani et al., arXiv:1706.03762).

    Parameters
    ----------
    q, k, v
        (B, H, L, D), and twice (B, H, M, D); of one dtype.
    counts
        Of the first keys, how many equal ones each stands for; every other stands for itself alone. The
        result is what as many copies of key and value would give.

    Returns
    -------
    Tensor
        (B, H, L, D); with the heads of a token side by side in memory wherever that is free.
    """
    if q.device.type == "cuda":
        # Any mask would rule out the fused kernels, which hardly notice some more keys.
        return F.scaled_dot_product_attention(q, _repeated(k, counts), _repeated(v, counts))
    if q.requires_grad or (q.device.type == "cpu" and q.itemsize >= 4):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=_bias(k, counts))
    # In half precision torch's kernel is no faster than in float32 on a CPU; on Metal it holds all scores.
    return (_head_by_head if q.device.type == "cpu" else _rows_by_rows)(q, k, v, counts)


def _repeated(x: Tensor, counts: Sequence[int]) -> Tensor:
    """Each of the first rows as often as it counts, then the others."""
    if not counts:
        return x
    first = [x[:, :, i : i + 1].expand(-1, -1, count, -1) for i, count in enumerate(counts)]
    return torch.cat([*first, x[:, :, len(counts) :]], dim=2)


def _bias(k: Tensor, counts: Sequence[int]) -> Tensor | None:
    """What to add to every query's scores, (1, 1, 1, M): m exp(s) = exp(s + ln m)."""
    if not counts:
        return None
    logs = [math.log(count) for count in counts] + [0.0] * (k.shape[2] - len(counts))
    return k.new_tensor(logs).view(1, 1, 1, -1)


def _head_by_head(q: Tensor, k: Tensor, v: Tensor, counts: Sequence[int]) -> Tensor:
    """Each head's scores in one buffer, again and again."""
    batch, heads, length, width = q.shape
    out = q.new_empty(batch, length, heads, width).transpose(1, 2)
    buffer = q.new_empty(min(ROWS, length), k.shape[2])
    for b, h in product(range(batch), range(heads)):
        queries = q[b, h] / math.sqrt(width)
        keys, values = k[b, h].contiguous().T, v[b, h].contiguous()
        for i in range(0, length, ROWS):
            some = queries[i : i + ROWS]
            scores = torch.mm(some, keys, out=buffer[: len(some)])
            out[b, h, i : i + ROWS] = _weighted(torch.softmax(scores, dim=-1, out=scores), values, counts)
    return out


def _rows_by_rows(q: Tensor, k: Tensor, v: Tensor, counts: Sequence[int]) -> Tensor:
    """All heads of some queries at a time."""
    rows = max(1, SCORES // (k.shape[0] * k.shape[1] * k.shape[2]))
    queries, keys = q / math.sqrt(q.shape[-1]), k.transpose(2, 3)
    parts = [
        _weighted((some @ keys).softmax(dim=-1), v, counts) for some in torch.split(queries, rows, dim=2)
    ]
    return torch.cat(parts, dim=2)


def _weighted(weights: Tensor, values: Tensor, counts: Sequence[int]) -> Tensor:
    """Weights (..., L, M) times values (..., M, D), the first weights counted, and all of them 1 together."""
    if not counts:
        return weights @ values
    # A score of half precision has no room for ln m: its weight is multiplied instead.
    times = torch.tensor(counts, dtype=torch.float32, device=values.device)
    first = weights[..., : len(counts)]
    total = 1 + (first * (times - 1)).sum(dim=-1, keepdim=True)  # float32
    first *= times
    return ((weights @ values) / total).to(values.dtype)
