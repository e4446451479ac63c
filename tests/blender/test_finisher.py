"""The shell's command inside Blender: finished objects through its exporters, and nothing left behind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

from pointe_blender import cli, pipeline
from pointe_blender.pipeline import Mesh, PointCloud, Progress, Request, Result, files
from pointe_blender.scene import exports, finisher
from tests.blender.stand_in import red_cloud, red_mesh

EVERY = ("glb", "ply", "obj", "usd", "usda", "usdc", "fbx")


@pytest.fixture(autouse=True)
def stand_in(extension: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the networks: a ball that is not where it should be."""

    def generate(request: Request, **_: object):
        pipeline.validate(request)
        cloud, mesh = red_cloud(), red_mesh()
        shift = np.array((0.1, 0.0, 0.2), np.float32)
        cloud = PointCloud(cloud.points * 0.5 + shift, cloud.colors)
        mesh = Mesh(mesh.vertices * 0.5 + shift, mesh.triangles, mesh.colors)
        seeds = tuple(range(request.seed, request.seed + request.count))
        made = Result((cloud,) * request.count, (mesh,) * request.count, seeds, (), "starter", "cpu", {})
        yield Progress("done", 1, 1, 1.0, "cpu", result=made)

    monkeypatch.setattr(pipeline, "generate", generate)


def command(*arguments: str | Path) -> int:
    """`blender --command pointe`."""
    return cli.main([str(argument) for argument in arguments], finisher=finisher)


def imported(path: Path) -> np.ndarray:
    """(N, 3) world coordinates of the one mesh in a file."""
    bpy.ops.wm.read_homefile(use_empty=True)
    {
        ".glb": lambda: bpy.ops.import_scene.gltf(filepath=str(path)),
        ".obj": lambda: bpy.ops.wm.obj_import(filepath=str(path)),
        ".ply": lambda: bpy.ops.wm.ply_import(filepath=str(path)),
        ".fbx": lambda: bpy.ops.import_scene.fbx(filepath=str(path)),
    }.get(path.suffix, lambda: bpy.ops.wm.usd_import(filepath=str(path)))()
    (thing,) = (thing for thing in bpy.context.scene.objects if thing.type == "MESH")
    points = np.array([thing.matrix_world @ vertex.co for vertex in thing.data.vertices])
    return points


@pytest.mark.parametrize("ending", EVERY)
def test_without_a_finish_everything_stays_where_it_was_made(tmp_path: Path, ending: str) -> None:
    assert command("a red ball", "-o", tmp_path / f"ball.{ending}") == 0
    points = imported(tmp_path / f"ball.{ending}")
    low, high = np.array((-0.15, -0.25, -0.05)), np.array((0.35, 0.25, 0.45))
    assert np.allclose([points.min(axis=0), points.max(axis=0)], [low, high], atol=5e-3)


def test_what_this_blender_lacks_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def generate(*_: object, **__: object):
        raise AssertionError("it has computed")

    monkeypatch.setattr(pipeline, "generate", generate)
    monkeypatch.setitem(exports.EXPORTERS, ".usd", SimpleNamespace(available=lambda: False))
    assert command("a ball", "-o", tmp_path / "ball.usd") == cli.REFUSED
    assert "cannot write .usd" in capsys.readouterr().err
    (tmp_path / "p.csv").write_text("prompt,format\na ball,usd\n")
    assert command("--prompts", tmp_path / "p.csv", "--output", tmp_path / "out") == cli.SOME_FAILED
    assert "line 2: This Blender cannot write .usd" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["glb", "usd", "fbx"])
def test_size_and_origin_are_real(tmp_path: Path, ending: str) -> None:
    assert command("a ball", "-o", tmp_path / f"ball.{ending}", "--size", "2", "--origin", "base") == 0
    points = imported(tmp_path / f"ball.{ending}")
    expected = [(-1.0, -1.0, 0.0), (1.0, 1.0, 2.0)]
    assert np.allclose([points.min(axis=0), points.max(axis=0)], expected, atol=1e-3)


def test_many_formats_of_many_variants_come_from_one_run(tmp_path: Path) -> None:
    assert command("a ball", "-o", tmp_path / "ball", "--format", "npz,ply,usd", "--count", "2") == 0
    names = [f"ball-{i}.{ending}" for i in (1, 2) for ending in ("npz", "ply", "usd")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    cloud = files.load(tmp_path / "ball-1.npz")  # as Point-E writes it, Blender or not
    assert isinstance(cloud, PointCloud) and len(cloud) == 800


def test_textures_lie_beside_what_uses_them(tmp_path: Path) -> None:
    names = ["a very long name " * 4 + end for end in ("one", "two")]
    (tmp_path / "p.csv").write_text("prompt,name\n" + "".join(f"a ball,{name}\n" for name in names))
    run = (
        "--prompts",
        tmp_path / "p.csv",
        "--output",
        tmp_path / "out",
        "--format",
        "obj",
        "--texture",
        "32",
    )
    assert command(*run) == 0
    out = tmp_path / "out"
    pictures = [path.name for path in out.glob("*.png")]
    assert len(pictures) == 2
    for name, picture in zip(names, sorted(pictures), strict=True):
        assert picture in (out / f"{name}.mtl").read_text(encoding="utf-8")
    # They belong to what is finished.
    (out / pictures[0]).unlink()
    before = (out / "log.jsonl").read_bytes()
    assert command(*run) == 0
    assert (out / pictures[0]).exists()
    assert (out / "log.jsonl").read_bytes()[len(before) :].count(b"\n") == 1


def test_made_again_they_are_the_same_bytes(tmp_path: Path) -> None:
    """All but FBX, which holds the time."""
    (tmp_path / "p.txt").write_text("a ball\na cube\n")
    for out in ("one", "two"):
        formats = ",".join(ending for ending in EVERY if ending != "fbx")
        arguments = ("--prompts", tmp_path / "p.txt", "--output", tmp_path / out, "--format", formats)
        assert command(*arguments, "--faces", "6", "--shading", "flat", "--size", "1") == 0
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / out).iterdir() if path.suffix != ".jsonl"}
        for out in ("one", "two")
    )
    assert len(one) >= 12 and one == two
    assert not bpy.data.objects or len(bpy.data.objects) == 1  # nothing is heaped up
