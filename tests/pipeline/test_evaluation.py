"""A folder of anything gets one table, the same each time, and nothing is computed twice."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pointe_blender import cli
from pointe_blender.pipeline import Mesh, PointCloud, files
from pointe_blender.pipeline.metrics import classifiers, scores, sets, surfaces
from pointe_blender.pipeline.models import CHECKPOINTS
from pointe_blender.pipeline.starter import judge
from pointe_blender.shell import collection, evidence, kept, measures, references, shapes, views

ROOT = Path(__file__).resolve().parents[2]
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
CLOSED = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32)
BY_PROMPT = {"a ball": (1.0, 1.0, 1.0), "a pole": (0.1, 0.1, 1.0)}  # how wide, deep and high


def tetrahedron(triangles: np.ndarray = CLOSED) -> Mesh:
    return Mesh(CORNERS, triangles, np.full((4, 3), 0.5, np.float32))


def ellipsoid(axes: tuple[float, ...], seed: int, count: int = 300) -> PointCloud:
    draws = np.random.default_rng(seed)
    directions = draws.normal(size=(count, 3))
    points = directions / np.linalg.norm(directions, axis=1, keepdims=True) * axes
    return PointCloud(points.astype(np.float32), draws.random((count, 3), dtype=np.float32))


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    """Three closed meshes and an open one, in a format each, the last in a folder below."""
    folder = tmp_path / "meshes"
    (folder / "below").mkdir(parents=True)
    files.save(folder / "a.glb", mesh=tetrahedron())
    files.save(folder / "b.obj", mesh=tetrahedron())
    files.save(folder / "c.ply", mesh=tetrahedron())
    files.save(folder / "below" / "d.npz", mesh=tetrahedron(CLOSED[:3]))
    return folder


@pytest.fixture
def clouds(tmp_path: Path) -> Path:
    """Two prompts with two seeds each, as a foreign generator leaves them, and a file that says so."""
    folder = tmp_path / "clouds"
    folder.mkdir()
    lines = []
    for prompt, axes in BY_PROMPT.items():
        for seed in (0, 1):
            name = f"{prompt[2:]}{seed}"
            files.save(folder / f"{name}.npz", cloud=ellipsoid(axes, 10 + seed))
            lines.append(json.dumps({"prompt": prompt, "name": name, "seed": seed}))
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Other balls and poles."""
    folder = tmp_path / "real"
    folder.mkdir()
    for i, axes in enumerate(BY_PROMPT.values()):
        files.save(folder / f"{i}.ply", cloud=ellipsoid(axes, i))
    return folder


def evaluate(folder: Path, *options: object) -> tuple[int, dict[str, Any]]:
    code = cli.main(["evaluate", str(folder), *map(str, options)])
    path = folder / "evaluation" / "evaluation.json"
    return code, json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def written(folder: Path) -> list[bytes]:
    return [(folder / "evaluation" / f"evaluation.{ending}").read_bytes() for ending in ("json", "md")]


