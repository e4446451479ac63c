"""The shell: good arguments become files, bad ones one sentence, exit code 2 and nothing written."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pointe_blender import cli, pipeline
from pointe_blender.pipeline import Mesh, PointCloud, Progress, Request, Result, files

ROOT = Path(__file__).resolve().parents[2]
CLOUD = PointCloud(np.eye(3, dtype=np.float32) / 2, np.eye(3, dtype=np.float32))
MESH = Mesh(CLOUD.points, np.array([[0, 1, 2]], dtype=np.int32), CLOUD.colors)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Stand in for the pipeline; what it was asked for."""
    asked: list[Request] = []

    def generate(request: Request, **_: object) -> Iterator[Progress]:
        pipeline.validate(request)
        asked.append(request)
        clouds, meshes = (CLOUD,) * request.count, (MESH,) * (request.count if request.wants_mesh else 0)
        yield Progress("base", 1, 2, 0.25, "cpu", CLOUD)
        result = Result(clouds, meshes, request.seed, request.models, "cpu", {"total": 1.5}, "a note")
        yield Progress("done", 1, 1, 1.0, "cpu", CLOUD, result)

    monkeypatch.setattr(pipeline, "generate", generate)
    return asked


@pytest.mark.parametrize("suffix", [".ply", ".npz", ".obj", ".glb"])
def test_a_prompt_becomes_a_file(
    tmp_path: Path, suffix: str, requests: list[Request], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"chair{suffix}"
    assert cli.main(["a red chair", "--output", str(path), "--seed", "3", "--steps", "8"]) == 0
    assert (requests[0].prompt, requests[0].seed, requests[0].steps) == ("a red chair", 3, 8)
    assert requests[0].wants_mesh == (suffix in cli.MESH_FILES)
    said = capsys.readouterr()
    assert said.out == f"{path}\n"
    assert "base" in said.err and "note: a note" in said.err and "seed 3" in said.err
    expected = tmp_path / f"expected{suffix}"
    files.save(expected, **({"mesh": MESH} if suffix in cli.MESH_FILES else {"cloud": CLOUD}))
    assert len(path.read_bytes()) > 100
    if suffix != ".glb":  # which carries its own name
        assert path.read_bytes() == expected.read_bytes()


def test_variants_are_numbered(
    tmp_path: Path, requests: list[Request], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["a red chair", "-o", str(tmp_path / "chair.ply"), "--count", "2"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chair-1.ply", "chair-2.ply"]
    assert capsys.readouterr().out.split() == [str(tmp_path / f"chair-{i}.ply") for i in (1, 2)]


def test_a_picture_becomes_a_request(tmp_path: Path, requests: list[Request]) -> None:
    Image.new("RGBA", (40, 30), (255, 0, 0, 255)).save(tmp_path / "chair.png")
    assert cli.main(["--image", str(tmp_path / "chair.png"), "-o", str(tmp_path / "chair.ply")]) == 0
    image = requests[0].image
    assert image is not None and image.shape == (30, 40, 4) and image.dtype == np.uint8


def test_cancelling_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def generate(request: Request, **_: object) -> Iterator[Progress]:
        yield Progress("base", 1, 2, 0.25)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "generate", generate)
    assert cli.main(["a red chair", "-o", str(tmp_path / "chair.ply")]) == 130
    assert "cancelled" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_models_are_listed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["--list-models", "--models-folder", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"starter", "official-text", "official-300M"} <= {line.split()[0] for line in lines}


BAD = {
    "nothing at all": [],
    "neither prompt nor picture": ["-o", "{}/a.ply"],
    "both prompt and picture": ["a red chair", "--image", "{}/small.png", "-o", "{}/a.ply"],
    "no output": ["a red chair"],
    "an empty prompt": ["  ", "-o", "{}/a.ply"],
    "a prompt of 10,000 characters": ["chair " * 1667, "-o", "{}/a.ply"],
    "control characters": ["a red\x07 chair", "-o", "{}/a.ply"],
    "a seed below 0": ["a red chair", "--seed", "-1", "-o", "{}/a.ply"],
    "a seed above 2³¹": ["a red chair", "--seed", str(2**31 + 1), "-o", "{}/a.ply"],
    "a seed in words": ["a red chair", "--seed", "three", "-o", "{}/a.ply"],
    "a resolution of 0": ["a red chair", "--resolution", "0", "-o", "{}/a.glb"],
    "no variants": ["a red chair", "--count", "0", "-o", "{}/a.ply"],
    "too many variants": ["a red chair", "--count", "1000000000", "-o", "{}/a.ply"],
    "no steps": ["a red chair", "--steps", "0", "-o", "{}/a.ply"],
    "a guidance that is no number": ["a red chair", "--guidance", "nan", "-o", "{}/a.ply"],
    "an unknown option": ["a red chair", "--colour", "red", "-o", "{}/a.ply"],
    "an unknown suffix": ["a red chair", "-o", "{}/a.xyz"],
    "no suffix": ["a red chair", "-o", "{}/a"],
    "a folder as output": ["a red chair", "-o", "{}/folder.ply"],
    "a folder that is missing": ["a red chair", "-o", "{}/missing/a.ply"],
    "a folder that is a file": ["a red chair", "-o", "{}/small.png/a.ply"],
    "a missing picture": ["--image", "{}/missing.png", "-o", "{}/a.ply"],
    "a corrupt picture": ["--image", "{}/corrupt.png", "-o", "{}/a.ply"],
    "a picture that is text": ["--image", "{}/text.png", "-o", "{}/a.ply"],
    "a picture of one pixel": ["--image", "{}/small.png", "-o", "{}/a.ply"],
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_sentence(
    tmp_path: Path, arguments: list[str], requests: list[Request], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.ply").mkdir()
    (tmp_path / "text.png").write_text("not a picture")
    Image.new("RGB", (1, 1)).save(tmp_path / "small.png")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "corrupt.png")
    whole = (tmp_path / "corrupt.png").read_bytes()
    (tmp_path / "corrupt.png").write_bytes(whole[: len(whole) // 2])
    before = sorted(tmp_path.rglob("*"))

    assert cli.main([argument.replace("{}", str(tmp_path)) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("pointe_blender: ") and said.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert not requests  # refused before anything was computed


def test_a_read_only_folder_is_refused(
    tmp_path: Path,
    requests: list[Request],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**_: object) -> None:  # root may write into any folder, so permissions alone would not show it
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cli.tempfile, "TemporaryFile", refuse)
    assert cli.main(["a red chair", "-o", str(tmp_path / "a.ply")]) == 2
    assert "Permission denied" in capsys.readouterr().err
    assert not requests and not list(tmp_path.iterdir())


def test_a_full_disk_is_one_sentence(
    tmp_path: Path,
    requests: list[Request],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    assert cli.main(["a red chair", "-o", str(tmp_path / "a.ply")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("pointe_blender: The disk is full")
    assert not list(tmp_path.iterdir())


def test_without_torch_the_sentence_names_it(tmp_path: Path) -> None:
    program = "import sys; sys.modules['torch'] = None; from pointe_blender import cli; "
    program += "sys.exit(cli.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "a red chair", "-o", str(tmp_path / "a.ply")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("pointe_blender: ") and "torch" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help_needs_no_pipeline() -> None:
    program = "import sys, pointe_blender.cli as cli; cli.main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "--output" in done.stdout
