"""The list of models in the preferences: what it says and offers in each state, and what its buttons do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import bpy
import pytest

import pointe_blender
from pointe_blender import history, pace, preferences
from pointe_blender.operators import running
from pointe_blender.panels import models as panel
from pointe_blender.pipeline import Request, Result, memory, sets
from pointe_blender.pipeline.errors import CannotWrite, DamagedModel, DownloadFailed
from pointe_blender.pipeline.models import INSTALLABLE
from pointe_blender.pipeline.needs import memory_needed
from pointe_blender.pipeline.sets import Doing
from pointe_blender.pipeline.store import Folders
from pointe_blender.setup import belongings, errands, packages
from tests.blender.stand_in import Layout, Pipeline

SHARED = ("clip-vit-l-14", "upsample", "sdf")


@pytest.fixture
def folder(extension: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where models go; the network may be used, PyTorch is there."""
    folder = tmp_path / "home" / "models"
    monkeypatch.setenv("POINTE_MODELS", str(folder))
    monkeypatch.setenv("BLENDER_USER_SCRIPTS", str(tmp_path / "scripts"))
    monkeypatch.setattr(packages, "missing", lambda: [])
    bpy.context.preferences.system.use_online_access = True
    folder.mkdir(parents=True)
    yield folder
    bpy.context.preferences.system.use_online_access = False
    errands.stop()
    errands.state = errands._State()


def put(folder: Path, *names: str) -> None:
    """Files under the names of installed checkpoints, 1 kB each."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.safetensors").write_bytes(bytes(1000))
    errands.forget()


def entry(name: str) -> Layout:
    """One set of the list."""
    layout = Layout()
    panel.draw_set(layout, name)
    return layout


def whole_list() -> Layout:
    layout = Layout()
    panel.draw_models(layout, bpy.context)
    return layout


def until_idle() -> None:
    """Look at the thread as Blender's timer does."""
    end = time.monotonic() + 20.0
    while errands.chore.tick() is not None or errands.counting.tick() is not None:
        assert time.monotonic() < end, "the chore does not end"
        time.sleep(0.002)


# What it says


def test_every_set_says_what_it_is_good_for_and_what_it_takes(folder: Path) -> None:
    for name, models in INSTALLABLE.items():
        text = entry(name).text
        assert models.label in text and models.summary in text and models.licence in text
    least, most = (memory_needed("official-1B", 1, "cuda", held=held) / 1e9 for held in (False, True))
    assert f"GB of memory, or {least:.1f} to {most:.1f} GB of a GPU's." in entry("official-1B").text
    assert "6.1 GB in all. Takes about " in entry("official-1B").text and least < 4.0 < most
    assert "Inside the extension" in entry("starter").text
    assert entry("starter").buttons == ["pointe.verify_models"]


def test_each_state_has_its_words_and_buttons(folder: Path) -> None:
    install, verify, delete = "pointe.install_models", "pointe.verify_models", "pointe.delete_models"
    drawn = entry("official-text")
    assert "Not installed, 1.3 GB" in drawn.text and drawn.buttons == [install]

    put(folder, *SHARED)
    drawn = entry("official-text")
    assert "Partly here, 161 MB" in drawn.text and drawn.buttons == [install, delete]

    (folder / "base_40m_textvec.pt.example.org.part").write_bytes(bytes(40_000_000))
    errands.forget()
    drawn = entry("official-text")
    assert "Interrupted at 91%" in drawn.text and "Resume" in drawn.text
    assert drawn.buttons == [install, delete]

    put(folder, "base40M-textvec")
    drawn = entry("official-text")
    assert "Installed" in drawn.text and drawn.buttons == [verify, delete]
    assert entry("official-40M").buttons == [install], "its parts are needed by the other set"
    assert "Needed by Point-E text." in entry("clip-vit-l-14").text

    errands.state.damaged.add("sdf")
    errands.forget()
    drawn = entry("official-text")
    assert "Damaged" in drawn.text and "Install Again" in drawn.text and drawn.buttons == [install, delete]


