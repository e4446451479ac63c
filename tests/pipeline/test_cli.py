"""The shell: good arguments become files, bad ones one sentence, exit code 2 and nothing written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pointe_blender import cli, pipeline
from pointe_blender.pipeline import PointCloud, Progress, Request, Result, files
from pointe_blender.pipeline.models import INSTALLABLE
from pointe_blender.pipeline.weights import Folders
from pointe_blender.shell import clouds
from tests.pipeline.shell import Pipeline

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """In place of the networks."""
    pipe = Pipeline()
    monkeypatch.setattr(pipeline, "generate", pipe)
    return pipe


@pytest.fixture
def requests(stand_in: Pipeline) -> list[Request]:
    """What the pipeline was asked for."""
    return stand_in.requests


@pytest.mark.parametrize("suffix", [".ply", ".npz", ".obj", ".glb"])
def test_a_prompt_becomes_a_file(
    tmp_path: Path, suffix: str, requests: list[Request], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"chair{suffix}"
    assert cli.main(["a red chair", "--output", str(path), "--seed", "3", "--steps", "8"]) == 0
    assert (requests[0].prompt, requests[0].seed, requests[0].steps) == ("a red chair", 3, 8)
    assert requests[0].quality == "fast"
    assert requests[0].output == ("mesh" if suffix in (".glb", ".obj") else "cloud")
    said = capsys.readouterr()
    assert said.out == f"{path}\n"
    assert "base" in said.err and "note: a note" in said.err and "seed 3" in said.err
    (tmp_path / "expected").mkdir()
    cloud = Pipeline.cloud(requests[0], 3)
    kind = {"mesh": Pipeline.mesh(cloud)} if requests[0].wants_mesh else {"cloud": cloud}
    files.save(tmp_path / "expected" / path.name, **kind)
    assert path.read_bytes() == (tmp_path / "expected" / path.name).read_bytes()


def test_variants_are_numbered(
    tmp_path: Path, requests: list[Request], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["a red chair", "-o", str(tmp_path / "chair.ply"), "--count", "2"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chair-1.ply", "chair-2.ply"]
    assert capsys.readouterr().out.split() == [str(tmp_path / f"chair-{i}.ply") for i in (1, 2)]


@pytest.mark.parametrize("written", ["fast", "high", "exact", "Exact"])
def test_the_quality_can_be_chosen(tmp_path: Path, requests: list[Request], written: str) -> None:
    assert cli.main(["a mug", "-o", str(tmp_path / "mug.ply"), "--quality", written]) == 0
    assert requests[0].quality == written.lower()


def test_several_formats_come_from_one_run(
    tmp_path: Path, requests: list[Request], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--format", "ply, GLB,.npz,ply", "--count", "2", "--previews"]
    assert cli.main(["a red chair", "-o", str(tmp_path / "chair"), *options]) == 0
    assert len(requests) == 1 and requests[0].output == "both"
    names = [f"chair-{i}{ending}" for i in (1, 2) for ending in (".ply", ".glb", ".npz", ".png")]
    assert [path.name for path in sorted(tmp_path.iterdir())] == sorted(names)
    said = [line.removeprefix("Saved: ").strip("'") for line in capsys.readouterr().out.splitlines()]
    assert said == [str(tmp_path / name) for name in names]
    first, best = files.load(tmp_path / "chair-1.npz"), Pipeline.cloud(requests[0], 1)
    assert isinstance(first, PointCloud) and np.array_equal(first.points, best.points)


def test_a_picture_is_cropped_unless_told_not_to(tmp_path: Path, requests: list[Request]) -> None:
    picture = Image.new("RGBA", (90, 60), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (10, 10, 30, 50))
    picture.save(tmp_path / "chair.png")
    arguments = ["--image", str(tmp_path / "chair.png"), "-o", str(tmp_path / "chair.ply")]
    assert cli.main(arguments) == 0 and cli.main([*arguments, "--no-crop"]) == 0
    framed, whole = (request.image for request in requests)
    assert framed is not None and framed.shape[0] == framed.shape[1] and framed.shape[2] == 3
    red = (framed == (255, 0, 0)).all(axis=2)
    assert red.any() and red.any(axis=0).argmax() + red[:, ::-1].any(axis=0).argmax() > 0
    assert np.array_equal(whole, np.asarray(picture))


@pytest.mark.parametrize("scale", [1.0, 3.0, 0.01])
def test_a_cloud_becomes_a_mesh_where_it_is(tmp_path: Path, requests: list[Request], scale: float) -> None:
    points = np.random.default_rng(0).random((500, 3), dtype=np.float32) - 0.5
    given = PointCloud(points * scale + np.float32(scale != 1.0), np.full((500, 3), 0.5, np.float32))
    files.save(tmp_path / "scan.ply", cloud=given)
    assert cli.main(["--cloud", str(tmp_path / "scan.ply"), "-o", str(tmp_path / "scan.obj")]) == 0
    cloud = requests[0].cloud
    assert cloud is not None and np.abs(cloud.points).max() <= 0.5
    assert scale != 1.0 or np.array_equal(cloud.points, given.points)
    lines = (line.split() for line in (tmp_path / "scan.obj").read_text().splitlines())
    vertices = np.array([line[1:4] for line in lines if line[0] == "v"], float)
    assert np.allclose(vertices[:, [0, 2]] * (1, -1), given.points[:, :2], atol=1e-6)  # y is up there


def test_a_cloud_gets_more_points(tmp_path: Path, requests: list[Request]) -> None:
    files.save(tmp_path / "few.npz", cloud=Pipeline.cloud(Request(prompt="a mug"), 0))
    options = ["--points", "8192", "-o", str(tmp_path / "many.ply")]
    assert cli.main(["--cloud", str(tmp_path / "few.npz"), *options]) == 0
    assert (requests[0].output, requests[0].points) == ("cloud", 8192)


@pytest.mark.parametrize("suffix", [".ply", ".npz", ".obj", ".glb"])
def test_a_mesh_is_taken_for_points_on_its_surface(
    tmp_path: Path, requests: list[Request], suffix: str
) -> None:
    mesh = Pipeline.mesh(Pipeline.cloud(Request(prompt="a mug"), 0))
    files.save(tmp_path / f"mesh{suffix}", mesh=mesh)
    assert cli.main(["--cloud", str(tmp_path / f"mesh{suffix}"), "-o", str(tmp_path / "again.glb")]) == 0
    cloud = requests[0].cloud
    assert cloud is not None and len(cloud) == 4096
    assert np.allclose(cloud.points, clouds.on_surface(mesh).points, atol=1e-5)  # z is up in all of them


def test_the_finish_is_blenders(tmp_path: Path, requests: list[Request]) -> None:
    """What the extension passes is called with one variant at a time, the options and the paths."""
    calls: list[object] = []

    class Finisher:
        def check(self, finish: Mapping[str, Any], endings: Sequence[str]) -> None:
            calls.append((dict(finish), endings))

        def finish_and_export(
            self, result: Result, request: Request, finish: Mapping[str, Any], paths: Sequence[Path]
        ) -> None:
            calls.append((result.seeds, request.seed, dict(finish), [path.name for path in paths]))
            for path in paths:
                path.write_text("exported")
            paths[0].with_name("texture.png").write_text("beside it")

    options = ["--size", "2", "--origin", "center", "--faces", "500", "--count", "2"]
    arguments = ["a red chair", "-o", str(tmp_path / "chair"), "--format", "usd,npz,glb", *options]
    assert cli.main(arguments, finisher=Finisher()) == 0
    finish = {"size": 2.0, "origin": "CENTER", "faces": 500}
    assert calls == [
        (finish, [".usd", ".glb"]),
        ((1,), 1, finish, ["chair-1.usd", "chair-1.glb"]),
        ((0,), 0, finish, ["chair-2.usd", "chair-2.glb"]),
    ]
    assert (tmp_path / "texture.png").exists() and (tmp_path / "chair-2.npz").exists()


def test_interrupted_by_blenders_own_handler_it_still_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blender leaves Python without a handler, and Ctrl-C would do nothing."""
    set_by_us: list[object] = []
    monkeypatch.setattr(cli.signal, "getsignal", lambda _: None)
    monkeypatch.setattr(cli.signal, "signal", lambda number, handler: set_by_us.append((number, handler)))
    cli.main(["--help"])
    assert set_by_us == [(signal.SIGINT, signal.default_int_handler)]


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
    assert cli.main(["--list-models"], Folders(tmp_path)) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines.keys() == INSTALLABLE.keys()
    assert "text or image" in lines["starter"] and "inside the extension" in lines["starter"]
    assert "not installed" in lines["official-text"]
    assert "not installed, 23 MB to download" in lines["pointnet"]


