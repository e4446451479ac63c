"""What the sidebar says in each state. There is no window here: a layout that remembers stands in for one."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace

import bpy
import pytest

from pointe_blender.operators import packages as operators
from pointe_blender.operators import running
from pointe_blender.panels import main, presets, text
from pointe_blender.pipeline.errors import MissingModel
from pointe_blender.setup import packages
from pointe_blender.setup.hardware import Machine
from tests.blender.stand_in import Layout, Pipeline


@pytest.fixture
def sidebar(extension: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Layout]:
    """Draw the panel; PyTorch is there."""
    monkeypatch.setattr(packages, "missing", lambda: [])

    def draw() -> Layout:
        layout = Layout()
        main.POINTE_PT_main.draw(SimpleNamespace(layout=layout), bpy.context)
        return layout

    return draw


def test_at_rest_it_offers_what_to_make(sidebar: Callable[[], Layout]) -> None:
    drawn = sidebar()
    assert drawn.fields == ["source", "prompt", "models", "output", "count", "seed"]
    assert drawn.buttons == ["pointe.clear_history", "pointe.generate"]
    bpy.context.scene.pointe.source = "image"
    drawn = sidebar()
    assert "prompt" not in drawn.fields and "crop" in drawn.fields
    assert drawn.buttons.count("pointe.take_picture") >= 3


def test_a_set_that_is_not_here_says_what_it_costs(sidebar: Callable[[], Layout]) -> None:
    assert "GB" not in sidebar().text
    bpy.context.scene.pointe.models = "official-1B"
    assert "6.1 GB" in sidebar().text
    assert "GB" not in (bpy.context.scene.pointe.property_unset("models"), sidebar())[1].text


def test_an_error_stays_until_it_is_dismissed(sidebar: Callable[[], Layout]) -> None:
    said = "base40M is not on this machine: allow online access, or choose the folder that it lies in."
    running.fail(MissingModel(said))
    for _ in range(2):
        drawn = sidebar()
        assert said in drawn.text and "pointe.dismiss" in drawn.buttons and "pointe.generate" in drawn.buttons
    bpy.ops.pointe.dismiss()
    assert said not in sidebar().text


def test_a_notice_is_shown_after_a_run(sidebar: Callable[[], Layout], pipeline: Pipeline) -> None:
    pipeline.notice = "The starter models know no dragons: install the official models."
    bpy.ops.pointe.generate(prompt="a dragon")
    assert pipeline.notice in sidebar().text


def test_without_pytorch_it_says_so_and_offers_it(
    sidebar: Callable[[], Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "missing", lambda: ["torch"])
    monkeypatch.setattr(packages, "found", lambda: None)
    monkeypatch.setattr(operators.state, "machine", Machine("linux"))
    drawn = sidebar()
    assert "torch" in drawn.text.lower() and "pointe.install_pytorch" in drawn.buttons


@pytest.mark.parametrize("width", [160, 280, 600])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_messages_are_wrapped_to_the_sidebar(width: int, scale: float) -> None:
    preferences = SimpleNamespace(system=SimpleNamespace(ui_scale=scale))
    context = SimpleNamespace(region=SimpleNamespace(width=width * scale), preferences=preferences)
    lines = text.wrapped("The prompt is empty: describe one object, such as 'a red chair'. " * 3, context)
    assert max(map(len, lines)) * 6.5 <= max(width - 70, 16 * 6.5)


def test_the_memory_is_told_before_a_run_for_all_variants_together(extension: None) -> None:
    def gigabytes() -> list[float]:
        layout = Layout()
        main.POINTE_PT_detail.draw(SimpleNamespace(layout=layout), bpy.context)
        return [float(most) for most in re.findall(r"([\d.]+) GB", layout.text)]

    settings, one = bpy.context.scene.pointe, gigabytes()
    assert len(one) == 2
    settings.count = 8
    assert sum(gigabytes()) > sum(one)
    settings.count, settings.models = 1, "official-1B"
    assert all(more > 2 * before for more, before in zip(gigabytes(), one, strict=True))


def test_a_preset_keeps_all_settings_but_what_is_made_and_where(extension: None) -> None:
    kept = {path.rpartition(".")[2] for path in presets.POINTE_OT_add_preset.preset_values}
    every = {name for name in bpy.context.scene.pointe.bl_rna.properties.keys() if name != "rna_type"}
    assert every - kept == {"name", "source", "prompt", "picture", "seed", "collection"}
    assert kept < every


def test_the_other_entries_draw(extension: None) -> None:
    layout = Layout()
    main.draw_add_menu(SimpleNamespace(layout=layout), bpy.context)
    main.POINTE_PT_detail.draw(SimpleNamespace(layout=layout), bpy.context)
    assert layout.buttons == ["pointe.add"]
    assert layout.fields == ["steps", "guidance", "points", "resolution"]
    assert layout.operator_context == "EXEC_REGION_WIN", "entries of others run as before"