def values(table: dict[str, Any]) -> dict[str, float]:
    return {name: figure["value"] for name, figure in table["metrics"].items()}


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read or computed, in order."""
    calls: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any) -> Any:
            calls.append(name)
            return function(*arguments)

        return count

    monkeypatch.setattr(surfaces, "describe", counted("surface", surfaces.describe))
    monkeypatch.setattr(sets, "chamfer_between", counted("distances", sets.chamfer_between))
    monkeypatch.setattr(collection, "load", counted("load", collection.load))
    return calls


def test_meshes_of_every_format_get_one_table(meshes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, table = evaluate(meshes)
    assert code == 0
    assert (table["folder"], table["objects"], table["meshes"], table["clouds"]) == ("meshes", 4, 4, 0)
    assert values(table) == {"closed": 75.0, "self-intersections": 0.0, "components": 1.0}
    assert table["metrics"]["closed"]["over"] == "objects" and table["metrics"]["closed"]["count"] == 4
    assert table["metrics"]["closed"]["low"] < 75.0 < table["metrics"]["closed"]["high"]
    assert table["left_out"].keys() == {"chamfer", "coverage", "mmd", "1-nna"}
    said = capsys.readouterr()
    assert said.out.encode() == written(meshes)[1]
    assert "| Closed meshes | 75 | 30.06 to 95.44 | % | higher | 4 objects |" in said.out.splitlines()
    assert said.err.splitlines()[-1] == f"written: {meshes / 'evaluation' / 'evaluation.md'}"


def test_meshes_are_measured_without_torch(meshes: Path) -> None:
    program = "import sys; sys.modules['torch'] = None; from pointe_blender import cli; "
    program += "sys.exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "evaluate", str(meshes)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "Closed meshes | 75 |" in done.stdout


def test_the_second_run_computes_nothing(meshes: Path, computed: list[str]) -> None:
    assert evaluate(meshes)[0] == 0
    assert computed.count("surface") == 4
    before = written(meshes)
    computed.clear()
    assert evaluate(meshes)[0] == 0
    assert computed == [] and written(meshes) == before


def test_what_has_changed_is_computed_again(meshes: Path, computed: list[str]) -> None:
    evaluate(meshes)
    computed.clear()
    files.save(meshes / "a.glb", mesh=tetrahedron(CLOSED[1:]))
    assert values(evaluate(meshes)[1])["closed"] == 50.0
    assert computed.count("surface") == 1


def test_a_damaged_entry_is_computed_again(meshes: Path, computed: list[str]) -> None:
    evaluate(meshes)
    before = written(meshes)
    for entry in (meshes / "evaluation" / ".kept" / "surface").iterdir():
        data = entry.read_bytes()
        middle = len(data) // 2
        entry.write_bytes(data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 : -9])
    computed.clear()
    evaluate(meshes)
    assert computed.count("surface") == 4 and written(meshes) == before


def test_killed_and_gone_on_with_it_ends_with_the_same_table(meshes: Path, computed: list[str]) -> None:
    for i in range(4):
        files.save(meshes / f"{i}.obj", mesh=Mesh(CORNERS * (i + 2), CLOSED, CORNERS))
    whole = shutil.copytree(meshes, meshes.parent / "whole" / "meshes")
    evaluate(whole)
    program = """
