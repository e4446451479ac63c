"""Distances of clouds and of sets of clouds: closed forms, textbook sums, sets that are known to be alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointe_blender.pipeline.metrics import sets
from pointe_blender.pipeline.metrics.sets import (
    chamfer,
    chamfer_between,
    coverage,
    matching_distance,
    nearest_neighbour_accuracy,
)


def test_the_chamfer_distance_of_parallel_squares_is_how_far_they_are_apart() -> None:
    square = torch.rand(2, 500, 3)
    square[..., 2] = 0
    lifted = square[:, torch.randperm(500)] + torch.tensor([0.0, 0.0, 0.3])
    torch.testing.assert_close(chamfer(square, lifted), torch.full((2,), 0.3))


def test_the_chamfer_distance_of_a_cloud_to_its_points_in_another_order_is_nothing() -> None:
    """Not even where coordinates are large beside the distances."""
    torch.manual_seed(0)
    clouds = torch.rand(2, 500, 3) + 100
    assert chamfer(clouds, clouds.flip(1)).tolist() == [0, 0]
    torch.testing.assert_close(chamfer(clouds, clouds + 2**-10), torch.full((2,), 3**0.5 * 2**-10))


def test_the_chamfer_distance_counts_both_ways_alike() -> None:
    """A point is 0 from a pair that holds it; the pair is 0 and 1 from the point."""
    point, pair = torch.zeros(1, 1, 3), torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    assert chamfer(point, pair).item() == chamfer(pair, point).item() == (0 + 0.5) / 2


@pytest.mark.parametrize("entries", [1, 200, 2**19], ids=["a row each", "uneven blocks", "one block"])
def test_distances_of_sets_are_those_of_their_clouds(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With colours and without, whatever fits into the memory at once."""
    monkeypatch.setattr(sets, "ENTRIES", entries)
    for channels in (3, 6):
        a, b = torch.rand(3, 41, channels), torch.rand(4, 50, channels)
        distances = chamfer_between(a, b)
        apart = torch.cdist(a.double()[:, None], b.double()[None])
        textbook = (apart.amin(-1).mean(-1) + apart.amin(-2).mean(-1)) / 2
        torch.testing.assert_close(distances, textbook.float())
        torch.testing.assert_close(chamfer_between(b, a), distances.T)
        torch.testing.assert_close(chamfer(a, b[:3]), distances.diagonal())


def test_coverage_and_matching_distance_of_a_set_that_repeats_itself() -> None:
    """Rows are generated clouds, columns references: two of these are the nearest of none."""
    distances = torch.tensor([[1.0, 4.0, 5.0, 9.0], [2.0, 3.0, 6.0, 9.0], [1.0, 8.0, 8.0, 0.5]])
    assert coverage(distances) == 2 / 4
    assert matching_distance(distances) == (1 + 3 + 5 + 0.5) / 4
    assert coverage(1 - torch.eye(5)) == 1 and matching_distance(1 - torch.eye(5)) == 0


def accuracy(generated: Tensor, references: Tensor) -> float:
    """Of clouds that are vectors (N, D), with the distances of these."""
    between = torch.cdist(generated, references)
    within = [torch.cdist(some, some) for some in (generated, references)]
    return nearest_neighbour_accuracy(between, *within)


def on_a_line(*places: float) -> Tensor:
    return torch.tensor(places, dtype=torch.float32)[:, None]


def test_the_nearest_neighbour_is_right_as_often_as_counted_by_hand() -> None:
    """Of 0, 1 and 10 the last is nearest to 12; of 3, 12 and 12.5 the first is nearest to 1."""
    assert accuracy(on_a_line(0, 1, 10), on_a_line(3, 12, 12.5)) == pytest.approx(4 / 6)


def test_neighbours_that_are_equally_near_share_the_vote() -> None:
    """0 is as near to 1 as to -1, and -1 to 0 as to -2."""
    assert accuracy(on_a_line(0, 1), on_a_line(-1, -2)) == (0.5 + 1 + 0.5 + 1) / 4


def test_sets_are_told_apart_always_never_or_by_chance() -> None:
    torch.manual_seed(0)
    some, more = torch.randn(400, 4), torch.randn(400, 4)
    assert accuracy(some, more + 100) == 1
    assert accuracy(some, some) == 0
    assert accuracy(some, more) == pytest.approx(0.5, abs=0.05)
    assert accuracy(some[:1] + 1e-3 * more, some) > 0.9  # a generator that knows one cloud


def test_the_distances_within_a_set_to_itself_are_not_looked_at() -> None:
    some = torch.randn(20, 4)
    between, within = torch.cdist(some, some + 0.1), torch.cdist(some, some)
    expected = nearest_neighbour_accuracy(between, within, within)
    for diagonal in (0.0, 7.0, torch.inf):
        filled = within.clone().fill_diagonal_(diagonal)
        assert nearest_neighbour_accuracy(between, filled, filled) == expected
        assert (filled.diagonal() == diagonal).all()  # nor changed
