"""From "a red chair" to a scene, a cloud, a mesh and a picture, as `build.py run` makes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from PIL import Image

from pointe_blender import showcase
from pointe_blender.pipeline import Request, files, generate

ROOT = Path(showcase.__file__).resolve().parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the showcase."""
    command = [sys.executable, "-m", "pointe_blender.showcase", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("made") / "out"
    return folder, run("a red chair", "--output-folder", str(folder))


def red(pixels: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 to (...) bool."""
    r, g, b = np.moveaxis(pixels.astype(int), -1, 0)
    return (r > 60) & (r > 2 * np.maximum(g, b))


def test_it_says_what_it_does(made: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = made
    assert done.returncode == 0, done.stderr
    paths = [str(folder / f"a-red-chair{suffix}") for suffix in (".ply", ".glb", ".blend", ".png")]
    assert [line for line in done.stdout.splitlines() if line in paths] == paths
    assert sorted(map(str, folder.iterdir())) == sorted(paths)
    for word in ("base", "upsample", "mesh", "on c", "seed 0", " s\n"):
        assert word in done.stderr


def test_the_render_shows_a_red_cloud_and_a_red_mesh(
    made: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    pixels = np.asarray(Image.open(made[0] / "a-red-chair.png").convert("RGB"))
    height, width = pixels.shape[:2]
    halves = red(pixels[:, : width // 2]), red(pixels[:, width // 2 :])
    for half in halves:
        assert 0.02 < half.mean() < 0.5
        rows = np.flatnonzero(half.any(axis=1))
        assert rows[-1] - rows[0] > 0.5 * height  # tall in the picture, and not cut off by it
        assert rows[0] > 0 and rows[-1] < height - 1
    assert halves[1].mean() > 0.7 * halves[0].mean()
    ground = pixels[-height // 20 :].reshape(-1, 3).astype(int)
    assert np.ptp(ground, axis=1).max() < 40  # neutral


def test_the_cloud_is_the_pipelines(made: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    cloud = files.load(made[0] / "a-red-chair.ply")
    *_, last = generate(Request(prompt="a red chair", output="cloud"))
    expected = last.result.clouds[0]
    np.testing.assert_allclose(cloud.points, expected.points, atol=1e-6)
    assert np.abs(cloud.colors - expected.colors).max() < 1.01 / 255
    assert len(cloud) >= 2048
    assert red((cloud.colors * 255).astype(np.uint8)).mean() > 0.8


def test_the_scene_opens_with_what_was_made(
    made: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    bpy.ops.wm.open_mainfile(filepath=str(made[0] / "a-red-chair.blend"))
    chairs = [thing for thing in bpy.data.objects if thing.name.startswith("a red chair")]
    assert len(chairs) == 2
    assert all("a red chair" in [str(value) for value in thing.values()] for thing in chairs)
    assert bpy.context.scene.camera is not None


def test_the_mesh_file_keeps_colours_for_other_programs(
    made: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(made[0] / "a-red-chair.glb"))
    (mesh,) = [thing.data for thing in bpy.data.objects if thing.type == "MESH"]
    colors = mesh.color_attributes[0]
    values = np.empty(len(colors.data) * 4, dtype=np.float32)
    colors.data.foreach_get("color", values)
    r, g, b, _ = values.reshape(-1, 4).T
    assert (r > 2 * np.maximum(g, b)).mean() > 0.8
    positions = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.vertices.foreach_get("co", positions)
    assert np.abs(positions).max() < 0.52  # where it was made, not where the picture has it


@pytest.mark.parametrize(
    "arguments",
    [[], [" "], ["a red chair", "--seed", "-1"], ["--image", "missing.png"], ["a\x07chair"]],
    ids=["nothing", "empty", "seed", "picture", "control"],
)
def test_bad_input_is_refused_in_one_sentence(arguments: list[str], tmp_path: Path) -> None:
    done = run(*arguments, "--output-folder", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.startswith("build.py run: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
