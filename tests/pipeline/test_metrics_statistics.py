"""Confidence intervals against published tables, and against what they promise."""

from __future__ import annotations

import math
import random

import pytest

from pointe_blender.pipeline.metrics.statistics import Interval, of_share, over_seeds


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (10, 2.228), (101, 1.984)]
)
def test_intervals_over_seeds_have_the_width_of_students_table(freedom: int, quantile: float) -> None:
    values = [3.0 + (-1) ** i for i in range(freedom + 1)]
    found = over_seeds(values)
    mean = sum(values) / len(values)
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / freedom / len(values))
    assert found.mean == pytest.approx(mean) and found.count == freedom + 1
    assert (found.high - found.mean) / error == pytest.approx(quantile, abs=5e-4)
    assert found.high - found.mean == pytest.approx(found.mean - found.low)


def test_19_of_20_intervals_hold_the_true_mean() -> None:
    r = random.Random(0)
    found = [over_seeds([r.gauss(5, 2) for _ in range(3)]) for _ in range(2000)]
    assert sum(interval.low <= 5 <= interval.high for interval in found) / 2000 == pytest.approx(
        0.95, abs=0.01
    )


def test_equal_seeds_leave_no_doubt_and_a_single_one_leaves_all() -> None:
    assert over_seeds([0.25] * 4) == Interval(0.25, 0.25, 0.25, 4)
    alone = over_seeds([7.0])
    assert alone.mean == 7 and alone.count == 1 and math.isnan(alone.low) and math.isnan(alone.high)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_shares_have_the_intervals_of_newcombe_1998(hits: int, count: int, low: float, high: float) -> None:
    found = of_share(hits, count)
    assert (found.mean, found.count) == (hits / count, count)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    other = of_share(count - hits, count)
    assert (1 - other.high, 1 - other.low) == pytest.approx((found.low, found.high))


def test_of_no_cases_nothing_is_known() -> None:
    found = of_share(0, 0)
    assert math.isnan(found.mean) and (found.low, found.high, found.count) == (0, 1, 0)
