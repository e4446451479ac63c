"""Attention is what its definition says on every path, and never holds the matrix of all scores."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pointe_blender.pipeline.point_e import attention
from pointe_blender.pipeline.point_e.attention import attend


def defined(q: Tensor, k: Tensor, v: Tensor, counts: tuple[int, ...] = ()) -> Tensor:
    """Attention by its definition, in double precision, with every equal key and value written out."""
    times = torch.tensor([*counts, *[1] * (k.shape[2] - len(counts))])
    q, k, v = q.double(), k.double().repeat_interleave(times, 2), v.double().repeat_interleave(times, 2)
    return (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(dim=-1) @ v


def as_on_cuda(q: Tensor, k: Tensor, v: Tensor, counts: tuple[int, ...]) -> Tensor:
    return attend(q, attention._repeated(k, counts), attention._repeated(v, counts))


PATHS: dict[str, tuple[Callable[..., Tensor], torch.dtype, float]] = {
    "float32": (attend, torch.float32, 2e-6),
    "training": (lambda q, *rest: attend(q.requires_grad_(), *rest), torch.float32, 2e-6),
    "bfloat16": (attend, torch.bfloat16, 2e-2),
    "float16": (attend, torch.float16, 2e-3),
    "head by head": (attention._head_by_head, torch.float32, 2e-6),
    "metal": (attention._rows_by_rows, torch.float32, 2e-6),
    "cuda": (as_on_cuda, torch.float32, 1e-4),  # a thousand equal terms are summed one by one
}


@pytest.mark.parametrize("counts", [(), (7,), (256, 1024), (3, 1, 2)])
@pytest.mark.parametrize("path", PATHS)
def test_attention_is_what_its_definition_says(
    path: str, counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "ROWS", 16)
    monkeypatch.setattr(attention, "SCORES", 1000)
    computed, dtype, tolerance = PATHS[path]
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, length, 8).to(dtype) for length in (41, 29, 29))
    expected = defined(q, k, v, counts)
    out = computed(q, k, v, counts)
    assert out.shape == q.shape and out.dtype == dtype
    torch.testing.assert_close(out.double(), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_matrix_of_all_scores_is_held(dtype: torch.dtype) -> None:
    q, k, v = (torch.randn(1, 2, 3000, 8).to(dtype) for _ in range(3))
    attend(q, k, v)
    with torch.profiler.profile(profile_memory=True) as profile:
        attend(q, k, v, (256,))
    taken = [event.self_cpu_memory_usage for event in profile.key_averages()]
    assert max(taken) < 3000 * 3000 * dtype.itemsize / 2
