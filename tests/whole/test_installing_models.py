"""A model set through the buttons, over a real connection, to networks that load; and nothing left of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy
import pytest

import pointe_blender
from pointe_blender import preferences
from pointe_blender.operators import models as operators
from pointe_blender.panels import models as panel
from pointe_blender.pipeline import download, weights
from pointe_blender.pipeline.models import CHECKPOINTS, INSTALLABLE, Checkpoint
from pointe_blender.setup import errands
from tests.blender.stand_in import Layout
from tests.pipeline import server as bad
from tests.pipeline.checkpoints import equal, random_state, sdf, sdf_file, torch_file
from tests.pipeline.server import Server


@dataclass(frozen=True)
class Small:
    """The two smallest released networks, listed as a set."""

    label: str = "Small"
    summary: str = "Two small networks"
    licence: str = "MIT"

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        return (CHECKPOINTS["pointnet"], CHECKPOINTS["sdf"])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """Serves the set "small" to a Blender that may use the network."""
    bpy.ops.wm.read_homefile(use_empty=True)
    pointe_blender.register()
    monkeypatch.setitem(INSTALLABLE, "small", Small())
    monkeypatch.setenv("POINTE_MODELS", str(tmp_path / "home" / "models"))
    monkeypatch.setenv("BLENDER_USER_SCRIPTS", str(tmp_path / "scripts"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.01)
    operators._installable.cache_clear()
    bpy.context.preferences.system.use_online_access = True
    pointnet = torch_file({"model_state_dict": random_state("pointnet")})
    with Server({"pointnet.pt": pointnet, "sdf.pt": sdf_file()}) as server:
        monkeypatch.setenv("POINTE_SOURCE", server.address)
        yield server
    bpy.context.preferences.system.use_online_access = False
    operators._installable.cache_clear()
    pointe_blender.unregister()
    errands.state = errands._State()


def drawn() -> Layout:
    """The entry of the set, looked up anew."""
    errands.forget()
    layout = Layout()
    panel.draw_set(layout, "small")
    return layout


def tick_until_idle() -> None:
    """What Blender's timer does."""
    end = time.monotonic() + 60
    while errands.chore.tick() is not None:
        assert time.monotonic() < end
        time.sleep(0.005)


def test_installed_cancelled_resumed_verified_damaged_mended_deleted(server: Server) -> None:
    folders = preferences.folders()

    def slow(handler: bad.Handler, body: bytes) -> None:
        handler.head(200, Content_Length=len(body), ETag='"slow"')
        for start in range(0, len(body), 1 << 20):
            handler.wfile.write(body[start : start + (1 << 20)])
            time.sleep(0.05)

    server.faults = [slow]
    errands.begin(errands.Errand("install", "small"))
    while not (step := errands.chore.poll()) or step.fraction < 0.15:
        time.sleep(0.005)
    assert "MB of 24 MB" in drawn().text and drawn().buttons == ["pointe.cancel_models"]
    bpy.ops.pointe.cancel_models(models="small")
    tick_until_idle()
    assert "Interrupted at" in drawn().text and "Resume" in drawn().text

    server.faults = [bad.cut(1_000_000, etag='"slow"')]
    assert bpy.ops.pointe.install_models(models="small") == {"FINISHED"}
    assert any(seen.range for seen in server.seen), "it went on where it was"
    assert equal(weights.load_state("sdf", folders), sdf())

    assert bpy.ops.pointe.verify_models(models="small") == {"FINISHED"}
    assert "Every byte was checked and is right." in drawn().text
    with (folders.user / "sdf.safetensors").open("rb+") as file:
        file.seek(10_000_000)
        file.write(b"\x00\xff")
    with pytest.raises(RuntimeError, match="not those that were written"):
        bpy.ops.pointe.verify_models(models="small")
    assert "Damaged" in drawn().text and "Install Again" in drawn().text
    assert bpy.ops.pointe.install_models(models="small") == {"FINISHED"}
    assert equal(weights.load_state("sdf", folders), sdf())

    bpy.context.preferences.system.use_online_access = False
    assert bpy.ops.pointe.verify_models(models="small") == {"FINISHED"}, "what is local needs no network"
    assert bpy.ops.pointe.delete_models(models="small") == {"FINISHED"}
    assert "Not installed, 61 MB to download." in drawn().text


def test_remove_everything_after_a_real_install(server: Server) -> None:
    assert bpy.ops.pointe.install_models(models="small") == {"FINISHED"}
    home = preferences.user_folder()
    assert any(home.rglob("*.safetensors"))
    assert bpy.ops.pointe.remove_everything() == {"FINISHED"}
    assert not home.exists()
