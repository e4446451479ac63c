"""What several test files need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def recorded() -> Path:
    """The folder of the released programs' recorded answers, see tests/parity.py."""
    folder = Path(os.environ.get("POINTE_PARITY", REPOSITORY.parent / "shared" / "parity"))
    if not folder.is_dir():
        pytest.skip("no recorded answers: set POINTE_PARITY to their folder")
    return folder
