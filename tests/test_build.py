"""build.py: what it says to the wrong Python and on a bare machine, and that a second set-up does nothing."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

import build

ROOT = Path(build.__file__).resolve().parent

# What ldd says about Blender's library on a machine without a desktop.
LDD = """\
	linux-vdso.so.1 (0x00007ffd2a1f2000)
	libtbb.so.12 => /opt/bpy/lib/libtbb.so.12 (0x00007f1c0a000000)
	libX11.so.6 => not found
	libXrender.so.1 => not found
	libxkbcommon.so.0 => not found
	libGL.so.1 => not found
	libX11.so.6 => not found
	libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f1c09e00000)
"""


@pytest.mark.parametrize("version", [(2, 7), (3, 6), (3, 10), (3, 12), (3, 14)])
def test_another_python_is_told_which_ones_to_take(version: tuple[int, int]) -> None:
    said = build.wrong_python(*version)
    assert f"this is Python {version[0]}.{version[1]}" in said
    assert "Python 3.11" in said and "Python 3.13" in said and "\n" not in said


@pytest.mark.parametrize("version", [(3, 11), (3, 13)])
def test_the_right_pythons_are_taken(version: tuple[int, int]) -> None:
    assert build.wrong_python(*version) == ""


def test_another_python_stops_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 1, "final", 0))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "build.py"), run_name="__main__")
    assert stop.value.code == build.wrong_python(3, 12)


def test_missing_system_libraries_are_named_with_their_packages() -> None:
    missing = build.missing_libraries(LDD)
    assert missing == ["libGL.so.1", "libX11.so.6", "libXrender.so.1", "libxkbcommon.so.0"]
    said = build.name_packages(missing)
    assert "sudo apt install libgl1 libx11-6 libxkbcommon0 libxrender1" in said
    assert "sudo dnf install libX11 libXrender libglvnd-glx libxkbcommon" in said


def test_nothing_is_missing_where_blender_runs() -> None:
    assert build.missing_libraries("\tlibm.so.6 => /lib/libm.so.6 (0x00007f1c09e00000)\n") == []


def test_every_pin_is_exact_and_every_python_gets_its_blender() -> None:
    lines = [line for line in build.REQUIREMENTS.read_text().splitlines() if line and line[0] != "#"]
    assert all(line.count("==") == (2 if "python_version" in line else 1) for line in lines)
    for (major, minor), blender in build.BLENDERS.items():
        assert any(
            line.startswith(f"bpy=={blender}.") and f'"{major}.{minor}"' in line
            for line in build.pinned("bpy")
        )
    assert build.pinned("torch", "torchvision") == ["torch==2.13.0", "torchvision==0.28.0"]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Keep set_up from the network; what it would have called."""
    made: list[list[str]] = []
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "pip", lambda python, *arguments: made.append(list(arguments)))

    def venv(command: list[str]) -> int:
        Path(command[-1]).mkdir(parents=True)
        made.append(command[1:])
        return 0

    monkeypatch.setattr(build.subprocess, "call", venv)
    return made


def test_a_second_set_up_does_nothing(tmp_path: Path, calls: list[list[str]]) -> None:
    folder = tmp_path / "venv"
    python = build.set_up(folder, "things", {"torch": "cpu"}, ["one"], ["two"])
    assert calls == [
        ["-m", "venv", str(folder)],
        ["install", "--no-compile", "one"],
        ["install", "--no-compile", "two"],
    ]
    assert build.set_up(folder, "things", {"torch": "cpu"}, ["one"], ["two"]) == python
    assert len(calls) == 3
    build.set_up(folder, "things", {"torch": "rocm"}, ["one"], ["two"])
    build.set_up(folder, "things", {"torch": "rocm"}, ["other"])
    assert len(calls) == 8


@pytest.mark.parametrize("damage", ["{", "[]", '{"torch": "cpu"}', None])
def test_half_an_environment_is_made_again(
    tmp_path: Path, calls: list[list[str]], damage: str | None
) -> None:
    folder = tmp_path / "venv"
    build.set_up(folder, "things", {"torch": "cpu"})
    (folder / "leftover").touch()
    (folder / "stamp.json").unlink()
    if damage is not None:
        (folder / "stamp.json").write_text(damage)
    build.set_up(folder, "things", {"torch": "cpu"})
    assert json.loads((folder / "stamp.json").read_text())["torch"] == "cpu"
    assert not (folder / "leftover").exists()


def test_pip_is_quiet_until_it_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    build.pip(Path(sys.executable), "list")
    assert capfd.readouterr() == ("", "")
    with pytest.raises(build.Failed, match="no-such-file"):
        build.pip(Path(sys.executable), "install", str(tmp_path / "no-such-file.whl"))


@pytest.mark.parametrize("arguments", [[], ["dance"], ["check", "more"], ["train"], ["train", "official"]])
def test_unknown_commands_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        build.main(arguments)
    assert stop.value.code == 2
    assert "build.py: error" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["bench", "--quick"], ["-m", "tests.bench", "--quick"]),
        (["bench", "interface", "--runs", "1"], ["interface.py", "--runs", "1"]),
        (["tune", "--write"], ["-m", "pointe_blender.pipeline.tuning.search", "--write"]),
        (["parity", "folder"], ["parity.py", "folder"]),
        (["train", "starter", "--scores"], ["-m", "pointe_blender.pipeline.starter.train", "--scores"]),
    ],
)
def test_commands_reach_their_programs(
    arguments: list[str], command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    monkeypatch.setattr(build, "environment", lambda torch: Path("python"))
    monkeypatch.setattr(build, "call", lambda *parts, cwd=None: called.extend(map(str, parts)) or 3)
    assert build.main(arguments) == 3
    assert [Path(part).name if "/" in part else part for part in called] == ["python", *command]
