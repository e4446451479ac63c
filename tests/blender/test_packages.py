"""PyTorch from the preferences: what is said of it, the buttons, and what Python finds afterwards."""

from __future__ import annotations

import importlib.machinery
import platform
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import bpy
import pytest

import pointe_blender
from pointe_blender import preferences
from pointe_blender.operators import packages as operators
from pointe_blender.panels.pytorch import draw_pytorch
from pointe_blender.pipeline.errors import DownloadFailed
from pointe_blender.pipeline.sets import Doing
from pointe_blender.setup import hardware, packages
from pointe_blender.setup.hardware import Machine, Nvidia
from tests.blender.stand_in import Layout

PINNED = packages.pinned_version()


@pytest.fixture
def target(extension: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where packages go on a Linux without a GPU and without PyTorch; the network may be used."""
    monkeypatch.setenv("POINTE_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(packages, "NEEDED", ("torch",))
    monkeypatch.setattr(packages, "elsewhere", lambda: None)
    monkeypatch.setattr(packages, "PYTHON", "cp311")
    monkeypatch.setattr(packages, "CURRENT", "current-cp311")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(operators.state, "machine", Machine("linux"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    without = [path for path in sys.path if not (Path(path) / "torch" / "version.py").exists()]
    monkeypatch.setattr(sys, "path", without)
    bpy.context.preferences.system.use_online_access = True
    yield preferences.packages_target()
    packages.activate()
    bpy.context.preferences.system.use_online_access = False
    operators.chore.stop()


def drawn() -> Layout:
    layout = Layout()
    draw_pytorch(layout, bpy.context)
    return layout


def with_torch(folder: Path, version: str = PINNED, cuda: str = "None") -> Path:
    """A folder that looks like PyTorch for this Python."""
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / f"_C{importlib.machinery.EXTENSION_SUFFIXES[0]}").touch()
    (folder / "torch" / "__init__.py").touch()
    (folder / "torch" / "version.py").write_text(f"__version__ = '{version}'\ncuda = {cuda}\n")
    return folder


def installer(target: Path, wish: str, beside: list[str]) -> Iterator[Doing]:
    """Stands in for the one that fetches gigabytes; installs what the wish is for at once."""
    yield Doing("Fetching torch", 0.5)
    build = hardware.choose(wish, operators.state.machine).build
    folder = target / f"torch-{PINNED}-{build}-cp311"
    if beside:
        assert beside == ["pointe_needed"]
        folder = target / "torch-without-cp311"
        folder.mkdir(parents=True)
        (folder / "pointe_needed.py").touch()
    else:
        with_torch(folder, cuda="'13.0'" if build == "cu130" else "None")
    (folder / packages.IN_USE).touch()
    (target / packages.CURRENT).write_text(folder.name)
    yield Doing("Installed", 1.0)


@pytest.fixture
def can_install(target: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(operators, "run", installer)
    return target


def load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a run had imported PyTorch from there."""
    module = type(sys)("torch")
    module.__file__ = str(folder / "torch" / "__init__.py")
    monkeypatch.setitem(sys.modules, "torch", module)


def test_installing_waits_without_a_window_and_is_used_at_once(can_install: Path) -> None:
    assert drawn().buttons == ["pointe.install_pytorch"]
    assert bpy.ops.pointe.install_pytorch() == {"FINISHED"}
    assert sys.path[-1] == str(packages.installed(can_install))
    assert packages.missing() == []

    layout = drawn()
    assert layout.buttons == ["pointe.remove_pytorch"]
    assert f"PyTorch {PINNED} for the processor Installed by this extension" in layout.text
    assert bpy.ops.pointe.remove_pytorch() == {"FINISHED"}
    assert not can_install.exists()
    assert str(can_install) not in sys.path[-1]


def test_what_it_would_fetch_is_said_before(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"PyTorch {PINNED} for the processor: 209 MB to fetch, 969 MB on disk" in drawn().text
    monkeypatch.setattr(operators.state, "machine", Machine("linux", Nvidia(580, (8, 6))))
    assert f"PyTorch {PINNED} for NVIDIA GPUs (CUDA 13.0): 2.5 GB to fetch, 6.5 GB on disk" in drawn().text
    monkeypatch.setattr(operators.state, "machine", Machine("linux", Nvidia(470, (8, 6))))
    assert "driver 470 is too old" in drawn().text and "209 MB" in drawn().text


def test_the_machine_is_looked_at_on_a_thread(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn_once = threading.Event()

    def slowly() -> Machine:
        assert drawn_once.wait(10.0), "drawing waits for it"
        return Machine("linux", Nvidia(580, (8, 6)))

    monkeypatch.setattr(operators.state, "machine", None)
    monkeypatch.setattr(hardware, "look", slowly)
    assert "Looking for a GPU" in drawn().text
    drawn_once.set()
    while operators.looking.tick() is not None:
        time.sleep(0.005)
    assert "CUDA 13.0" in drawn().text


def test_a_look_that_fails_counts_as_a_machine_without_a_gpu(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Machine:
        raise RuntimeError("the driver is broken")

    monkeypatch.setattr(operators.state, "machine", None)
    monkeypatch.setattr(hardware, "look", fail)
    drawn()
    while operators.looking.tick() is not None:
        time.sleep(0.005)
    assert "for the processor" in drawn().text


def test_another_choice_is_installed_beside_and_used_after_a_restart(
    can_install: Path, stored: preferences.PointePreferences, monkeypatch: pytest.MonkeyPatch
) -> None:
    bpy.ops.pointe.install_pytorch()
    old = packages.installed(can_install)
    load(old, monkeypatch)
    stored.pytorch = "nvidia"
    assert "pointe.install_pytorch" in drawn().buttons
    bpy.ops.pointe.install_pytorch()
    new = packages.installed(can_install)
    assert new != old and old.exists()
    assert sys.path[-1] == str(old)
    assert "CUDA 13.0) is installed: restart Blender to use it." in drawn().text
    assert "pointe.install_pytorch" not in drawn().buttons

    monkeypatch.delitem(sys.modules, "torch")  # the next start
    pointe_blender.unregister()
    pointe_blender.register()
    assert sys.path[-1] == str(new)
    assert "restart" not in drawn().text
    operators.sweep()
    while operators.sweeping.tick() is not None:
        time.sleep(0.005)
    assert not old.exists() and new.exists()
    assert packages.leftovers(can_install) == []


def test_a_failure_stays_readable_beside_the_button(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(target: Path, wish: str, beside: list[str]) -> Iterator[Doing]:
        yield Doing("Fetching torch", 0.5)
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

    def run(target: Path, wish: str, beside: list[str]) -> Iterator[Doing]:
        try:
            while True:
                yield Doing("Fetching torch", 0.25, "1.2 of 2.8 GB, 23.0 MB/s, 1:10 left")
                time.sleep(0.005)
        finally:
            closed.append("closed")

    monkeypatch.setattr(operators, "run", run)
    operators.chore.start(operators.POINTE_OT_install_pytorch.prepare())
    while not operators.chore.poll():
        time.sleep(0.005)
    return closed


def test_while_it_runs_there_is_a_bar_and_a_way_out(endless: list[str]) -> None:
    layout = drawn()
    (progress,) = [named for name, _, named in layout.calls if name == "progress"]
    assert progress["factor"] == 0.25
    assert "23.0 MB/s" in layout.text
    assert layout.buttons == ["pointe.cancel_install"]
    assert not bpy.ops.pointe.install_pytorch.poll()
    assert not bpy.ops.pointe.remove_pytorch.poll()

    bpy.ops.pointe.cancel_install()
    while operators.chore.tick() is not None:
        time.sleep(0.005)
    assert endless == ["closed"]
    assert drawn().buttons == ["pointe.install_pytorch"]
    assert operators.chore.failure == ""


def test_disabling_the_extension_ends_it(endless: list[str]) -> None:
    pointe_blender.unregister()
    assert endless == ["closed"]
    assert not operators.chore.running
    pointe_blender.register()


def test_one_that_an_extension_brings_is_used_and_named(
    can_install: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "extensions" / ".local" / "lib" / "python3.11" / "site-packages"
    monkeypatch.syspath_prepend(with_torch(shared, "2.9.1", "'12.8'"))
    layout = drawn()
    assert "PyTorch 2.9.1 for NVIDIA GPUs (CUDA 12.8) Brought by an extension" in layout.text
    assert layout.buttons == []
    assert not bpy.ops.pointe.install_pytorch.poll()

    monkeypatch.setattr(packages, "NEEDED", ("torch", "pointe_needed"))
    small = packages.Wheel("pointe_needed", "1.2", "pointe_needed-1.2-py3-none-any.whl", 90_000, 200_000)
    monkeypatch.setattr(packages, "beside", lambda modules: [small])
    layout = drawn()
    assert "Missing beside it: pointe_needed" in layout.text
    assert "Missing packages: 90 kB to fetch" in layout.text
    assert bpy.ops.pointe.install_pytorch() == {"FINISHED"}
    assert not (packages.installed(can_install) / "torch").exists()
    assert packages.missing() == []
    assert packages.found().folder == shared


def test_one_that_does_not_fit_stands_in_the_way_and_is_named(
    can_install: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(with_torch(tmp_path / "site", "1.13.1"))
    layout = drawn()
    assert "PyTorch 1.13.1" in layout.text and str(tmp_path / "site") in layout.text.replace(" ", "")
    assert "update or disable what brings it" in layout.text
    assert layout.buttons == []
    assert packages.missing() == ["torch"]


def test_a_folder_of_the_user_comes_first(
    target: Path, stored: preferences.PointePreferences, tmp_path: Path
) -> None:
    own = with_torch(target / f"torch-{PINNED}-cpu-cp311")
    theirs = with_torch(tmp_path / "theirs")
    before = [path for path in sys.path if path != str(own)]
    stored.packages_folder = str(theirs)
    assert sys.path == [*before, str(theirs), str(own)]
    assert "In your packages folder" in drawn().text
    stored.packages_folder = str(tmp_path)  # no PyTorch there
    assert sys.path == [*before, str(own)]


def test_the_users_own_packages_come_last(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = with_torch(tmp_path / "user")
    monkeypatch.setattr(packages, "elsewhere", lambda: theirs)
    preferences.use_packages()
    assert packages.found().folder == theirs
    assert "Found in Python's folder" in drawn().text
    own = with_torch(target / f"torch-{PINNED}-cpu-cp311")
    preferences.use_packages()
    assert packages.found().folder == own


def test_a_python_that_pytorch_is_not_made_for_is_told(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PYTHON", "cp399")
    assert "is not made for" in drawn().text and "choose a packages folder" in drawn().text
    assert drawn().buttons == []


def test_preferences_reach_the_pipeline(
    target: Path, stored: preferences.PointePreferences, tmp_path: Path
) -> None:
    assert preferences.device() == "auto" and preferences.folders().extra == ()
    stored.device, stored.models_folder = "cpu", str(tmp_path / "mine")
    assert preferences.device() == "cpu"
    assert preferences.folders().extra == (tmp_path / "mine",)
    assert preferences.folders().user == tmp_path / "models"
    assert preferences.folders().online
