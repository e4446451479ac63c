"""Pictures by Blender in the eyes of CLIP: the table says what can be computed from the files by hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pointe_blender import cli
from pointe_blender.pipeline import Mesh, PointCloud, files
from pointe_blender.pipeline.conditioning import Clip
from pointe_blender.pipeline.metrics.pictures import psnr
from pointe_blender.pipeline.sampling import sample_surface
from pointe_blender.pipeline.weights import default_folders
from pointe_blender.shell import views
from tests.whole.test_readme import BLENDER, ROOT

COLORS = {"red": (0.8, 0.1, 0.1), "blue": (0.1, 0.2, 0.8)}
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32) - 0.5
SIDES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
TRIANGLES = np.array([t for a, b, c, d in SIDES for t in ((a, b, c), (a, c, d))], np.int32)
METRICS = ("--metrics", "r-precision,psnr", "--views", "1", "--device", "cpu")


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    """A red and a blue block, of the blue one a cloud, too, and what they were made from."""
    folder = tmp_path / "houses"
    folder.mkdir()
    for name, color in COLORS.items():
        block = Mesh(CORNERS * (1.0, 1.0, 0.7), TRIANGLES, np.tile(np.float32(color), (8, 1)))
        files.save(folder / f"{name}.glb", mesh=block)
    points, _, _ = sample_surface(block.vertices, TRIANGLES, 4096, np.random.default_rng(0))
    files.save(folder / "blue.npz", cloud=PointCloud(points, np.tile(block.colors[0], (4096, 1))))
    lines = [json.dumps({"prompt": f"a {name} house", "name": name}) for name in COLORS]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    return folder


def evaluate(folder: Path) -> dict[str, Any]:
    prompts = str(folder.parent / "prompts.jsonl")
    assert cli.main(["evaluate", str(folder), *METRICS, "--prompts", prompts]) == 0
    return dict(json.loads((folder / "evaluation" / "evaluation.json").read_text(encoding="utf-8")))


def test_pictures_are_made_once_and_judged(houses: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = evaluate(houses)
    pictures = {path.name: np.asarray(Image.open(path)) for path in houses.rglob("*.png")}
    lit = {name: picture for name, picture in pictures.items() if "unlit" not in name}
    unlit = [picture for name, picture in pictures.items() if "unlit" in name]
    assert len(lit) == 2 and len(unlit) == 2
    assert all(picture.shape == (512, 512, 3) for picture in pictures.values())

    clip = Clip.load("starter-clip", "cpu", default_folders())
    prompts = [f"a {name} house" for name in COLORS]
    cosines = clip.image(list(lit.values())) @ clip.text(prompts).T
    is_blue = [int(picture[..., 2].min() > picture[..., 0].min()) for picture in lit.values()]
    hits = [int(row.argmax()) == own for row, own in zip(cosines, is_blue, strict=True)]
    assert table["metrics"]["r-precision"]["value"] == 50.0 * sum(hits)
    assert table["metrics"]["psnr"]["value"] == pytest.approx(psnr(*unlit), rel=1e-6)
    assert table["metrics"]["psnr"]["value"] > 12 and table["metrics"]["psnr"]["count"] == 1

    # Where there is no Blender, the pictures that are there do.
    shutil.rmtree(houses / "evaluation" / ".kept")
    monkeypatch.setattr(views, "find_spec", lambda name: None if name == "bpy" else name)
    assert evaluate(houses) == table


def test_in_blender_standard_output_holds_the_table_alone(houses: Path) -> None:
    options = ["--metrics", "psnr,closed", "--views", "1", "--offline"]
    done = subprocess.run(
        [sys.executable, "-c", BLENDER, "evaluate", str(houses), *options],
        cwd=houses.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (houses / "evaluation" / "evaluation.md").read_text(encoding="utf-8")
