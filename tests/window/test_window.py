"""An artist's whole way in a real Blender with a window: install the zip, click Generate, see the object.

It runs where these say how, and is skipped elsewhere:

POINTE_BLENDER
    A command that starts Blender with its window and the arguments that follow, in the current folder,
    such as "blender", or "xvfb-run blender" where there is no screen.
POINTE_PACKAGES
    The folder, as that Blender sees it, that holds PyTorch for its Python. Without it only the state without
    PyTorch is tested.

Pictures and what was seen stay in out/window/.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
COMMAND = shlex.split(os.environ.get("POINTE_BLENDER", ""))
PACKAGES = os.environ.get("POINTE_PACKAGES", "")

pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(not COMMAND, reason="POINTE_BLENDER does not say how to start Blender"),
]
needs_torch = pytest.mark.skipif(not PACKAGES, reason="POINTE_PACKAGES does not say where PyTorch is")


def blender(*arguments: str, folder: Path) -> str:
    """Run Blender to its end, with preferences of its own; returns what it printed."""
    environment = os.environ | {"BLENDER_USER_RESOURCES": str(folder / "user")}
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment,
        timeout=600,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def workplace() -> Path:
    """A folder with the extension installed from its zip, by Blender's own command."""
    folder = ROOT / "out" / "window"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "user").mkdir(parents=True)
    subprocess.run([sys.executable, ROOT / "build.py", "package"], check=True)
    archive = max((ROOT / "dist").glob("*.zip"), key=lambda path: path.stat().st_mtime)
    shutil.copy(archive, folder)
    shutil.copy(Path(__file__).with_name("drive.py"), folder)
    install = ("extension", "install-file", "-r", "user_default", "--enable", archive.name)
    assert "Installed" in blender("--command", *install, folder=folder)
    return folder


def drive(folder: Path, *arguments: str) -> dict[str, Any]:
    """Let drive.py click in Blender's window; returns its report."""
    (folder / "report.json").unlink(missing_ok=True)
    said = blender("--enable-event-simulate", "--python", "drive.py", "--", *arguments, folder=folder)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert "traceback" not in report, report["traceback"] + said
    return report


def red_share(path: Path) -> float:
    """The share of strongly red pixels in the middle of the window, away from buttons and axes."""
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.int16)
    height, width, _ = pixels.shape
    r, g, b = np.moveaxis(pixels[height // 6 : -height // 6, width // 10 : width // 2], -1, 0)
    return float(np.mean((r > 90) & (r > 2 * g) & (r > 2 * b)))


def test_without_pytorch_the_panel_says_what_to_do(workplace: Path) -> None:
    report = drive(workplace, "missing", "")
    assert "torch" in report["missing"]
    assert "install PyTorch" in report["error"]


@needs_torch
def test_click_generate_and_see_a_red_chair(workplace: Path) -> None:
    report = drive(workplace, "generate", PACKAGES)
    assert report["missing"] == []
    assert report["error"] == ""

    fractions = [fraction for *_, fraction in report["progress"]]
    assert fractions == sorted(fractions)
    assert {"base", "upsample", "mesh"} <= {stage for stage, *_ in report["progress"]}
    assert len(set(fractions)) > 10

    assert len(report["objects"]) == 2
    assert set(report["selected"]) == set(report["objects"])
    assert red_share(workplace / "done.png") > red_share(workplace / "ready.png") + 0.01

    assert report["after undo"] == 0
    assert report["after redo"] == 2
    assert report["left by cancel"] == []
    assert report["cancelled in"] < 5
    assert report["quit while running"]