def test_files_that_the_user_has_are_found_and_named(
    folder: Path, stored: preferences.PointePreferences, tmp_path: Path
) -> None:
    assert "pointe.use_own_models" in whole_list().buttons
    mine = tmp_path / "mine"
    mine.mkdir()
    bpy.ops.pointe.use_own_models(directory=str(mine))
    assert preferences.folders().extra == (mine,) and "models_folder" in whole_list().fields
    assert "No model file is in this folder" in whole_list().text

    for name in ("ViT-L-14.pt", "base_40m_textvec.pt", "upsample_40m.pt", "sdf.pt"):
        (mine / name).touch()
    errands.forget()
    assert "Used from there: ViT-L-14.pt, base_40m_textvec.pt, sdf.pt" in whole_list().text
    drawn = entry("official-text")
    assert "Your own files" in drawn.text and drawn.buttons == ["pointe.verify_models"]


def test_the_disk_use_is_counted_beside(folder: Path) -> None:
    put(folder, *SHARED)
    torch = preferences.packages_target() / "torch-9.9" / "torch"
    torch.mkdir(parents=True)
    (torch / "weights.bin").write_bytes(bytes(5000))
    whole_list()
    until_idle()
    assert "8 kB on disk: models 3 kB, PyTorch 5 kB." in whole_list().text


def test_offline_the_list_says_where_to_allow_the_network(folder: Path) -> None:
    bpy.context.preferences.system.use_online_access = False
    drawn = whole_list()
    assert "Allow Online Access" in drawn.text and "extensions.userpref_show_online" in drawn.buttons
    assert "extensions.userpref_show_online".split(".")[1] in dir(bpy.ops.extensions)
    with pytest.raises(RuntimeError, match="Allow Online Access"):
        bpy.ops.pointe.install_models(models="official-text")


def test_without_pytorch_it_is_asked_for_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "missing", lambda: ["torch"])
    with pytest.raises(RuntimeError, match="Install PyTorch first"):
        bpy.ops.pointe.install_models(models="official-text")
    with pytest.raises(RuntimeError, match="Install PyTorch first"):
        bpy.ops.pointe.verify_models(models="starter")


# What the buttons do


Downloads = dict[str, Callable[[], Iterator[Doing]]]


@pytest.fixture
def downloads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Downloads:
    """What installing a set does; a set that is not named here arrives at once."""
    plans: Downloads = {}

    def install(name: str, folders: Folders, damaged: set[str]) -> Iterator[Doing]:
        yield Doing(f"Fetching {name}", 0.25, "40 MB of 161 MB, 4 MB/s, 30 s left in all")
        if name in plans:
            yield from plans[name]()
        put(folder, *(part.name for part in INSTALLABLE[name].checkpoints))

    monkeypatch.setattr(sets, "install", install)
    return plans


@pytest.fixture
def endless(downloads: Downloads) -> list[str]:
    """The text set never arrives; the list tells when its download was closed."""
    closed: list[str] = []

    def forever() -> Iterator[Doing]:
        try:
            while True:
                yield Doing("Fetching base40M-textvec", 0.25, "40 MB of 161 MB, 4 MB/s, 30 s left in all")
                time.sleep(0.002)
        finally:
            closed.append("closed")

    downloads["official-text"] = forever
    return closed


def clicked(what: str, models: str) -> None:
    """A click; without a window an operator would wait."""
    errands.begin(errands.Errand(what, models))


def test_installing_waits_without_a_window(downloads: Downloads) -> None:
    assert bpy.ops.pointe.install_models(models="official-text") == {"FINISHED"}
    assert entry("official-text").buttons == ["pointe.verify_models", "pointe.delete_models"]


