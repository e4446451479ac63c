"""Reference pictures in a real window: of the view, the render and the clipboard, and a dropped file.

See window.py for where this runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.window.window import drive


@pytest.fixture(scope="module")
def report(workplace: Path) -> dict[str, Any]:
    """What drive_pictures.py saw."""
    return drive(workplace, "drive_pictures.py")


def taken(workplace: Path, name: str) -> np.ndarray:
    return np.asarray(Image.open(workplace / f"{name}.png").convert("RGBA"), dtype=np.int16)


def red_share(pixels: np.ndarray) -> float:
    """The share of strongly red pixels among those that are not transparent."""
    r, g, b, alpha = np.moveaxis(pixels, -1, 0)
    return float(np.sum((alpha > 250) & (r > 60) & (r > 2 * g) & (r > 2 * b)) / np.sum(alpha > 250))


@pytest.mark.parametrize("name", ["view solid", "view material", "view rendered", "render", "clipboard"])
def test_a_picture_is_packed_and_shown_as_the_models_see_it(report: dict[str, Any], name: str) -> None:
    kind = name.partition(" ")[0].capitalize()
    assert report[name] == {
        "name": f"Point-E {kind}",
        "source": "image",
        "packed": True,
        "icon": report[name]["icon"],
        "notice": "",
    }
    assert report[name]["icon"] > 0


@pytest.mark.parametrize("name", ["view solid", "view material"])
def test_the_view_holds_the_object_and_nothing_else(
    report: dict[str, Any], workplace: Path, name: str
) -> None:
    pixels = taken(workplace, name)
    assert 0.002 < np.mean(pixels[..., 3] > 250) < 0.05, "no grid, no axes, no background"
    assert red_share(pixels) > 0.9


def test_the_view_keeps_its_shading_and_its_overlays(report: dict[str, Any], workplace: Path) -> None:
    solid, material = taken(workplace, "view solid"), taken(workplace, "view material")
    assert solid.shape == material.shape and not np.array_equal(solid, material)
    assert red_share(taken(workplace, "view rendered")) > 0.002
    assert report["overlays"] is True


def test_what_was_copied_arrives_to_the_bit(report: dict[str, Any], workplace: Path) -> None:
    np.testing.assert_array_equal(taken(workplace, "clipboard"), taken(workplace, "view solid"))
    assert report["path on the clipboard"] == "render.png"
    assert report["areas stay"] is True


def test_a_dropped_file_opens_our_tab(report: dict[str, Any]) -> None:
    assert report["dropped"] == ["image", "view solid.png"]
    assert report["tab"] == [True, "Point-E"]
