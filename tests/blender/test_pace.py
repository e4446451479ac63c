"""What a run leaves for the estimates of others, and what the panel says of the levels of quality."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

import pointe_blender
from pointe_blender import keeping, pace
from pointe_blender.operators import running
from pointe_blender.panels import main
from pointe_blender.pipeline import Request, Result
from pointe_blender.pipeline.costs import costs
from pointe_blender.pipeline.models import MODEL_SETS
from tests.blender.stand_in import Layout, Pipeline

SPENT = {"condition": 0.1, "base": 2.0, "upsample": 5.0, "mesh": 1.0}
LEVELS = ["fast", "high", "exact"]

pytestmark = pytest.mark.usefixtures("extension")


def asked(**fields: Any) -> Request:
    return Request(**{"prompt": "a red ball", **fields})


def learn(request: Request, device: str = "cpu", **spent: float) -> None:
    """A run has ended that took so long."""
    seconds = {**(spent or SPENT), "total": 100.0, "download": 50.0}
    pace.remember(request, Result((), (), (0,), (), request.models, device, seconds))


def test_nothing_is_invented() -> None:
    assert pace.seconds(asked()) is None
    learn(asked(device="cpu"))
    assert pace.seconds(asked(device="cpu")) is not None
    assert pace.seconds(asked(device="cuda")) is None
    assert pace.seconds(asked(device="cpu", models="official-text")) is None


def test_the_same_run_takes_as_long_again() -> None:
    learn(asked())
    assert pace.seconds(asked(prompt="a blue mug", seed=7)) == pytest.approx(sum(SPENT.values()))


def test_the_latest_run_counts() -> None:
    learn(asked())
    learn(asked(), condition=0.1, base=1.0, upsample=2.0, mesh=0.5)
    assert pace.seconds(asked()) == pytest.approx(3.6)


@pytest.mark.parametrize(
    "changed",
    [{"steps": 40}, {"guidance": 5.0}, {"resolution": 128}, {"output": "cloud"}, {"quality": "exact"}],
    ids=lambda changed: next(iter(changed)),
)
def test_other_settings_take_longer_by_what_there_is_to_compute(changed: dict[str, Any]) -> None:
    learn(asked())
    known, work = costs(asked()), costs(asked(**changed))
    expected = sum(SPENT[stage] * work[stage] / known[stage] for stage in work)
    assert pace.seconds(asked(**changed)) == pytest.approx(expected)
    assert expected != pytest.approx(sum(SPENT.values()), rel=0.01)


def test_more_points_are_made_as_fast_as_those_before() -> None:
    learn(asked(output="cloud"), condition=0.1, base=2.0, upsample=5.0)
    more = asked(output="cloud", points=20_000)
    once, further = costs(more)["upsample"], costs(more)["densify"]
    assert pace.seconds(more) == pytest.approx(7.1 + 5.0 * further / once)


def test_a_stage_that_was_never_seen_leaves_the_whole_unknown() -> None:
    learn(asked(output="cloud"), condition=0.1, base=2.0, upsample=5.0)
    assert pace.seconds(asked(output="cloud")) == pytest.approx(7.1)
    assert pace.seconds(asked(output="both")) is None
    learn(asked(output="both"))
    learn(asked(output="cloud"), condition=0.1, base=1.0, upsample=1.0)
    assert pace.seconds(asked(output="both")) == pytest.approx(3.1), "the mesh's pace is still known"


def test_each_level_has_its_own_pace_once_it_was_used() -> None:
    learn(asked(quality="fast"))
    guessed = pace.seconds(asked(quality="exact"))
    learn(asked(quality="exact"), condition=0.1, base=20.0, upsample=70.0, mesh=3.0)
    assert pace.seconds(asked(quality="exact")) == pytest.approx(93.1) != guessed
    assert pace.seconds(asked(quality="fast")) == pytest.approx(sum(SPENT.values()))


def test_variants_made_at_once_have_a_pace_of_their_own() -> None:
    """A GPU makes eight of them in hardly more time than one."""
    learn(asked(count=1))
    learn(asked(count=8), condition=0.1, base=3.0, upsample=7.0, rank=0.4, mesh=8.0)
    assert pace.seconds(asked(count=1)) == pytest.approx(sum(SPENT.values()))
    assert pace.seconds(asked(count=8)) == pytest.approx(18.5)
    assert pace.seconds(asked(count=6)) == pytest.approx(18.4 * 6 / 8 + 0.1), "as fast as eight, not as one"


def test_a_device_is_known_by_the_name_it_was_asked_for_and_by_its_own() -> None:
    learn(asked(device="auto"), device="cuda")
    assert pace.seconds(asked(device="auto")) == pace.seconds(asked(device="cuda")) is not None
    assert pace.seconds(asked(device="cpu")) is None


def test_another_session_knows_it_too() -> None:
    learn(asked())
    pace.forget()
    assert pace.seconds(asked()) == pytest.approx(sum(SPENT.values()))


def test_another_computer_with_the_same_home_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    learn(asked())
    monkeypatch.setattr(platform, "node", lambda: "another")
    assert pace.seconds(asked()) is None


def test_two_blenders_share_what_they_learn() -> None:
    learn(asked())
    other = json.loads(pace.file().read_text())
    other[0] |= {"models": "official-text", "device": "cpu"}
    pace.file().write_text(json.dumps(other))
    learn(asked(quality="exact"))
    assert {run["models"] for run in json.loads(pace.file().read_text())} == {"starter", "official-text"}
    assert pace.seconds(asked(models="official-text", device="cpu")) is not None


@pytest.mark.parametrize(
    "content",
    ["", "{", "[", "null", "7", "{}", "[[]]", "[" * 5000, '[{"models": "starter"}]', "\x00\x01"],
)
def test_a_damaged_file_is_an_empty_one(content: str) -> None:
    pace.file().write_text(content)
    assert pace.seconds(asked()) is None
    learn(asked())
    pace.forget()
    assert pace.seconds(asked()) is not None


@pytest.mark.parametrize(
    "damage",
    [
        {"count": 0},
        {"count": "1"},
        {"stages": {"base": "fast"}},
        {"stages": {"base": -1.0}},
        {"stages": {"base": float("nan")}},
        {"stages": []},
        {"device": None},
    ],
    ids=str,
)
def test_a_damaged_entry_leaves_the_others(damage: dict[str, Any]) -> None:
    learn(asked(device="cpu"))
    good = json.loads(pace.file().read_text())
    pace.file().write_text(json.dumps([{**good[0], **damage}, 3, *good]))
    pace.forget()
    assert pace.seconds(asked(device="cpu")) == pytest.approx(sum(SPENT.values()))


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learn(asked())
    before = pace.file().read_text()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    learn(asked(), condition=0.1, base=1.0, upsample=1.0, mesh=1.0)
    assert pace.file().read_text() == before and os.listdir(pace.file().parent) == ["pace.json"]
    assert pace.seconds(asked()) == pytest.approx(3.1), "this session knows it"


def test_what_is_kept_is_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "KEPT", 3)
    learn(asked(models="official-text", device="cpu"))
    for level in LEVELS:
        learn(asked(quality=level, device="cpu"))
    assert len(json.loads(pace.file().read_text())) == 3
    assert pace.seconds(asked(models="official-text", device="cpu")) is None
    assert pace.seconds(asked(device="cpu")) is not None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.02, "1 s"),
        (9.4, "9 s"),
        (9.6, "10 s"),
        (31.0, "30 s"),
        (57.0, "55 s"),
        (58.0, "1 min"),
        (125.0, "2 min"),
        (725.0, "12 min"),
        (3580.0, "1 h"),
        (5500.0, "1.5 h"),
        (90_000.0, "25 h"),
    ],
)
def test_estimates_are_as_round_as_they_are_sure(seconds: float, words: str) -> None:
    assert pace.spoken(seconds) == words


# --- the panel


def drawn() -> Layout:
    layout = Layout()
    main.draw_settings(layout, bpy.context)
    return layout


def levels(layout: Layout) -> list[str]:
    """The buttons."""
    return [arguments[2] for name, arguments, _ in layout.calls if name == "prop_enum"]


def times(layout: Layout) -> list[str]:
    """What stands below them."""
    return [named["text"] for name, _, named in layout.calls if name == "label" and "~" in named["text"]]


def test_before_any_run_only_the_names_are_shown() -> None:
    assert levels(drawn()) == LEVELS and times(drawn()) == []


def test_after_a_run_all_levels_have_a_time_that_follows_the_settings(pipeline: Pipeline) -> None:
    pipeline.seconds = {**SPENT, "total": 8.1}
    bpy.ops.pointe.generate(prompt="a red ball")
    assert levels(drawn()) == LEVELS
    first, *others = times(drawn())
    assert first == "~8 s" and len(others) == 2
    settings = bpy.context.scene.pointe
    for name, value in {"output": "cloud", "steps": 64, "resolution": 200, "points": 50_000}.items():
        before = times(drawn())
        setattr(settings, name, value)
        assert times(drawn()) != before or name == "resolution", "which a cloud has not"
    settings.models = "official-40M"
    assert times(drawn()) == [], "nothing was made with these yet"


@pytest.mark.parametrize("models", MODEL_SETS)
def test_every_set_can_have_a_time(models: str, pipeline: Pipeline) -> None:
    bpy.context.scene.pointe.models = models
    given = {"prompt": "a"} if "text" in MODEL_SETS[models].takes else {"vector": None, "image": blank()}
    learn(Request(**given, models=models))
    assert len(times(drawn())) == 3


def blank() -> Any:
    import numpy as np

    return np.zeros((1, 1, 3), np.uint8)


def test_settings_that_make_no_sense_have_no_time() -> None:
    learn(asked())
    bpy.context.scene.pointe.resolution = 5000
    assert levels(drawn()) == LEVELS and times(drawn()) == []


def test_a_redraw_reads_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    learn(asked())
    pace.forget()
    shown = times(drawn())

    def refuse(_: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr(keeping, "read", refuse)
    assert times(drawn()) == shown != []


def test_a_run_that_was_cancelled_or_failed_teaches_nothing(
    pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    pipeline.seconds = {**SPENT, "total": 8.1}
    pipeline.pace = lambda: running.state.current.job.cancel()
    started()
    until_idle()

    def fail() -> None:
        raise RuntimeError("broken")

    pipeline.pace = fail
    started()
    until_idle()
    assert not pace.file().exists()


def test_the_console_teaches_it_as_well(pipeline: Pipeline) -> None:
    pipeline.seconds = {**SPENT, "total": 8.1}
    pointe_blender.generate("a red ball", quality="exact")
    assert pipeline.requests[-1].quality == "exact"
    assert pace.seconds(asked(quality="exact")) == pytest.approx(8.1)
    assert "~8 s" in times(drawn())[2]


def test_the_buttons_stand_in_the_sidebar_and_in_the_add_menu(monkeypatch: pytest.MonkeyPatch) -> None:
    from pointe_blender.operators.generate import POINTE_OT_add
    from pointe_blender.setup import packages

    monkeypatch.setattr(packages, "missing", lambda: [])
    for panel in (main.POINTE_PT_main, POINTE_OT_add):
        layout = Layout()
        panel.draw(SimpleNamespace(layout=layout), bpy.context)
        assert levels(layout) == LEVELS
