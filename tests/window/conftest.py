"""A Blender with its window, where one can be started; elsewhere these tests are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.window.window import COMMAND, ROOT, prepare


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.window)
            if not COMMAND:
                reason = "POINTE_BLENDER does not say how to start Blender"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def workplace() -> Path:
    """A folder for Blender with the extension installed from its zip; pictures and reports stay there."""
    folder = ROOT / "out" / "window"
    prepare(folder)
    return folder
