"""A batch with the models that ship inside: killed and gone on with, and as tasks of a farm in Blender."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pointe_blender import cli
from pointe_blender.pipeline import PointCloud, files
from tests.pipeline.farm import SAVED, command_line, submit
from tests.whole.test_readme import BLENDER, ROOT

QUICK = ("--steps", "2", "--resolution", "16", "--offline")
TABLE = """prompt,seed,count,format
a red chair,4,,ply
a red chair,3,,ply
a blue mug,,2,"npz,glb"
a green tree,,,ply
"""


def start(folder: Path, *command: str | Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT), "POINTE_MODELS": str(folder / "models")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def made(folder: Path) -> dict[str, bytes]:
    """Every file but the logs, which tell times."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("log")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_killed_and_gone_on_with_it_ends_with_the_same_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.csv").write_text(TABLE)
    command = ["--prompts", str(tmp_path / "p.csv"), *QUICK, "--output"]
    process = start(tmp_path, sys.executable, "-m", "pointe_blender", *command, tmp_path / "killed")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[2/"):  # the chairs are finished
            break
    process.kill()
    process.wait()
    assert cli.main([*command, str(tmp_path / "whole")]) == 0
    assert cli.main([*command, str(tmp_path / "killed")]) == 0
    assert ", 2 finished before, 0 failed" in capsys.readouterr().err.splitlines()[-1]
    names = [f"a-red-chair-seed{seed}.ply" for seed in (3, 4)] + ["a-green-tree.ply"]
    names += [f"a-blue-mug-{i}{ending}" for i in (1, 2) for ending in (".npz", ".glb")]
    assert sorted(made(tmp_path / "whole")) == sorted(names)
    assert made(tmp_path / "killed") == made(tmp_path / "whole")
    cloud = files.load(tmp_path / "whole" / "a-red-chair-seed3.ply")
    assert isinstance(cloud, PointCloud) and len(cloud) == 4096


def test_a_farms_command_lines_run_in_blender(tmp_path: Path) -> None:
    """Every argument as the job type makes it; a worker would find the pictures and show them."""
    pytest.importorskip("bpy")
    (tmp_path / "two prompts.txt").write_text("a red chair\na blue mug\n")
    (task,) = submit(
        prompts=str(tmp_path / "two prompts.txt"),
        output=str(tmp_path / "on the farm"),
        format="usd",
        options=" ".join((*QUICK, "--size 0.5")),
    )
    line = command_line(task, {"blender": "blender", "blenderArgs": "-b -y"})
    assert line[:5] == ["blender", "-b", "-y", "--command", "pointe"]
    worker = start(tmp_path, sys.executable, "-c", BLENDER, *line[5:])
    said, _ = worker.communicate()
    assert worker.returncode == 0, said
    pictures = [Path(match[1]) for line in said.splitlines() if (match := SAVED.search(line))]
    assert [path.name for path in pictures] == ["a-red-chair.png", "a-blue-mug.png"]
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.with_suffix(".usd").stat().st_size > 1000
    thing = imported(tmp_path / "on the farm" / "a-red-chair.usd")
    assert max(thing.dimensions) == pytest.approx(0.5, rel=1e-3)


def imported(path: Path):  # type: ignore[no-untyped-def]
    """The mesh object in a USD file."""
    import bpy

    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.usd_import(filepath=str(path))
    (thing,) = (thing for thing in bpy.context.scene.objects if thing.type == "MESH")
    return thing


def test_a_cloud_from_a_file_becomes_a_mesh_where_it_is(tmp_path: Path) -> None:
    assert cli.main(["a red mushroom", "-o", str(tmp_path / "m.npz"), *QUICK[:2]]) == 0
    cloud = files.load(tmp_path / "m.npz")
    assert isinstance(cloud, PointCloud)
    files.save(tmp_path / "scan.ply", cloud=PointCloud(cloud.points * 3 + 5, cloud.colors))
    assert (
        cli.main(["--cloud", str(tmp_path / "scan.ply"), "-o", str(tmp_path / "scan.obj"), *QUICK[2:]]) == 0
    )
    lines = [line.split() for line in (tmp_path / "scan.obj").read_text().splitlines()]
    heights = [float(line[2]) for line in lines if line[0] == "v"]
    assert len(heights) > 100 and 3.0 < min(heights) < max(heights) < 7.0


def test_the_models_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--verify", "starter"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "starter is whole"
