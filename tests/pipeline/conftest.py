"""What several test files need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointe_blender.pipeline import download
from pointe_blender.pipeline.weights import Folders
from tests.pipeline.server import Server

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def recorded() -> Path:
    """The folder of the released programs' recorded answers, see tests/parity.py."""
    folder = Path(os.environ.get("POINTE_PARITY", REPOSITORY.parent / "shared" / "parity"))
    if not folder.is_dir():
        pytest.skip("no recorded answers: set POINTE_PARITY to their folder")
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves sdf.pt; the only source there is."""
    from tests.pipeline.checkpoints import sdf_file  # which needs torch

    with Server({"sdf.pt": sdf_file()}) as server:
        monkeypatch.setenv("POINTE_SOURCE", server.address)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(download, "PAUSE", 0.01)
        yield server


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Folders]:
    """A models folder that is not there yet."""
    yield Folders(tmp_path / "models")
    shutil.rmtree(tmp_path)  # pytest would keep some gigabytes