def test_a_model_set_is_installed_or_one_sentence_says_why_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["--install", "starter"], Folders(tmp_path)) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "starter is installed"
    assert cli.main(["--verify", "official-text"], Folders(tmp_path)) == cli.REFUSED
    assert "--install official-text" in capsys.readouterr().err
    assert cli.main(["--install", "official-text", "--offline"], Folders(tmp_path)) == cli.REFUSED
    assert "online" in capsys.readouterr().err
    assert cli.main(["--install", "best"], Folders(tmp_path)) == cli.REFUSED
    assert "'best'" in capsys.readouterr().err


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
    "a quality there is not": ["a red chair", "--quality", "best", "-o", "{}/a.ply"],
    "a guidance that is no number": ["a red chair", "--guidance", "nan", "-o", "{}/a.ply"],
    "an unknown option": ["a red chair", "--colour", "red", "-o", "{}/a.ply"],
    "an unknown suffix": ["a red chair", "-o", "{}/a.xyz"],
    "no suffix": ["a red chair", "-o", "{}/a"],
    "a folder as output": ["a red chair", "-o", "{}/folder.ply"],
    "a folder that is missing": ["a red chair", "-o", "{}/missing/a.ply"],
    "a folder that is a file": ["a red chair", "-o", "{}/small.png/a.ply"],
    "a format twice": ["a red chair", "--format", "glb", "-o", "{}/a.glb"],
    "an unknown format": ["a red chair", "--format", "glb,stl", "-o", "{}/a"],
    "no format": ["a red chair", "--format", ",", "-o", "{}/a"],
    "a format of Blender's": ["a red chair", "-o", "{}/a.usd"],
    "a finish of Blender's": ["a red chair", "-o", "{}/a.glb", "--size", "2"],
    "a size of nothing": ["a red chair", "-o", "{}/a.glb", "--size", "0"],
    "a size that is no number": ["a red chair", "-o", "{}/a.glb", "--size", "nan"],
    "a shading there is not": ["a red chair", "-o", "{}/a.glb", "--shading", "toon"],
    "too few points": ["a red chair", "-o", "{}/a.ply", "--points", "100"],
    "a missing cloud": ["--cloud", "{}/missing.ply", "-o", "{}/a.glb"],
    "a cloud that is a picture": ["--cloud", "{}/small.png", "-o", "{}/a.glb"],
    "a cloud of one point": ["--cloud", "{}/point.ply", "-o", "{}/a.glb"],
    "variants of a cloud": ["--cloud", "{}/cloud.ply", "-o", "{}/a.glb", "--count", "2"],
    "a cloud as a cloud": ["--cloud", "{}/cloud.ply", "-o", "{}/a.ply"],
    "a share of one": ["a red chair", "-o", "{}/a.ply", "--shard", "1/2"],
    "prompts without a folder": ["--prompts", "{}/p.txt"],
    "prompts and a prompt": ["a red chair", "--prompts", "{}/p.txt", "-o", "{}/out"],
    "prompts that are missing": ["--prompts", "{}/missing.txt", "-o", "{}/out"],
    "prompts of no kind": ["--prompts", "{}/text.png", "-o", "{}/out"],
    "prompts for a share of nothing": ["--prompts", "{}/p.txt", "-o", "{}/out", "--shard", "3/2"],
    "prompts for Blender": ["--prompts", "{}/p.txt", "-o", "{}/out", "--format", "usd"],
    "prompts into a file": ["--prompts", "{}/p.txt", "-o", "{}/text.png"],
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
    (tmp_path / "p.txt").write_text("a red chair")
    point = PointCloud(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32))
    files.save(tmp_path / "point.ply", cloud=point)
    files.save(tmp_path / "cloud.ply", cloud=Pipeline.cloud(Request(prompt="a mug"), 0))
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

    monkeypatch.setattr(os, "replace", full)
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
