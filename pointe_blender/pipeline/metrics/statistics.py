"""How far a figure is to be trusted: 95 % confidence intervals.

Figures of whole sets, such as P-FID or 1-NNA, are not resampled: a cloud drawn twice is its own nearest
neighbour and narrows the set it is drawn from. Their intervals come from several seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure, its 95 % confidence interval, and how many values it stands on.

    Attributes
    ----------
    mean, low, high
        In the unit of the values; not numbers where nothing is known of them.
    count
        Of values.
    """

    mean: float
    low: float
    high: float
    count: int


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean of independent values, such as one of each seed, with its interval after Student 1908.

    Parameters
    ----------
    values
        One or more, in any unit, taken to be normally distributed.

    Returns
    -------
    Interval
        mean ± t s / √n, where t holds 95 % of Student's distribution of n - 1 degrees of freedom between -t
        and t. `low` and `high` are not numbers for a single value.
    """
    count, mean = len(values), fmean(values)
    if count == 1:
        return Interval(mean, math.nan, math.nan, 1)
    margin = _student(count - 1) * stdev(values) / math.sqrt(count)
    return Interval(mean, mean - margin, mean + margin, count)


def of_share(hits: int, count: int) -> Interval:
    """A share of independent cases with its interval after Wilson 1927.

    Parameters
    ----------
    hits, count
        How many of how many.

    Returns
    -------
    Interval
        Within [0, 1]: the shares from which so many hits deviate by at most 1.96 standard errors. Of no cases
        the share is not a number.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    centre = (hits + z**2 / 2) / (count + z**2)
    margin = z * math.sqrt(hits * (count - hits) / max(count, 1) + z**2 / 4) / (count + z**2)
    share = hits / count if count else math.nan
    return Interval(share, max(0.0, centre - margin), min(1.0, centre + margin), count)


def _student(freedom: int) -> float:
    """The t between whose negative and itself lies Student's distribution but for 5 %."""
    low, high = 0.0, math.pi / 2
    while low < (angle := (low + high) / 2) < high:
        if _share_within(angle, freedom) < CONFIDENCE:
            low = angle
        else:
            high = angle
    return math.sqrt(freedom) * math.tan(high)


def _share_within(angle: float, freedom: int) -> float:
    """Of Student's distribution between ∓√freedom tan(angle): Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= math.cos(angle) ** 2 * (k - 1) / k
        total += term
    share = total * math.sin(angle)
    return (share + angle) * 2 / math.pi if odd else share
