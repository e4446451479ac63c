"""An evaluation as JSON and as Markdown, each file there whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..pipeline.replacing import replacing
from .measures import MEASURES, Figure


@dataclass(frozen=True)
class Table:
    """What an evaluation found.

    Attributes
    ----------
    facts
        What was evaluated and how, by what it is called.
    figures
        By the metric's name.
    left_out
        Metrics that were not computed, and why.
    unreadable
        Files, and what is wrong with them.
    """

    facts: Mapping[str, Any]
    figures: Mapping[str, Figure]
    left_out: Mapping[str, str]
    unreadable: Sequence[tuple[str, str]]

    def to_json(self) -> str:
        """Everything, in full precision; `null` where there is no number."""
        figures = {
            name: {
                "title": MEASURES[name].title,
                "value": _finite(figure.value),
                "low": _finite(figure.low),
                "high": _finite(figure.high),
                "unit": MEASURES[name].unit,
                "better": MEASURES[name].better,
                "over": figure.over,
                "count": figure.count,
            }
            for name, figure in self.figures.items()
        }
        whole = {
            **self.facts,
            "metrics": figures,
            "left_out": dict(self.left_out),
            "unreadable": [{"file": name, "reason": reason} for name, reason in self.unreadable],
        }
        return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """One table, and below it what was left out."""
        lines = [f"# Evaluation of {self.facts['folder']}", ""]
        lines += [f"* {name}: {value}" for name, value in self.facts.items() if name != "folder" and value]
        lines += [
            "",
            "| metric | value | 95 % interval | unit | better | over |",
            "|---|---|---|---|---|---|",
        ]
        for name, figure in self.figures.items():
            measure = MEASURES[name]
            known = math.isfinite(figure.low) and math.isfinite(figure.high)
            between = f"{_shown(figure.low)} to {_shown(figure.high)}" if known else "–"
            cells = (measure.title, _shown(figure.value), between, measure.unit, measure.better)
            lines.append(f"| {' | '.join(cells)} | {figure.count} {figure.over} |")
        if self.left_out:
            lines += ["", "Left out:", ""]
            lines += [f"* {name}: {reason}" for name, reason in self.left_out.items()]
        if self.unreadable:
            lines += ["", f"Files that could not be read: {len(self.unreadable)}", ""]
            lines += [f"* {name}: {reason}" for name, reason in self.unreadable]
        return "\n".join(lines) + "\n"

    def save(self, folder: Path) -> list[Path]:
        """Write both into a folder that is there.

        Raises
        ------
        CannotWrite
        """
        paths = [folder / "evaluation.json", folder / "evaluation.md"]
        for path, text in zip(paths, (self.to_json(), self.to_markdown()), strict=True):
            with replacing(path) as file:
                file.write(text.encode("utf-8"))
        return paths


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shown(value: float) -> str:
    """Four significant digits, no more than are there."""
    if not math.isfinite(value):
        return "∞" if value == math.inf else "–"
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"
