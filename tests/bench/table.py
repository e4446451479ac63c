"""The one table: what was measured, the targets and the gates; as text, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

OFFICIAL, SDPA, HALF = "official", "official + SDPA", "official + SDPA + half"
PROGRAMS = (OFFICIAL, SDPA, HALF)
COLUMNS = ("", "models", "device", "quality", "measured", *PROGRAMS, "wanted", "verdict", "how")


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes
    ----------
    subject
        What the lines around it have in common.
    name
        What was measured.
    value, unit
        Of this program: "s", "MB", "×", or what else the name says.
    references
        The same of the official program, by its name in `PROGRAMS`.
    wanted
        A limit with its sign, such as "≥ 10 ×".
    passed
        Whether the limit is kept; `None` where there is none.
    verdict
        By how much, in words.
    how
        How the value came about, where it is not simply measured.
    """

    subject: str
    name: str
    models: str
    device: str
    quality: str
    value: float
    unit: str = "s"
    references: dict[str, float] = field(default_factory=dict)
    wanted: str = ""
    passed: bool | None = None
    verdict: str = ""
    how: str = ""

    def ratio(self, program: str) -> float | None:
        """How many times as much the official program takes."""
        other = self.references.get(program)
        return None if other is None or not self.value else other / self.value

    def cells(self) -> list[str]:
        """The texts of its columns."""
        others = []
        for program in PROGRAMS:
            ratio = self.ratio(program)
            text = "" if ratio is None else f" ({shown(ratio, '×')})"
            others.append(text and shown(self.references[program], self.unit) + text)
        measured = shown(self.value, self.unit)
        return [
            self.name,
            self.models,
            self.device,
            self.quality,
            measured,
            *others,
            self.wanted,
            self.verdict,
            self.how,
        ]


@dataclass(frozen=True)
class Curve:
    """How a cost grows.

    Attributes
    ----------
    subject
        What is made more and more.
    unit
        Of the sizes.
    lines
        By label, (size, seconds) of each point.
    """

    subject: str
    unit: str
    lines: dict[str, list[tuple[int, float]]]


@dataclass
class Report:
    """Everything that is stored."""

    machine: dict[str, str]
    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def find(self, name: str, **wanted: str) -> Row | None:
        """The row of this name whose fields are as wanted."""
        return next(
            (
                row
                for row in self.rows
                if row.name == name and all(getattr(row, key) == value for key, value in wanted.items())
            ),
            None,
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values; a row has its ratios with it."""
        rows = [
            {**asdict(row), "ratios": {p: row.ratio(p) for p in PROGRAMS if row.ratio(p) is not None}}
            for row in self.rows
        ]
        curves = [asdict(curve) for curve in self.curves]
        return {"machine": self.machine, "rows": rows, "curves": curves, "notes": self.notes}


def shown(value: float, unit: str) -> str:
    """A value with its unit, to three digits; seconds below one in milliseconds."""
    if unit == "s" and 0 < value < 0.9995:
        value, unit = 1000 * value, "ms"
    if value != value or value in (float("inf"), float("-inf")):
        text = str(value)
    elif value == int(value) or abs(value) >= 999.5:
        text = f"{value:,.0f}"
    elif abs(value) < 0.01:
        text = f"{value:.1e}"
    else:
        text = f"{value:#.3g}".rstrip(".")
    return f"{text} {unit}".rstrip()


def plain(report: Report) -> str:
    """For a terminal."""
    lines = [", ".join(f"{key} {value}" for key, value in report.machine.items())]
    used = _used(report.rows)
    cells = [[row.cells()[i] for i in used] for row in report.rows]
    header = [COLUMNS[i] for i in used]
    widths = [max(len(row[i]) for row in (header, *cells)) for i in range(len(used))]
    subject = ""
    for row, texts in zip(report.rows, cells, strict=True):
        if row.subject != subject:
            subject = row.subject
            lines += ["", subject, _aligned(header, widths)]
        lines.append(_aligned(texts, widths))
    for curve in report.curves:
        lines += ["", f"{curve.subject} ({curve.unit}), seconds"]
        for label, points in curve.lines.items():
            lines.append(f"{label}: " + "  ".join(f"{size}: {shown(s, 's')}" for size, s in points))
    return "\n".join([*lines, "", *report.notes])


def markdown(report: Report) -> str:
    """For docs/benchmarks: machine, table, curves."""
    lines = [f"# Benchmark: {report.machine['machine']}", ""]
    lines += [f"* {key}: {value}" for key, value in report.machine.items() if key != "machine"]
    used = _used(report.rows)
    lines += ["", "| " + " | ".join(COLUMNS[i] for i in used) + " |", "|" + "---|" * len(used)]
    subject = ""
    for row in report.rows:
        if row.subject != subject:
            subject = row.subject
            lines.append(f"| **{subject}** |" + " |" * (len(used) - 1))
        texts = row.cells()
        lines.append("| " + " | ".join(texts[i].replace("|", "\\|") for i in used) + " |")
    if report.notes:
        lines += ["", *(f"* {note}" for note in report.notes)]
    if report.curves:
        lines += ["", "## How cost grows"]
    for curve in report.curves:
        lines += ["", *_chart(curve)]
    return "\n".join(lines) + "\n"


def _used(rows: Sequence[Row]) -> list[int]:
    """The columns that hold anything."""
    texts = [row.cells() for row in rows]
    return [i for i in range(len(COLUMNS)) if i == 0 or any(row[i] for row in texts)]


def _aligned(texts: Iterable[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip()


def _chart(curve: Curve) -> list[str]:
    """A Mermaid chart of the curves, and their numbers."""
    sizes = sorted({size for points in curve.lines.values() for size, _ in points})
    lines = [f"### {curve.subject}", "", "```mermaid", "xychart-beta"]
    lines += [f'    title "{curve.subject}: {", ".join(curve.lines)}"']
    ticks = ", ".join(f'"{size}"' for size in sizes)
    lines += [f'    x-axis "{curve.unit}" [{ticks}]', '    y-axis "seconds"']
    for points in curve.lines.values():
        lines.append(f"    line [{', '.join(f'{seconds:.4g}' for _, seconds in points)}]")
    lines += ["```", "", f"| {curve.unit} | " + " | ".join(f"{size:,}" for size in sizes) + " |"]
    lines.append("|---|" + "---:|" * len(sizes))
    for label, points in curve.lines.items():
        found = dict(points)
        lines.append(
            f"| {label} | " + " | ".join(shown(found[s], "s") if s in found else "" for s in sizes) + " |"
        )
    return lines
