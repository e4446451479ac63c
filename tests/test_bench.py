"""tests/bench: how it times, compares and tells; what it measures is measured there."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import children, machine, targets, timing
from tests.bench.table import HALF, OFFICIAL, SDPA, Curve, Report, Row, markdown, plain, shown

WAY = "text → cloud"


def row(quality: str, seconds: float, official: float, name: str = WAY) -> Row:
    return Row("Sampling", name, "official-text", "cpu", quality, seconds, references={OFFICIAL: official})


@pytest.fixture
def report() -> Report:
    curve = Curve("Points of a cloud", "points", {"cpu": [(1024, 0.5), (4096, 1.25)], "cuda": [(1024, 0.01)]})
    return Report({"machine": "cpu-2-cores", "date": "2026-11-21"}, [row("exact", 400.0, 1000.0)], [curve])


class Clock:
    """A clock that programs push on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def program(clock: Clock, order: list[str], name: str, *turns: tuple[str, int, float]) -> timing.Turns:
    """Takes so many seconds in each turn, and says when it had one."""
    for stage, evaluations, seconds in turns:
        clock.now += seconds
        order.append(name)
        yield stage, evaluations


def test_programs_take_turns_and_their_first_turn_of_a_stage_does_not_count() -> None:
    clock, order = Clock(), []
    a = program(clock, order, "a", ("base", 1, 9.0), ("base", 2, 2.0), ("base", 2, 4.0), ("upsample", 1, 7.0))
    b = program(clock, order, "b", ("base", 1, 8.0), ("base", 2, 6.0), ("base", 2, 6.0))
    laps = timing.race({"a": a, "b": b}, "cpu", clock)
    assert order == ["a", "b", "a", "b", "a", "b", "a"]
    assert laps == {"a": {"base": [1.0, 2.0], "upsample": []}, "b": {"base": [3.0, 3.0]}}


def test_a_turn_lasts_until_a_network_was_evaluated() -> None:
    clock, order = Clock(), []
    a = program(clock, order, "a", ("base", 1, 1.0), ("", 0, 0.5), ("base", 1, 1.0), ("", 0, 5.0))
    assert timing.race({"a": a}, "cpu", clock) == {"a": {"base": [1.5]}}


def test_the_laps_of_several_races_are_put_together() -> None:
    races = [{"a": {"base": [1.0]}, "b": {"base": [3.0]}}, {"a": {"base": [2.0], "upsample": [4.0]}}]
    assert timing.together(races) == {
        "a": {"base": [1.0, 2.0], "upsample": [4.0]},
        "b": {"base": [3.0]},
    }


@pytest.mark.parametrize(("seconds", "times"), [(0.01, 10), (2.0, 3), (60.0, 1)])
def test_what_takes_long_is_repeated_less_often(seconds: float, times: int) -> None:
    assert timing.repeats(10, seconds) == times


def test_the_warm_up_has_no_part_in_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: Iterator[float] = iter([0.9, 0.1, 0.3, 0.2])
    monkeypatch.setattr(timing, "once", lambda work, device: next(taken))
    assert timing.median_seconds(lambda: None, "cpu", times=3) == 0.2


