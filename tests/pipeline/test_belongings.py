"""Everything that the extension has written: counted, and removed without touching what is not its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pointe_blender.pipeline import store
from pointe_blender.pipeline.errors import CannotWrite
from pointe_blender.pipeline.weights import Folders
from pointe_blender.setup import belongings
from tests.pipeline.checkpoints import put


@pytest.fixture
def places(folders: Folders, tmp_path: Path) -> Iterator[belongings.Places]:
    """What there is after some use."""
    home = tmp_path
    put(folders, "clip-vit-l-14", "sdf", "sdf.own")
    (folders.user / "base_1b.pt.example.org.part").write_bytes(bytes(500))
    (folders.user / "base_1b.pt.example.org.part.json").write_text("{}")
    (folders.user / store.LOCKS).mkdir()
    (folders.user / store.LOCKS / "sdf.lock").touch()
    presets, packages = tmp_path / "presets" / "pointe_blender", tmp_path / "packages"
    prompts = home / "prompts.json"
    prompts.write_text('["a red chair"]', encoding="utf-8")
    for file in (presets / "mine.py", packages / "torch-9-cp311" / "torch" / "__init__.py"):
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(700))
    yield belongings.Places(home, folders, packages, (prompts, presets))
    home.mkdir(exist_ok=True)


def test_everything_is_counted_and_removed(places: belongings.Places) -> None:
    assert belongings.used(places) == belongings.Use(models=3502, packages=700)
    assert belongings.used(places).text == "4 kB on disk: models 4 kB, PyTorch 1 kB"
    list(belongings.remove(places))
    assert not places.folders.user.exists() and not places.packages.exists()
    assert [path.name for path in places.home.iterdir()] == ["presets"]
    assert not list((places.home / "presets").iterdir())


def test_a_file_that_the_user_put_there_stays(places: belongings.Places) -> None:
    (places.folders.user / "base_40m.pt").write_bytes(b"mine")
    list(belongings.remove(places))
    assert [path.name for path in places.folders.user.iterdir()] == ["base_40m.pt"]


def test_what_is_in_use_is_said_and_the_rest_goes(
    places: belongings.Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = places.packages / "torch-9-cp311" / "torch" / "__init__.py"
    monkeypatch.setattr(torch, "__file__", str(loaded))
    with pytest.raises(CannotWrite, match="in use: restart Blender"):
        list(belongings.remove(places))
    assert loaded.is_file() and not places.folders.user.exists()