def test_a_failure_stays_beside_its_set(downloads: Downloads) -> None:
    def fail() -> Iterator[Doing]:
        raise DownloadFailed("Downloading failed (timed out): try again, what has arrived is kept.")
        yield

    downloads["official-text"] = fail
    with pytest.raises(RuntimeError, match="try again"):
        bpy.ops.pointe.install_models(models="official-text")
    drawn = entry("official-text")
    assert "timed out" in drawn.text
    assert drawn.buttons == ["pointe.copy_failure", "pointe.install_models"]
    assert "timed out" not in entry("official-40M").text
    del downloads["official-text"]
    bpy.ops.pointe.install_models(models="official-text")
    assert "timed out" not in entry("official-text").text


def test_what_nobody_expected_is_told_and_its_log_can_be_copied(downloads: Downloads) -> None:
    def break_down() -> Iterator[Doing]:
        yield Doing("Fetching", 1 / 0)

    downloads["official-text"] = break_down
    with pytest.raises(RuntimeError, match="failed unexpectedly"):
        bpy.ops.pointe.install_models(models="official-text")
    assert "report the copied log" in entry("official-text").text
    log = errands.state.failures["official-text"].log
    assert "ZeroDivisionError" in log and "Traceback" in log and bpy.app.version_string in log
    assert bpy.ops.pointe.copy_failure(log=log) == {"FINISHED"}


def test_progress_shows_bytes_rate_and_remaining_time_and_a_way_out(endless: list[str], folder: Path) -> None:
    clicked("install", "official-text")
    while not errands.chore.poll():
        time.sleep(0.002)
    drawn = entry("official-text")
    assert "40 MB of 161 MB, 4 MB/s, 30 s left" in drawn.text
    assert drawn.buttons == ["pointe.cancel_models"]
    (bar,) = [named for name, _, named in drawn.calls if name == "progress"]
    assert bar["factor"] == 0.25
    sidebar = Layout()
    panel.draw_missing(sidebar, "official-text")
    assert sidebar.buttons == ["pointe.cancel_models"] and "4 MB/s" in sidebar.text

    bpy.ops.pointe.cancel_models(models="official-text")
    assert "Cancelling" in entry("official-text").text or endless
    until_idle()
    assert endless == ["closed"] and "pointe.install_models" in entry("official-text").buttons


def test_sets_are_installed_one_after_the_other(endless: list[str]) -> None:
    for name in ("official-text", "official-40M", "official-40M", "official-300M"):
        clicked("install", name)
    assert "Waits" in entry("official-40M").text and entry("official-40M").buttons == ["pointe.cancel_models"]
    bpy.ops.pointe.cancel_models(models="official-300M")
    bpy.ops.pointe.cancel_models(models="official-text")
    until_idle()
    assert entry("official-40M").buttons == ["pointe.verify_models", "pointe.delete_models"]
    assert entry("official-300M").buttons == ["pointe.install_models"]


def test_closing_the_file_does_not_stop_it_and_disabling_does(endless: list[str]) -> None:
    clicked("install", "official-text")
    bpy.ops.wm.read_homefile(use_empty=True)
    assert errands.chore.running and not endless
    assert bpy.app.timers.is_registered(errands.chore._timer)
    pointe_blender.unregister()
    assert endless == ["closed"] and not errands.chore.running
    assert not bpy.app.timers.is_registered(errands.chore._timer)
    pointe_blender.register()


def test_verifying_says_that_all_is_well_or_what_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, *SHARED, "base40M-textvec")

    def verify(name: str, folders: Folders, damaged: set[str]) -> Iterator[Doing]:
        yield Doing("Checking sdf", 0.5)
        if name == "official-text":
            damaged.add("sdf")
            raise DamagedModel("sdf cannot be used: delete it and download the model again.")
        yield Doing("Every byte was checked and is right", 1.0)

    monkeypatch.setattr(sets, "verify", verify)
    bpy.ops.pointe.verify_models(models="starter")
    assert "Every byte was checked" in entry("starter").text
    with pytest.raises(RuntimeError, match="download the model again"):
        bpy.ops.pointe.verify_models(models="official-text")
    assert "Install Again" in entry("official-text").text
    assert "Every byte was checked" not in entry("official-text").text


