"""A batch ends with the same files, whatever happens on the way: kills, failures, shares, full disks."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pointe_blender import cli, pipeline
from pointe_blender.pipeline import InvalidRequest, PointCloud, files
from pointe_blender.pipeline.request import QUALITIES
from pointe_blender.shell import items, prompts, shards
from pointe_blender.shell.items import Item
from pointe_blender.shell.outputs import Style
from pointe_blender.shell.shards import Shard
from tests.pipeline.shell import Pipeline

SHELL = Path(__file__).with_name("shell.py")
TABLE = """prompt,seed,format
a red chair,,ply
a mug,3,"ply,glb"
a lamp,1,glb
a lamp,2,glb
a lamp,3,glb
a table,,obj
"""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """In place of the networks."""
    pipe = Pipeline()
    monkeypatch.setattr(pipeline, "generate", pipe)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    return pipe


Batch = Callable[..., int]


@pytest.fixture
def batch(tmp_path: Path, stand_in: Pipeline) -> Batch:
    """Run lines of a table, or of text, into tmp_path/out."""

    def run(content: str, *options: str, suffix: str = ".csv") -> int:
        path = tmp_path / f"prompts{suffix}"
        path.write_text(content, encoding="utf-8")
        return cli.main(["--prompts", str(path), "--output", str(tmp_path / "out"), *options])

    return run


def made(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the logs, which tell times."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("log")
    }


def log(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for path in sorted(folder.glob("log*.jsonl")) for line in path.open(encoding="utf-8")
    ]


def test_each_line_becomes_files_and_a_line_of_log(
    tmp_path: Path, batch: Batch, stand_in: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(TABLE) == 0
    out = tmp_path / "out"
    names = ["a-lamp-seed1.glb", "a-lamp-seed2.glb", "a-lamp-seed3.glb"]
    names += ["a-mug-seed3.glb", "a-mug-seed3.ply", "a-red-chair.ply", "a-table.obj"]
    assert sorted(made(out)) == names
    said = capsys.readouterr()
    assert sorted(said.out.split()) == [str(out / name) for name in names]
    assert said.err.splitlines()[-1].startswith("6 done in ")
    assert said.err.splitlines()[-1].endswith(" each, 0 finished before, 0 failed")
    entries = log(out)
    assert [entry["line"] for entry in entries] == [2, 3, 4, 5, 6, 7]
    assert entries[1] | {"time": "", "digest": "", "seconds": 0, "files": []} == {
        **{"time": "", "line": 3, "name": "a-mug-seed3", "state": "done", "prompt": "a mug", "count": 1},
        **{"models": "starter", "seed": 3, "digest": "", "device": "cpu", "seconds": 0, "notice": "a note"},
        **{"seeds": [3], "quality": "fast", "files": []},
    }
    assert [file["name"] for file in entries[1]["files"]] == ["a-mug-seed3.ply", "a-mug-seed3.glb"]
    request = stand_in.requests[1]
    cloud, mesh = files.load(out / "a-mug-seed3.ply"), stand_in.mesh(stand_in.cloud(request, 3))
    assert isinstance(cloud, PointCloud) and np.array_equal(cloud.points, stand_in.cloud(request, 3).points)
    files.save(tmp_path / "a-mug-seed3.glb", mesh=mesh)
    assert (out / "a-mug-seed3.glb").read_bytes() == (tmp_path / "a-mug-seed3.glb").read_bytes()


def test_neighbouring_seeds_are_made_in_one_run(tmp_path: Path, batch: Batch, stand_in: Pipeline) -> None:
    assert batch(TABLE) == 0
    assert [(request.prompt, request.seed, request.count) for request in stand_in.requests] == [
        ("a red chair", 0, 1),
        ("a mug", 3, 1),
        ("a lamp", 1, 3),
        ("a table", 0, 1),
    ]
    assert cli.main(["a lamp", "--seed", "2", "-o", str(tmp_path / "a-lamp-seed2.glb")]) == 0
    alone = (tmp_path / "a-lamp-seed2.glb").read_bytes()
    assert made(tmp_path / "out")["a-lamp-seed2.glb"] == alone


def test_no_run_is_larger_than_eight(tmp_path: Path, batch: Batch, stand_in: Pipeline) -> None:
    assert batch("prompt,seed\n" + "".join(f"a lamp,{seed}\n" for seed in range(20)), "--format", "ply") == 0
    assert [(request.seed, request.count) for request in stand_in.requests] == [(0, 8), (8, 8), (16, 4)]
    assert len(made(tmp_path / "out")) == 20


def test_each_model_set_has_its_turn(tmp_path: Path, batch: Batch, stand_in: Pipeline) -> None:
    lines = [f"{what},{models}\n" for what in ("a mug", "a lamp") for models in ("cap3d-text", "starter")]
    assert batch("prompt,models,name\n" + "".join(line[:-1] + f",{i}\n" for i, line in enumerate(lines))) == 0
    asked = [(request.prompt, request.models) for request in stand_in.requests]
    assert asked == [(what, models) for models in ("cap3d-text", "starter") for what in ("a mug", "a lamp")]


def test_variants_are_numbered_best_first(tmp_path: Path, batch: Batch, stand_in: Pipeline) -> None:
    assert batch("a mug\n", "--count", "3", "--format", "ply", suffix=".txt") == 0
    best = files.load(tmp_path / "out" / "a-mug-1.ply")
    expected = stand_in.cloud(stand_in.requests[0], 2)
    assert isinstance(best, PointCloud) and np.array_equal(best.points, expected.points)
    (entry,) = log(tmp_path / "out")
    assert entry["seeds"] == [2, 1, 0] and entry["scores"] == pytest.approx([0.27, 0.26, 0.25])


def test_what_is_finished_is_not_made_again(
    tmp_path: Path, batch: Batch, stand_in: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(TABLE) == 0
    out = tmp_path / "out"
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    stand_in.requests.clear()
    # Lines may move and change their order, and others may come.
    head, *lines = TABLE.splitlines(keepends=True)
    assert batch(head + "\n\n" + "".join(reversed(lines)) + "a car,,ply\n") == 0
    assert [request.prompt for request in stand_in.requests] == ["a car"]
    assert {
        path: path.stat().st_mtime_ns for path in before if path.name != "log.jsonl"
    }.items() <= before.items()
    assert "1 done" in capsys.readouterr().err.splitlines()[-1]


def test_a_changed_line_is_made_again(tmp_path: Path, batch: Batch, stand_in: Pipeline) -> None:
    assert batch("prompt,name,seed\na mug,1,1\na lamp,2,1\n", "--format", "ply") == 0
    first = made(tmp_path / "out")
    stand_in.requests.clear()
    assert batch("prompt,name,seed\na mug,1,1\na lamp,2,7\n", "--format", "ply") == 0
    assert [request.seed for request in stand_in.requests] == [7]
    assert made(tmp_path / "out")["1.ply"] == first["1.ply"]
    assert made(tmp_path / "out")["2.ply"] != first["2.ply"]
    # Back to what it was: the log knows it, the file is another one.
    assert batch("prompt,name,seed\na mug,1,1\na lamp,2,1\n", "--format", "ply") == 0
    assert made(tmp_path / "out") == first


def test_each_line_has_its_quality_or_that_of_the_command(
    tmp_path: Path, batch: Batch, stand_in: Pipeline
) -> None:
    table = "prompt,seed,quality\na mug,1,\na mug,2,\na mug,3,exact\na mug,4,Fast\n"
    assert batch(table, "--quality", "high", "--format", "ply") == 0
    asked = [(request.quality, request.seed, request.count) for request in stand_in.requests]
    assert asked == [("high", 1, 2), ("exact", 3, 1), ("fast", 4, 1)]
    assert [entry["quality"] for entry in log(tmp_path / "out")] == ["high", "high", "exact", "fast"]
    assert batch(table, "--quality", "fast", "--format", "ply") == 0, "two lines are others now"
    assert [request.quality for request in stand_in.requests[3:]] == ["fast"]


def test_what_was_made_before_there_were_qualities_is_finished_as_exact() -> None:
    before = "e6f88a5f0702b5b859e3e2ac5e86d848b1b859a81a71d2066ffdc5be5b8218ab"
    item = Item(prompt="a mug", seed=3)
    assert items.digest(replace(item, quality="exact"), items.Manner()) == before
    assert len({items.digest(replace(item, quality=name), items.Manner()) for name in QUALITIES}) == 3


def test_a_changed_picture_is_made_again(tmp_path: Path, batch: Batch, stand_in: Pipeline) -> None:
    for color, runs in (("red", 1), ("red", 1), ("blue", 2)):
        Image.new("RGB", (32, 32), color).save(tmp_path / "chair.png")
        assert batch("image\nchair.png\n") == 0
        assert len(stand_in.requests) == runs
    assert stand_in.requests[0].image is not None and stand_in.requests[0].prompt is None


@pytest.mark.parametrize("harm", ["gone", "cut", "changed"])
def test_a_file_that_is_not_whole_is_made_again(
    tmp_path: Path, batch: Batch, stand_in: Pipeline, harm: str
) -> None:
    assert batch(TABLE) == 0
    first = made(tmp_path / "out")
    path = tmp_path / "out" / "a-lamp-seed2.glb"
    data = path.read_bytes()
    match harm:
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(data[:100])
        case "changed":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    stand_in.requests.clear()
    assert batch(TABLE) == 0
    assert [request.prompt for request in stand_in.requests] == ["a lamp"]
    assert made(tmp_path / "out") == first


def test_a_line_of_log_that_was_cut_is_made_again(tmp_path: Path, batch: Batch, stand_in: Pipeline) -> None:
    assert batch(TABLE) == 0
    path = tmp_path / "out" / "log.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    stand_in.requests.clear()
    assert batch(TABLE) == 0
    assert [request.prompt for request in stand_in.requests] == ["a table"]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 7 and json.loads(lines[-1])["name"] == "a-table"
    assert batch(TABLE) == 0 and len(stand_in.requests) == 1


def test_what_fails_stops_nothing_else(
    tmp_path: Path, batch: Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "a mug\na ghost\na bug\n\na lamp\nch\x07air\n"
    assert batch(lines, "--format", "ply", suffix=".txt") == 1
    assert sorted(made(tmp_path / "out")) == ["a-lamp.ply", "a-mug.ply"]
    said = capsys.readouterr().err
    assert said.splitlines()[0].startswith("line 6: The prompt contains control characters: ")
    assert "line 2: There is no surface: try another seed." in said
    assert "line 3: Something unexpected went wrong (RuntimeError: something is broken)" in said
    assert said.splitlines()[-1].endswith("0 finished before, 3 failed")
    failed = [(entry["line"], entry["name"]) for entry in log(tmp_path / "out") if entry["state"] == "failed"]
    assert failed == [(6, ""), (2, "a-ghost"), (3, "a-bug")]
    # Only what failed is tried again.
    assert batch(lines.replace("ghost", "host"), "--format", "ply", suffix=".txt") == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("1 done in ")


def test_what_fails_in_a_common_run_is_made_alone(tmp_path: Path, batch: Batch, stand_in: Pipeline) -> None:
    assert batch("prompt,seed\na mug,12\na mug,13\na mug,14\n", "--format", "ply") == 0
    assert [(request.seed, request.count) for request in stand_in.requests] == [
        *((12, 3), (12, 1), (13, 1), (14, 1))
    ]
    assert len(made(tmp_path / "out")) == 3


def test_pictures_are_announced_as_blender_does(
    tmp_path: Path, batch: Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch("a mug\n", "--previews", "--format", "npz", suffix=".txt") == 0
    out = tmp_path / "out"
    assert capsys.readouterr().out.splitlines() == [f"{out / 'a-mug.npz'}", f"Saved: '{out / 'a-mug.png'}'"]
    with Image.open(out / "a-mug.png") as picture:
        assert picture.size == (256, 256) and len(picture.convert("RGB").getcolors(70000) or ()) > 100
    (out / "a-mug.png").unlink()
    assert batch("a mug\n", "--previews", "--format", "npz", suffix=".txt") == 0
    assert (out / "a-mug.png").exists()


def test_a_reader_that_has_heard_enough_ends_the_batch(tmp_path: Path) -> None:
    """`... | head -1`; and what an old code page lacks is no reason to fail."""
    (tmp_path / "p.txt").write_text("椅子\na mug\na lamp\n", encoding="utf-8")
    process = run_shell(
        *("--prompts", tmp_path / "p.txt", "--output", tmp_path / "out"), pace=0.1, PYTHONIOENCODING="ascii"
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().endswith("\\u6905\\u5b50.glb\n")
    process.stdout.close()
    assert process.wait(10) == cli.REFUSED
    assert "Traceback" not in process.stderr.read()
    assert len(made(tmp_path / "out")) == 2 and len(log(tmp_path / "out")) == 2


def test_names_and_prompts_of_every_script_are_known_again(
    tmp_path: Path, batch: Batch, stand_in: Pipeline
) -> None:
    prompts = "椅子\nкрасный стул\nein\u2028Stuhl\n"
    for _ in range(2):
        assert batch(prompts, suffix=".txt") == 0
    assert len(stand_in.requests) == 3
    assert sorted(made(tmp_path / "out")) == ["ein-stuhl.glb", "красный-стул.glb", "椅子.glb"]


def run_shell(
    *arguments: str | Path, pace: float = 0.0, preexec_fn: Callable[[], None] | None = None, **variables: str
) -> subprocess.Popen[str]:
    """The command in a process of its own, with environment variables."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return subprocess.Popen(
        [sys.executable, str(SHELL), *map(str, arguments)],
        env=environment | {"POINTE_PACE": str(pace)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=preexec_fn,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes take too long to start without fork")
def test_kills_leave_no_trace(tmp_path: Path, batch: Batch, stand_in: Pipeline) -> None:
    """Killed at any moment and started again it ends with the same files, byte for byte."""
    table = TABLE + "a big one,,obj\na big one,5,npz\n"
    assert batch(table, "--previews") == 0
    undisturbed = made(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    stand_in.pace = lambda: time.sleep(0.002)
    draws, kills, seen = random.Random(7), 0, set[str]()
    while True:
        pid = os.fork()
        if pid == 0:
            os._exit(batch(table, "--previews"))
        time.sleep(draws.uniform(0.01, 0.05 + 0.01 * kills))  # so that it comes to an end on any machine
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            break
        kills += 1
        seen |= {path.name for path in (tmp_path / "out").glob("*")}
    assert os.WEXITSTATUS(status) == 0
    assert kills >= 5 and any(name.endswith(".part") for name in seen)  # it was hit while writing
    assert made(tmp_path / "out") == undisturbed
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("survived", range(5))
def test_a_kill_between_two_moves_leaves_nothing(
    tmp_path: Path, batch: Batch, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    """There are four files to move into place; the dead clean up nothing."""
    run = ("a mug\n", "--format", "ply,glb,obj", "--previews")
    assert batch(*run, suffix=".txt") == 0
    whole = made(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    moves: list[Path] = []

    def replace(source: Path, target: Path) -> None:
        if target.parent == tmp_path / "out":
            if len(moves) == survived:
                patch.setattr(shutil, "rmtree", lambda *_, **__: None)
                raise KeyboardInterrupt
            moves.append(target)
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        assert batch(*run, suffix=".txt") == (cli.CANCELLED if survived < 4 else cli.DONE)
    assert len(log(tmp_path / "out")) == (survived == 4)
    assert (tmp_path / "out" / ".a-mug.part").exists() == (survived < 4)
    assert batch(*run, suffix=".txt") == 0
    assert made(tmp_path / "out") == whole and not (tmp_path / "out" / ".a-mug.part").exists()


def test_interrupting_keeps_what_is_finished(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(TABLE)
    process = run_shell("--prompts", tmp_path / "p.csv", "--output", tmp_path / "out", pace=0.2)
    assert process.stdout is not None and process.stderr is not None
    first = Path(process.stdout.readline().strip())
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == cli.CANCELLED
    said = process.stderr.read()
    assert "pointe_blender: cancelled" in said and "1 done" in said and "Traceback" not in said
    assert list(made(tmp_path / "out")) == [first.name]


def test_a_full_disk_fails_the_item_that_is_too_large(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    (tmp_path / "p.csv").write_text("prompt\na mug\na big one\na lamp\n")

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    process = run_shell(
        *("--prompts", tmp_path / "p.csv", "--output", tmp_path / "out", "--format", "ply"),
        preexec_fn=small_disk,
    )
    _, said = process.communicate()
    assert process.returncode == 1
    assert "line 3: " in said and "File too large" in said and "Traceback" not in said
    assert sorted(made(tmp_path / "out")) == ["a-lamp.ply", "a-mug.ply"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_disk_that_fills_up_is_one_sentence_an_item(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(out)], capture_output=True)
    if mount.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        (tmp_path / "p.csv").write_text("prompt\na mug\na big one\na lamp\n")
        process = run_shell("--prompts", tmp_path / "p.csv", "--output", out, "--format", "ply")
        _, said = process.communicate()
        assert process.returncode == 1
        assert "line 3: The disk is full" in said and "Traceback" not in said
        assert sorted(made(out)) == ["a-lamp.ply", "a-mug.ply"]
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_a_folder_that_takes_nothing_is_refused_at_once(
    tmp_path: Path, batch: Batch, stand_in: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file")
    assert batch(TABLE) == cli.REFUSED
    assert capsys.readouterr().err.count("\n") == 1 and not stand_in.requests


def test_without_packages_nothing_is_tried_twice(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def generate(*_: object, **__: object) -> None:
        raise pipeline.MissingPackage("The package torch is not installed: install PyTorch first.")

    monkeypatch.setattr(pipeline, "generate", generate)
    assert batch(TABLE) == cli.REFUSED
    assert capsys.readouterr().err.count("torch") == 1


# --- shares --------------------------------------------------------------------------------------------


def test_shares_are_the_whole_and_never_overlap() -> None:
    groups = [[i] * size for i, size in enumerate((1, 8, 1, 3, 1, 1, 8, 2, 1))]
    for count in (1, 2, 3, 5, 9, 30):
        shares = [Shard(number + 1, count).of(groups) for number in range(count)]
        assert [group for share in shares for group in share] == groups
        sizes = [sum(len(group) for group in share) for share in shares]
        assert max(sizes) <= -(-26 // count) + 8
    assert Shard(2, 3).of([]) == []
    # As many prompts a task as asked for, where nothing is made in common.
    assert [len(Shard(number, 3).of([[i] for i in range(25)])) for number in (1, 2, 3)] == [9, 8, 8]


def test_shares_run_side_by_side_into_one_folder(
    tmp_path: Path, stand_in: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.csv").write_text(TABLE + "a mug,x,\n")
    assert cli.main(["--prompts", str(tmp_path / "p.csv"), "--output", str(tmp_path / "whole")]) == 1
    capsys.readouterr()
    arguments = ["--prompts", str(tmp_path / "p.csv"), "--output", str(tmp_path / "shared")]
    shares = [run_shell(*arguments, "--shard", f"{i}/3", pace=0.02) for i in (1, 2, 3)]
    assert sorted(share.wait() for share in shares) == [0, 0, 1]  # the bad line fails one share alone
    assert made(tmp_path / "shared") == made(tmp_path / "whole")
    logs = sorted(path.name for path in (tmp_path / "shared").glob("log*"))
    assert logs == [f"log-{i}-of-3.jsonl" for i in (1, 2, 3)]
    # A run over everything finds that nothing is left to do.
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "0 done, 6 finished before, 1 failed"


ARRAY = {"ID": "5", "MIN": "1", "MAX": "9", "COUNT": "5", "STEP": "2"}


def array(**changes: str) -> dict[str, str]:
    return {f"SLURM_ARRAY_TASK_{name}": value for name, value in (ARRAY | changes).items()}


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({}, None),
        (array(), Shard(3, 5)),
        (array(ID="0", MIN="0", MAX="11", COUNT="12", STEP="1"), Shard(1, 12)),
        (array(ID="12", MIN="1", MAX="12", COUNT="12", STEP="1"), Shard(12, 12)),
        (array(ID="7", MIN="7", MAX="7", COUNT="1"), Shard(1, 1)),
    ],
    ids=["no array", "a step of 2", "from 0", "from 1", "one task"],
)
def test_job_arrays_are_understood(environment: dict[str, str], shard: Shard | None) -> None:
    assert shards.of_array(environment) == shard


@pytest.mark.parametrize(
    "environment",
    [array(ID="3", COUNT="3", STEP="1"), array(ID="10"), array(COUNT="many"), array(STEP="0"), array(ID="4")],
)
def test_job_arrays_with_gaps_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="--shard"):
        shards.of_array(environment)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "a/b", "-1/3", "1/3/5", "1.5/3", ""])
def test_shares_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="1/12"):
        shards.parse(text)


def test_a_task_of_an_array_takes_its_share(
    tmp_path: Path, batch: Batch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in array(ID="2", MIN="0", MAX="2", COUNT="3", STEP="1").items():
        monkeypatch.setenv(name, value)
    assert batch(TABLE) == 0
    assert capsys.readouterr().err.startswith("shard 3 of 3\n")
    assert list(made(tmp_path / "out")) == ["a-table.obj"]
    # What is said on the command line counts more.
    assert batch(TABLE, "--shard", "1/1") == 0
    assert len(made(tmp_path / "out")) == 7


# --- the documentation -----------------------------------------------------------------------------------

DOCS = Path(cli.__file__).resolve().parents[1] / "docs"


def blocks(kind: str) -> list[str]:
    """What stands in code blocks of the two pages about this."""
    pages = [(DOCS / name).read_text(encoding="utf-8") for name in ("batch.md", "farm.md")]
    return [block for page in pages for block in re.findall(rf"^```{kind}\n(.+?)^```", page, re.M | re.S)]


@pytest.mark.parametrize("command", [line for block in blocks("sh") for line in block.splitlines()])
def test_commands_of_the_documentation_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: Pipeline, command: str
) -> None:
    class Finisher:
        def check(self, *_: object) -> None:
            """Everything is there."""

        def finish_and_export(self, *arguments: Any) -> None:
            for path in arguments[-1]:
                path.write_text("exported")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("a red chair\na blue mug\n")
    blender, option, name, *arguments = shlex.split(command)
    assert (blender, option, name) == ("blender", "--command", "pointe")
    assert cli.main(arguments, finisher=Finisher()) == 0
    assert len(stand_in.requests) >= 1


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_files_of_the_documentation_are_right(tmp_path: Path, kind: str) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "pictures" / "chair.png")
    (content,) = blocks(kind)
    path = tmp_path / {"csv": "p.csv", "json": "p.jsonl"}[kind]
    path.write_text(content, encoding="utf-8")
    found, bad = prompts.read(path, Item(), Style())
    assert len(found) == content.count("\n") - (kind == "csv") and not bad


def test_the_documentation_names_every_column_and_field(tmp_path: Path, batch: Batch) -> None:
    page = (DOCS / "batch.md").read_text(encoding="utf-8")
    batch("a mug\na ghost\n", "--count", "2", suffix=".txt")
    fields = {field for entry in log(tmp_path / "out") for field in entry}
    assert not [name for name in (*prompts.FIELDS, *fields) if f"`{name}`" not in page]
