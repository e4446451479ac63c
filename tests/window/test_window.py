"""An artist's whole way in a real Blender with a window: install the zip, click Generate, see the object.

window.py says where this runs. Pictures and what was seen stay in out/window/.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.window.window import PACKAGES, drive, install

needs_torch = pytest.mark.skipif(not PACKAGES, reason="POINTE_PACKAGES does not say where PyTorch is")
NEWER = "9.9.9"


def red_share(path: Path) -> float:
    """The share of strongly red pixels in the middle of the window, away from buttons and axes."""
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.int16)
    height, width, _ = pixels.shape
    r, g, b = np.moveaxis(pixels[height // 6 : -height // 6, width // 10 : width // 2], -1, 0)
    return float(np.mean((r > 90) & (r > 2 * g) & (r > 2 * b)))


def newer(archive: Path) -> Path:
    """The same zip as a later version."""
    target = archive.with_name("newer.zip")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("blender_manifest.toml"):
                data = re.sub(rb'(?m)^version = ".*"', f'version = "{NEWER}"'.encode(), data)
            new.writestr(name, data)
    return target


def test_without_pytorch_the_panel_says_what_to_do(workplace: Path) -> None:
    report = drive(workplace, "drive.py", "missing", "")
    assert "torch" in report["missing"]
    assert "install PyTorch" in report["error"]


@needs_torch
def test_click_generate_and_see_a_red_chair(workplace: Path) -> None:
    report = drive(workplace, "drive.py", "generate", PACKAGES)
    assert report["missing"] == []
    assert report["error"] == ""

    fractions = [fraction for _, _, fraction, _ in report["progress"]]
    assert fractions == sorted(fractions)
    assert {"upsample", "mesh"} <= {stage for stage, *_ in report["progress"]}
    assert len(set(fractions)) > 5  # a tick sees the latest update only, and the whole takes seconds
    remaining = [seconds for *_, seconds in report["progress"] if seconds is not None]
    assert remaining and remaining[-1] < 5 and min(remaining) >= 0

    assert report["times before"] == ["", "", ""], "nobody knows yet"
    assert all(re.fullmatch(r"\d+ (s|min)", time) for time in report["times after"])

    assert report["waiting"] == ["a blue mug"]
    assert report["waiting after its cross"] == 0
    assert report["preview"]["points"] in {1024, 4096}
    assert not report["preview"]["selectable"] and not report["preview"]["rendered"]
    assert report["preview at the end"] is None

    assert len(report["objects"]) == 2
    assert set(report["selected"]) == set(report["objects"])
    assert red_share(workplace / "done.png") > red_share(workplace / "ready.png") + 0.01

    assert report["after undo"] == 0
    assert report["after redo"] == 2
    for how in ("by Esc", "by its cross"):
        assert report[f"left {how}"] == []
        assert report[f"cancelled {how} in"] < 5
    assert report["quit while running"] == 1


def test_an_update_keeps_preferences_and_settings(workplace: Path) -> None:
    before = drive(workplace, "drive.py", "settle", "")
    assert before["unload_after"] == 42 and before["size of the preset"] == pytest.approx(0.7)
    assert before["prompts"][0] == "a red chair" and len(before["presets"]) == 1
    install(newer(next(workplace.glob("pointe_blender-*.zip"))), workplace)
    after = drive(workplace, "drive.py", "settled", "")
    assert NEWER in after.pop("version") and NEWER not in before.pop("version")
    assert after == before