def test_a_curve_ends_before_it_takes_too_long() -> None:
    measured: list[int] = []

    def seconds(size: int) -> float:
        measured.append(size)
        return size * 2.0

    assert timing.grown((1, 10, 20, 100), seconds, limit=50.0) == [(1, 2.0), (10, 20.0), (20, 40.0)]
    assert measured == [1, 10, 20]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.01234, "s", "12.3 ms"),
        (0.9999, "s", "1.00 s"),
        (12.345, "s", "12.3 s"),
        (1540.2, "s", "1,540 s"),
        (120.0, "MB", "120 MB"),
        (2.5, "×", "2.50 ×"),
        (0.00001, "", "1.0e-05"),
        (0.0, "", "0"),
        (math.inf, "", "inf"),
    ],
)
def test_values_are_shown_to_three_digits(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_a_row_says_how_many_times_as_much_the_official_program_takes() -> None:
    measured = row("fast", 20.0, 1000.0)
    assert measured.ratio(OFFICIAL) == 50 and measured.ratio(SDPA) is None
    assert measured.cells()[4:8] == ["20 s", "1,000 s (50 ×)", "", ""]


@pytest.mark.parametrize(
    ("value", "limit", "at_most", "text"),
    [
        (42.0, 40.0, False, "reached, 5 % above"),
        (40.0, 40.0, False, "reached, 0 % above"),
        (30.0, 40.0, False, "missed, 25 % below"),
        (2.4, 3.0, True, "reached, 20 % below"),
        (3.3, 3.0, True, "missed, 10 % above"),
    ],
)
def test_a_verdict_says_by_how_much(value: float, limit: float, at_most: bool, text: str) -> None:
    assert targets.verdict(value, limit, at_most) == text


def test_targets_are_held_against_what_was_measured_and_nothing_else(report: Report) -> None:
    report.rows.append(row("fast", 50.0, 1000.0))
    found = {each.quality: each for each in targets.rows(report)}
    assert set(found) == {"exact", "fast"}
    assert found["exact"].passed and found["exact"].wanted == "≥ 2.1 ×" and found["exact"].value == 2.5
    assert not found["fast"].passed and found["fast"].verdict == "missed, 50 % below"


def test_without_the_official_program_no_ratio_is_claimed() -> None:
    alone = Row("Sampling", WAY, "official-text", "cpu", "fast", 20.0)
    assert not list(targets.rows(Report({}, [alone])))


def test_every_target_is_told_from_the_others() -> None:
    named = [(target.name, *sorted(target.fields.items())) for target in targets.TARGETS]
    assert len(set(named)) == len(named)


def test_the_markdown_is_one_table_with_charts_and_their_numbers(report: Report) -> None:
    report.rows += [Row("Load", "sdf, a|b", "starter", "cpu", "", 0.002), row("fast", 20.0, 1000.0)]
    text = markdown(report)
    table = [line for line in text.splitlines() if line.startswith("|")]
    first = table[: table.index(next(line for line in table if "points" in line))]
    assert len({line.replace("\\|", "").count("|") for line in first}) == 1
    assert "| **Sampling** |" in text and "| **Load** |" in text and "sdf, a\\|b" in text
    assert "wanted" not in text, "columns that hold nothing are left out"
    assert 'x-axis "points" ["1024", "4096"]' in text and "line [0.5, 1.25]" in text
    assert "| cpu | 500 ms | 1.25 s |" in text and "| cuda | 10 ms |  |" in text
    assert "* date: 2026-11-21" in text and SDPA not in text and HALF not in text


def test_the_terminal_and_the_json_say_the_same(report: Report) -> None:
    stored = json.loads(json.dumps(report.to_json()))
    assert stored["rows"][0]["ratios"] == {OFFICIAL: 2.5}
    assert stored["curves"][0]["lines"]["cpu"] == [[1024, 0.5], [4096, 1.25]]
    assert "1,000 s (2.50 ×)" in plain(report) and "1024: 500 ms" in plain(report)


@pytest.mark.parametrize(
    ("name", "slug"),
    [("NVIDIA H200", "nvidia-h200"), ("Apple M2 Max", "apple-m2-max"), ("A/B (TM)", "a-b-tm")],
)
def test_files_are_named_by_the_machine(name: str, slug: str) -> None:
    assert machine.slug(name) == slug


def test_a_child_that_fails_is_told_with_its_own_words() -> None:
    with pytest.raises(children.ChildFailed, match="No module named"):
        children.ask("nowhere")


def test_the_table_of_every_machine_is_stored_in_both_forms() -> None:
    folder = Path(children.ROOT) / "docs" / "benchmarks"
    stored = {path.stem for path in folder.glob("*.json")}
    assert stored == {path.stem for path in folder.glob("*.md")} - {"README"}