import os, signal, sys
from pointe_blender import cli
from pointe_blender.pipeline.metrics import surfaces
describe, left = surfaces.describe, [3]
def until_killed(mesh):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return describe(mesh)
surfaces.describe = until_killed
cli.main(sys.argv[1:])
"""
    done = subprocess.run([sys.executable, "-c", program, "evaluate", str(meshes)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL and not (meshes / "evaluation" / "evaluation.md").exists()
    computed.clear()
    evaluate(meshes)
    assert computed.count("surface") == 8 - 3
    assert written(meshes) == written(whole)


def test_clouds_are_compared_whatever_their_scale_and_place(clouds: Path, real: Path) -> None:
    _, table = evaluate(clouds, "--reference", real)
    found = values(table)
    assert found["coverage"] in (50.0, 100.0) and 0 < found["chamfer"] < 10
    elsewhere = clouds.parent / "elsewhere"
    elsewhere.mkdir()
    for path in clouds.glob("*.npz"):
        cloud = files.load(path)
        assert isinstance(cloud, PointCloud)
        moved = PointCloud(cloud.points * 100 + (5, -70, 2000), cloud.colors)
        files.save(elsewhere / f"{path.stem}.ply", cloud=moved)
    assert values(evaluate(elsewhere, "--reference", real)[1]) == pytest.approx(found, rel=1e-3)


def test_a_mesh_is_compared_by_points_on_its_surface(meshes: Path) -> None:
    _, table = evaluate(meshes, "--reference", meshes, "--metrics", "chamfer,components")
    assert values(table) == {"chamfer": 0.0, "components": 1.0}


def test_distances_are_kept_row_by_row(clouds: Path, real: Path, computed: list[str]) -> None:
    evaluate(clouds, "--reference", real)
    assert computed.count("distances") == 4 + 1 + 1  # to the references, and of two of each to the other
    before = written(clouds)
    computed.clear()
    evaluate(clouds, "--reference", real)
    assert computed == [] and written(clouds) == before
    files.save(clouds / "ball0.npz", cloud=ellipsoid((1.0, 1.0, 1.0), 99))
    evaluate(clouds, "--reference", real, "--metrics", "chamfer")
    assert computed.count("distances") == 1


def test_objects_of_the_starter_world_are_made_only_where_they_are_needed(
    clouds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def real(count: int, seed: int) -> list[PointCloud]:
        asked.append((count, seed))
        return [ellipsoid((1.0, 1.0, 1.0), seed + i) for i in range(count)]

    monkeypatch.setattr(judge, "references", real)
    monkeypatch.setattr(references, "COUNT", 3)
    monkeypatch.setitem(CHECKPOINTS, references.JUDGE, CHECKPOINTS["pointnet"])
    _, table = evaluate(clouds, "--reference", "starter", "--seed", "7")
    assert asked == [(3, 7)] and (table["references"], table["drawn of each"]) == (3, 3)
    before = written(clouds)
    assert evaluate(clouds, "--reference", "starter", "--seed", "7")[0] == 0
    assert asked == [(3, 7)] and written(clouds) == before


def test_intervals_are_over_seeds_where_prompts_have_several(clouds: Path, real: Path) -> None:
    options = ("--reference", real, "--prompts", clouds.parent / "prompts.jsonl", "--metrics", "chamfer,mmd")
    _, table = evaluate(clouds, *options)
    assert (table["prompts"], table["seeds"]) == (2, 2)
    figure = table["metrics"]["chamfer"]
    assert (figure["over"], figure["count"]) == ("seeds", 2)

    def places(path: Path) -> torch.Tensor:
        shape = shapes.Shape("", lambda: shapes.framed(files.load(path)))
        return torch.from_numpy(shape.points(shapes.COMPARED)[None, :, :3])

    def nearest(name: str) -> float:
        own = places(clouds / f"{name}.npz")
        return min(100 * float(sets.chamfer(own, places(path))) for path in real.glob("*.ply"))

    first, second = (np.mean([nearest(f"{kind}{seed}") for kind in ("ball", "pole")]) for seed in (0, 1))
    assert figure["value"] == pytest.approx((first + second) / 2, rel=1e-5)
    half = 12.706204736 * abs(first - second) / 2  # Student's t of one degree of freedom, times s / √2
    assert figure["high"] - figure["value"] == pytest.approx(half, rel=1e-3, abs=1e-9)


def test_a_batch_tells_by_itself_what_its_files_were_made_from(tmp_path: Path) -> None:
    folder = tmp_path / "batch"
    folder.mkdir()
    entry = {"state": "done", "name": "a-mug", "prompt": "a mug", "count": 2, "seeds": [4, 3], "files": []}
    lines = [json.dumps(entry), '{"state": "done", "na', json.dumps(entry | {"state": "failed", "name": "b"})]
    (folder / "log-1-of-2.jsonl").write_text("\n".join(lines))
    for i in (1, 2):
        files.save(folder / f"a-mug-{i}.glb", mesh=tetrahedron())
        files.save(folder / f"a-mug-{i}.ply", cloud=ellipsoid((1.0, 1.0, 1.0), i))
    (folder / "a-mug-1.png").write_bytes(b"a preview")
    found = collection.collect(folder, kept.Kept(tmp_path / "kept"))
    origins = [sample.origin for sample in found.samples]
    assert origins == [collection.Origin("a mug", 4), collection.Origin("a mug", 3)]
    assert all(sample.cloud and sample.mesh for sample in found.samples)
    assert found.sets == [[1], [0]] and found.prompts == ("a mug",)


def test_objects_are_grouped_by_the_number_of_seeds_that_most_prompts_have() -> None:
    def sets_of(*seeds: int) -> list[list[int]]:
        made = [(prompt, seed) for prompt, count in enumerate(seeds) for seed in range(count)]
        samples = tuple(
            collection.Sample(f"{i}", None, None, collection.Origin(f"prompt {prompt}", seed))
            for i, (prompt, seed) in enumerate(made)
        )
        return collection.Collection(samples, (), ()).sets

    assert sets_of(2, 2, 2) == [[0, 2, 4], [1, 3, 5]]
    assert sets_of(1, 1, 1) == [[0, 1, 2]]
    assert sets_of(2, 1, 2) == [[0, 2, 3], [1, 4]]  # a seed that failed
    assert sets_of(1, 1, 3) == [[0, 1, 2, 3, 4]]


class Colours:
    """In place of PointNet++: sees how points and colours are spread, and which colour there is most of."""

    def features(self, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert given.shape[1:] == (shapes.SEEN, 6) and given[..., :3].abs().amax() <= 0.5
        return given.std(1), given[..., 3:].mean(1).softmax(-1)


def test_a_classifier_is_asked_once_for_each_cloud(
    clouds: Path, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(evidence.Evidence, "_fetch", lambda self, name: asked.append(name))
    monkeypatch.setattr(classifiers, "released", lambda *_: Colours())
    options = ("--reference", real, "--metrics", "p-fid,p-is")
    _, table = evaluate(clouds, *options)
    assert asked == ["pointnet"]

    def seen(folder: Path) -> tuple[np.ndarray, np.ndarray]:
        shaped = [shapes.framed(files.load(path)) for path in sorted(folder.iterdir()) if path.is_file()]
        given = [shapes.Shape("", lambda cloud=cloud: cloud).points(shapes.SEEN) for cloud in shaped]
        scaled = torch.from_numpy(np.stack(given)) * torch.tensor([0.96] * 3 + [1.0] * 3)
        return tuple(values.numpy() for values in Colours().features(scaled))  # type: ignore[return-value]

    own, chances = seen(clouds)
    distance = scores.frechet_distance(own, seen(real)[0])
    expected = {"p-fid": distance, "p-is": scores.inception_score(chances)}
    assert values(table) == pytest.approx(expected, rel=1e-4)
    assert table["metrics"]["p-fid"]["low"] is None  # of one set nobody knows
    before = written(clouds)
    monkeypatch.setattr(classifiers, "released", None)
    assert evaluate(clouds, *options)[0] == 0 and written(clouds) == before


def test_unreadable_files_are_listed_and_stop_nothing(
    meshes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (meshes / "broken.ply").write_text("not a cloud")
    (meshes / "empty.obj").write_text("")
    (meshes / "short.glb").write_bytes((meshes / "a.glb").read_bytes()[:400])
    code, table = evaluate(meshes)
    assert code == cli.SOME_FAILED and values(table)["closed"] == 75.0
    assert [each["file"] for each in table["unreadable"]] == ["broken.ply", "empty.obj", "short.glb"]
    assert "Files that could not be read: 3" in capsys.readouterr().out


def test_all_means_what_there_is_and_says_what_is_left_out(
    clouds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "find_spec", lambda name: None if name == "bpy" else name)
    prompts = ("--prompts", clouds.parent / "prompts.jsonl")
    files.save(clouds / "ball0.obj", mesh=tetrahedron())
    code, table = evaluate(clouds, "--metrics", "all", "--offline", *prompts)
    assert code == 0 and table["metrics"].keys() == {"closed", "self-intersections", "components"}
    assert table["left_out"].keys() == measures.MEASURES.keys() - table["metrics"].keys()
    assert "--reference" in table["left_out"]["p-fid"] and "pointnet" in table["left_out"]["p-is"]
    assert "Blender" in table["left_out"]["psnr"]


def test_damaged_pictures_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "find_spec", lambda name: None if name == "bpy" else name)
    view = views.View(collection.File(tmp_path / "a.ply", "0" * 64), lit=True)
    folder = tmp_path / "cycles-3"
    folder.mkdir()
    pictures = [folder / f"{'0' * 16}_{i:02d}.png" for i in range(3)]
    for path in pictures:
        Image.new("RGB", (4, 4), "red").save(path)
    with views.Views(tmp_path, 3, "CYCLES") as shown:
        assert shown.why_not([view]) == "" and len(shown.of(view)) == 3
        for path in pictures[1:]:
            path.write_bytes(path.read_bytes()[:-20])
        assert "Blender" in shown.why_not([view])
    assert list(folder.iterdir()) == pictures[:1]


BAD = {
    "no folder": ["{}/missing"],
    "a file": ["{}/prompts.jsonl"],
    "nothing in it": ["{}/empty"],
    "nothing that can be read": ["{}/broken"],
    "no such metric": ["{}/clouds", "--metrics", "closed,beauty"],
    "no metric": ["{}/clouds", "--metrics", ","],
    "no meshes": ["{}/clouds", "--metrics", "closed"],
    "no reference": ["{}/clouds", "--metrics", "chamfer"],
    "a reference that is missing": ["{}/clouds", "--reference", "{}/missing"],
    "no prompts": ["{}/clouds", "--metrics", "r-precision"],
    "prompts that are missing": ["{}/clouds", "--prompts", "{}/missing.jsonl"],
    "no Blender": ["{}/clouds", "--metrics", "r-precision", "--prompts", "{}/prompts.jsonl"],
    "no meshes beside the clouds": ["{}/clouds", "--metrics", "psnr"],
    "no download": ["{}/clouds", "--metrics", "p-is", "--offline"],
    "no views": ["{}/clouds", "--views", "0"],
    "a device there is not": [
        *("{}/clouds", "--reference", "{}/clouds", "--metrics", "mmd", "--device", "abacus"),
    ],
    "nothing that the usual metrics need": ["{}/clouds"],
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_measured_is_one_sentence(
    clouds: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "find_spec", lambda name: None if name == "bpy" else name)
    monkeypatch.setenv("POINTE_MODELS", str(clouds.parent / "models"))
    (clouds.parent / "empty").mkdir()
    (clouds.parent / "broken").mkdir()
    (clouds.parent / "broken" / "a.ply").write_text("not a cloud")
    options = [part.replace("{}", str(clouds.parent)) for part in arguments]
    assert cli.main(["evaluate", *options]) == cli.REFUSED
    said = capsys.readouterr()
    assert said.out == "" and said.err.splitlines()[-1].startswith("pointe_blender: ")
    assert not (clouds / "evaluation" / "evaluation.json").exists()


@pytest.mark.parametrize("fits", [2, 6, 9])
def test_a_full_disk_is_one_sentence_and_what_is_kept_stays(
    meshes: Path, fits: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it reads, while it measures, while it writes the table."""
    put, left = os.replace, [fits]

    def fills(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        put(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fills)
        assert evaluate(meshes)[0] == cli.REFUSED
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("pointe_blender: The disk is full") and "choose another folder" in said
    assert not list(meshes.rglob("*.part"))
    assert evaluate(meshes)[0] == 0


def test_cancelled_it_keeps_what_is_done(
    meshes: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(mesh: Mesh) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(surfaces, "describe", interrupt)
        assert evaluate(meshes)[0] == cli.CANCELLED
    computed.clear()
    assert evaluate(meshes)[0] == 0
    assert computed.count("surface") == 4 and computed.count("load") == 4  # kinds were known


def test_the_documentation_names_every_metric_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\**)`([\w-]+)`\1 \|", page, re.MULTILINE)
    assert {name for _, name in rows} == measures.MEASURES.keys()
    assert {name for mark, name in rows if mark} == set(measures.USUAL)
    assert cli.main(["evaluate", "--help"]) == 0
    common = {"--help", "--device", "--models-folder", "--offline"}  # of the whole command
    options = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", capsys.readouterr().out)) - common
    assert not [option for option in options if option not in page]
