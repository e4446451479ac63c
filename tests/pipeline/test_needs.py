"""How much memory a run takes: counted from the architectures, and never less than was measured."""

from __future__ import annotations

import pytest

from pointe_blender.pipeline import models, needs
from pointe_blender.pipeline.architectures import parameters

PYTORCH = 180  # megabytes of itself, once it is imported


@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_parameters_are_counted_without_building(name: str) -> None:
    assert parameters(name) == sum(tensor.numel() for tensor in models.build(name, "meta").parameters())


def test_larger_sets_and_more_variants_need_more() -> None:
    def needed(name: str, count: int = 1, device: str = "cpu") -> float:
        return needs.memory_needed(name, count, device) / 1e9

    ladder = [needed(name) for name in ("starter", "official-text", "official-40M", "official-300M")]
    assert ladder == sorted(ladder) and ladder[-1] < needed("official-1B")
    assert needed("official-1B") > 4 * 1.244
    assert needed("official-40M", 8) > needed("official-40M", 1)
    assert needed("official-40M", 1, "mps") > needed("official-40M", 1, "cuda:0")


@pytest.mark.parametrize(
    ("name", "count", "measured"),
    [
        ("official-text", 1, 212),
        ("official-text", 4, 520),
        ("official-40M", 1, 393),
        ("official-40M", 4, 1026),
        ("official-300M", 1, 393),
        ("official-300M", 4, 1026),
        ("official-1B", 1, 466),
    ],
)
def test_what_was_measured_on_a_cpu_fits(name: str, count: int, measured: int) -> None:
    """`measured` megabytes: the greatest peak of one call of its networks, beside weights and PyTorch."""
    weights = sum(4 * parameters(part.architecture) for part in models.MODEL_SETS[name].checkpoints)
    told = (needs.memory_needed(name, count, "cpu") - weights) / 1e6
    assert PYTORCH + measured < told < 2.5 * (PYTORCH + measured)


def test_what_a_whole_run_was_measured_to_take_fits() -> None:
    """A picture to a cloud and a mesh on a CPU, from a fresh process."""
    assert 2.91e9 < needs.memory_needed("official-40M", 1, "cpu") < 3.0e9