def test_deleting_gives_back_what_no_other_set_needs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unloaded: list[bool] = []
    monkeypatch.setattr(memory, "unload", lambda: unloaded.append(True))
    put(folder, *SHARED, "base40M-textvec", "base40M")
    bpy.ops.pointe.delete_models(models="official-text")
    assert sorted(path.stem for path in folder.glob("*.safetensors")) == sorted(["base40M", *SHARED])
    assert unloaded
    with pytest.raises(RuntimeError, match="needed by Point-E image 40M"):
        bpy.ops.pointe.delete_models(models="clip-vit-l-14")
    bpy.ops.pointe.delete_models(models="official-40M")
    assert not list(folder.glob("*.safetensors"))


def test_nothing_is_deleted_while_something_is_made(
    folder: Path, pipeline: Pipeline, started: Callable[..., None], until_idle: Callable[[], None]
) -> None:
    put(folder, *SHARED, "base40M-textvec")
    pipeline.pace = lambda: pipeline.closed.wait(0.01)
    started()
    for operator in (bpy.ops.pointe.delete_models, bpy.ops.pointe.remove_everything):
        with pytest.raises(RuntimeError, match="making something"):
            operator()
    running.stop()


def test_a_count_is_dropped_when_the_disk_changes_meanwhile(folder: Path) -> None:
    put(folder, *SHARED)
    errands.count()
    errands.forget()
    until_idle()
    assert errands.state.use == ""
    errands.count()
    until_idle()
    assert errands.state.use.startswith("3 kB on disk")


def test_what_cannot_be_removed_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def remove(places: belongings.Places) -> Iterator[Doing]:
        yield Doing("Deleting PyTorch", 0.6)
        while not errands.chore.cancelling:
            time.sleep(0.002)
            yield Doing("Deleting PyTorch", 0.6)

    monkeypatch.setattr(belongings, "remove", remove)
    clicked("remove", errands.EVERYTHING)
    while not errands.chore.poll():
        time.sleep(0.002)
    assert "Deleting PyTorch (60%)" in whole_list().text
    assert not {"pointe.remove_everything", "pointe.cancel_models"} & set(whole_list().buttons)
    errands.chore.cancel()
    until_idle()

    def refuse(places: belongings.Places) -> Iterator[Doing]:
        raise CannotWrite("PyTorch is in use: restart Blender and remove it.")
        yield

    monkeypatch.setattr(belongings, "remove", refuse)
    with pytest.raises(RuntimeError, match="in use"):
        bpy.ops.pointe.remove_everything()
    drawn = whole_list()
    assert "in use: restart Blender" in drawn.text and "pointe.remove_everything" in drawn.buttons


def test_remove_everything_leaves_nothing(folder: Path, stored: preferences.PointePreferences) -> None:
    put(folder, *SHARED)
    (folder / "base_1b.pt.example.org.part").write_bytes(bytes(10))
    history.remember("a red chair")
    request = Request(prompt="a red chair")
    pace.remember(
        request, Result((), (), (0,), (), "starter", "cpu", {"condition": 1, "base": 1, "upsample": 1})
    )
    assert pace.seconds(replace(request, output="cloud"))
    torch = preferences.packages_target() / "torch-9.9" / "torch" / "__init__.py"
    preset = Path(bpy.utils.user_resource("SCRIPTS", path="presets/pointe_blender", create=True)) / "mine.py"
    theirs = folder.parents[1] / "theirs"
    operator_preset = preset.parents[1] / "operator" / "pointe.generate" / "mine.py"
    for file in (torch, preset, operator_preset, theirs / "sdf.pt"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(10))
    stored.models_folder = str(theirs)

    assert bpy.ops.pointe.remove_everything() == {"FINISHED"}
    assert not folder.parent.exists()
    assert not preset.parent.exists() and not operator_preset.parent.exists()
    assert (theirs / "sdf.pt").is_file()
    assert history.prompts() == [] and pace.seconds(replace(request, output="cloud")) is None
    until_idle()
    whole_list()
    until_idle()
    assert "Nothing is on the disk." in whole_list().text
