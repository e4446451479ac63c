"""How much memory a run takes: counted from the architectures, and never less than was measured."""

from __future__ import annotations

import pytest

from pointe_blender.pipeline import models
from pointe_blender.pipeline.architectures import parameters
from pointe_blender.pipeline.needs import evaluation_needed, memory_needed

GPU = 4e9  # bytes of a small one


@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_parameters_are_counted_without_building(name: str) -> None:
    assert parameters(name) == sum(tensor.numel() for tensor in models.build(name, "meta").parameters())


@pytest.mark.parametrize("quality", ["exact", "high", "fast"])
@pytest.mark.parametrize("device", ["cpu", "cuda:0", "mps"])
def test_larger_sets_and_more_variants_need_more(device: str, quality: str) -> None:
    def needed(name: str, count: int = 1) -> int:
        return memory_needed(name, count, device, quality)

    ladder = [needed(name) for name in ("starter", "official-text", "official-40M", "official-300M")]
    assert ladder == sorted(ladder) and ladder[-1] < needed("official-1B")
    # A CPU makes one after the other, and in the end looks at them.
    one, two, many = (needed("official-text", count) for count in (1, 2, 64))
    assert one < two and (two == many) == (device == "cpu")


def test_half_precision_and_one_network_at_a_time_need_less() -> None:
    for name in models.MODEL_SETS:
        assert memory_needed(name, 1, "cuda", "exact") >= memory_needed(name, 1, "cuda", "fast")
        for device in ("cpu", "cuda", "mps"):
            apart = memory_needed(name, 4, device, held=False)
            assert apart < memory_needed(name, 4, device)
    # On a CPU float32 stays beside bfloat16 where only the low noise levels are computed in it.
    high, exact = (memory_needed("official-1B", 1, "cpu", quality) for quality in ("high", "exact"))
    assert 2.4e9 < high - exact < 2.6e9


def test_the_largest_model_runs_on_a_gpu_of_4_gb() -> None:
    """In float16, one network after the other: a number takes two bytes, or four outside the blocks."""
    weights = 2 * parameters("base1B")
    assert weights < memory_needed("official-1B", 1, "cuda", "fast", held=False) < GPU
    assert memory_needed("official-1B", 1, "cuda", "high", held=False) < GPU
    assert memory_needed("official-1B", 1, "cuda", "fast") > GPU
    assert memory_needed("official-1B", 1, "cuda", "exact", held=False) > 2 * weights
    assert memory_needed("official-text", 8, "cuda", "fast", held=False) < GPU


@pytest.mark.parametrize(
    ("architecture", "batch", "tokens", "measured"),
    [
        ("base40M-textvec", 2, 1026, 61),
        ("base40M-textvec", 8, 1026, 190),
        ("base40M", 1, 1281, 44),
        ("base40M", 4, 1281, 109),
        ("base300M", 1, 1281, 78),
        ("base300M", 4, 1281, 203),
        ("base1B", 1, 1281, 114),
        ("base1B", 4, 1281, 374),
        ("upsample", 1, 4098, 96),
        ("upsample", 4, 4098, 342),
        ("upsample", 1, 4353, 110),
        ("upsample", 4, 4353, 350),
    ],
)
def test_what_evaluations_took_on_a_cpu_fits(
    architecture: str, batch: int, tokens: int, measured: int
) -> None:
    """`measured` megabytes in float32, as tests/whole/test_memory.py measures them."""
    assert measured < evaluation_needed(architecture, batch, tokens, "cpu") / 1e6 < 1.35 * measured


@pytest.mark.parametrize(
    ("name", "measured"), [("starter", 571), ("official-text", 1304), ("official-40M", 2079)]
)
def test_what_runs_took_on_a_cpu_fits(name: str, measured: int) -> None:
    """`measured` megabytes: the most a process held that made a cloud and a mesh in quality "exact"."""
    assert measured < memory_needed(name, 1, "cpu", "exact") / 1e6 < 1.15 * measured
