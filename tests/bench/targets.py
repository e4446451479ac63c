"""What was to be reached, held against what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .table import OFFICIAL, Report, Row


@dataclass(frozen=True)
class Target:
    """A limit for a number in the table.

    Attributes
    ----------
    name
        What it is about.
    row
        The name of the row in the table, and in `fields` what else tells it from others.
    limit, unit
        To be reached, at least or at most.
    value
        The number, of that row.
    """

    name: str
    row: str
    fields: dict[str, str]
    limit: float
    value: Callable[[Row], float | None]
    unit: str = "×"
    at_most: bool = False


def against_official(row: Row) -> float | None:
    """How many times as much the unmodified official program takes."""
    return row.ratio(OFFICIAL)


def itself(row: Row) -> float | None:
    """What the row says."""
    return row.value


def _faster(way: str, models: str, device: str, **limits: float) -> list[Target]:
    return [
        Target(way, way, {"models": models, "device": device, "quality": quality}, limit, against_official)
        for quality, limit in limits.items()
    ]


def _smaller(device: str, **limits: float) -> list[Target]:
    name = "upsampler's evaluation"
    return [
        Target(
            f"memory of an {name}",
            name,
            {"models": "official-text", "device": device, "quality": quality},
            limit,
            against_official,
        )
        for quality, limit in limits.items()
    ]


def _start(models: str, device: str, seconds: float) -> Target:
    return Target(
        "first denoising step",
        "all to the first denoising step",
        {"models": models, "device": device},
        seconds,
        itself,
        "s",
        at_most=True,
    )


def _many(device: str) -> list[Target]:
    return [
        Target(
            "8 variants ÷ one",
            "8 ÷ one",
            {"models": "official-text", "device": device, "quality": quality},
            2,
            itself,
            at_most=True,
        )
        for quality in ("high", "fast")
    ]


TARGETS = (
    *_faster("text → cloud", "official-text", "cpu", exact=2.1, high=10, fast=40),
    Target("mesh 128³", "mesh 128³", {"models": "official-text", "device": "cpu"}, 25, against_official),
    *_smaller("cpu", exact=3, high=6, fast=6),
    _start("starter", "cpu", 3),
    _start("official-text", "cpu", 3),
    *_faster("text → cloud", "official-text", "cuda", high=35, fast=100),
    *_faster("image → cloud", "official-1B", "cuda", high=45, fast=100),
    *_smaller("cuda", exact=3, high=6, fast=6),
    *_many("cuda"),
    _start("official-text", "cuda", 0.5),
)


def rows(report: Report) -> Iterator[Row]:
    """Every target whose number was measured."""
    for target in TARGETS:
        row = report.find(target.row, **target.fields)
        value = target.value(row) if row is not None else None
        if row is not None and value is not None:
            passed = value <= target.limit if target.at_most else value >= target.limit
            sign = "≤" if target.at_most else "≥"
            yield Row(
                "Targets",
                target.name,
                row.models,
                row.device,
                row.quality,
                value,
                target.unit,
                wanted=f"{sign} {target.limit:g} {target.unit}",
                passed=passed,
                verdict=verdict(value, target.limit, target.at_most),
            )


def verdict(value: float, limit: float, at_most: bool) -> str:
    """By how much a limit is kept or not."""
    ratio = value / limit
    passed = ratio <= 1 if at_most else ratio >= 1
    apart = 100 * abs(ratio - 1)
    return f"{'reached' if passed else 'missed'}, {apart:.0f} % {'above' if ratio >= 1 else 'below'}"
