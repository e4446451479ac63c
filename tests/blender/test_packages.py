"""PyTorch from the preferences: the buttons, what they say, and what Python finds afterwards."""

from __future__ import annotations

import importlib.machinery
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import bpy
import pytest

import pointe_blender
from pointe_blender import packages, preferences
from pointe_blender.installation import Installing
from pointe_blender.operators import packages as operators
from pointe_blender.pipeline.errors import DownloadFailed
from tests.blender.stand_in import Layout


@pytest.fixture
def target(extension: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where packages go; the network may be used and PyTorch is not there."""
    monkeypatch.setenv("POINTE_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(packages, "missing", lambda: ["torch"])
    bpy.context.preferences.system.use_online_access = True
    yield preferences.packages_target()
    bpy.context.preferences.system.use_online_access = False
    operators.state.failure = ""


@pytest.fixture
def stored() -> Iterator[preferences.PointePreferences]:
    """The preferences as Blender keeps them for an extension that is enabled."""
    addon = bpy.context.preferences.addons.new()
    addon.module = "pointe_blender"
    yield addon.preferences
    bpy.context.preferences.addons.remove(addon)


def drawn() -> Layout:
    layout = Layout()
    preferences.draw_pytorch(layout)
    return layout


def with_torch(folder: Path) -> Path:
    """A folder that looks like PyTorch for this Python."""
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / f"_C{importlib.machinery.EXTENSION_SUFFIXES[0]}").touch()
    return folder


def installer(target: Path) -> Iterator[Installing]:
    yield Installing("Fetching torch", 0.5)
    with_torch(target / f"torch-9.9-{packages.PYTHON}")
    yield Installing("Installed", 1.0)


def test_installing_waits_without_a_window_and_is_used_at_once(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "run", installer)
    assert bpy.ops.pointe.install_pytorch() == {"FINISHED"}
    assert sys.path[-1] == str(packages.installed(target))

    assert "pointe.remove_pytorch" in drawn().buttons
    assert bpy.ops.pointe.remove_pytorch() == {"FINISHED"}
    assert not target.exists()
    assert str(target) not in sys.path[-1]


def test_a_failure_stays_readable_beside_the_button(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(target: Path) -> Iterator[Installing]:
        yield Installing("Fetching torch", 0.5)
        raise DownloadFailed("Fetching torch failed: check the network and try again.")

    monkeypatch.setattr(operators, "run", fail)
    with pytest.raises(RuntimeError, match="check the network"):
        bpy.ops.pointe.install_pytorch()
    assert "check the network" in drawn().text
    assert "pointe.install_pytorch" in drawn().buttons


def test_offline_it_says_where_to_allow_the_network(target: Path) -> None:
    bpy.context.preferences.system.use_online_access = False
    assert "Allow Online Access" in drawn().text
    with pytest.raises(RuntimeError, match="Allow Online Access in Preferences"):
        bpy.ops.pointe.install_pytorch()


@pytest.fixture
def endless(target: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An installer that never ends by itself; the list tells when it was closed."""
    closed: list[str] = []

    def run(target: Path) -> Iterator[Installing]:
        try:
            while True:
                yield Installing("Fetching torch", 0.25)
                time.sleep(0.005)
        finally:
            closed.append("closed")

    monkeypatch.setattr(operators, "run", run)
    operators.begin()
    while not operators.state.job.poll():
        time.sleep(0.005)
    return closed


def test_while_it_runs_there_is_a_bar_and_a_way_out(endless: list[str]) -> None:
    layout = drawn()
    (progress,) = [named for name, _, named in layout.calls if name == "progress"]
    assert progress["factor"] == 0.25
    assert layout.buttons == ["pointe.cancel_install"]
    assert not bpy.ops.pointe.install_pytorch.poll()

    bpy.ops.pointe.cancel_install()
    while operators.tick() is not None:
        time.sleep(0.005)
    assert endless == ["closed"]
    assert drawn().buttons == ["pointe.install_pytorch"]
    assert operators.state.failure == ""


def test_disabling_the_extension_ends_it(endless: list[str]) -> None:
    pointe_blender.unregister()
    assert endless == ["closed"]
    assert operators.state.job is None
    assert not bpy.app.timers.is_registered(operators.tick)
    pointe_blender.register()


def test_a_folder_of_the_user_comes_first(
    target: Path, stored: preferences.PointePreferences, tmp_path: Path
) -> None:
    own, theirs = with_torch(target / f"torch-9.9-{packages.PYTHON}"), with_torch(tmp_path / "theirs")
    before = [path for path in sys.path if path != str(own)]
    stored.packages_folder = str(theirs)
    assert sys.path == [*before, str(theirs)]
    stored.packages_folder = str(tmp_path)  # no PyTorch there
    assert sys.path == [*before, str(own)]


def test_preferences_reach_the_pipeline(
    target: Path, stored: preferences.PointePreferences, tmp_path: Path
) -> None:
    assert preferences.device() == "auto" and preferences.folders().extra == ()
    stored.device, stored.models_folder = "cpu", str(tmp_path / "mine")
    assert preferences.device() == "cpu"
    assert preferences.folders().extra == (tmp_path / "mine",)
    assert preferences.folders().user == tmp_path / "models"
    assert preferences.folders().online
