"""Every command of the README runs as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import build

ROOT = Path(build.__file__).resolve().parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.+?)^```", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
PROGRAMS = re.findall(r"^```python\n(.+?)^```", README, re.MULTILINE | re.DOTALL)
# What Blender does with `--command pointe ARGUMENTS`: the extension has registered a function for it.
BLENDER = (
    "import sys, bpy; from unittest import mock\n"
    "with mock.patch('bpy.utils.register_cli_command') as register:\n"
    "    import pointe_blender; pointe_blender.register()\n"
    "name, function = register.call_args.args; assert name == 'pointe'\n"
    "sys.exit(function(sys.argv[1:]))"
)


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "data" / "chair.png", tmp_path)
    match shlex.split(command):
        case ["python", "build.py", "test"]:  # which is what runs this
            assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(f"exec {command}")
        case ["python", "build.py", "parity", folder]:
            recorded = (ROOT / folder).resolve()
            if not recorded.is_dir():
                pytest.skip("the recorded answers are not beside this checkout")
            (tmp_path / "some").mkdir()
            for path in recorded.glob("*.keys.json"):  # all of it takes minutes; tests/pipeline has the rest
                shutil.copy(path, tmp_path / "some")
            assert " 0 failed" in run_build(tmp_path, "parity", "some")
        case ["python", "build.py", "train", *arguments]:  # takes hours: that it would start is all
            assert "--minutes" in run(tmp_path, sys.executable, ROOT / "build.py", "--help")
            module = "pointe_blender.pipeline.starter.train"
            assert "--minutes" in run(tmp_path, sys.executable, "-m", module, *arguments[1:], "--help")
        case ["python", "build.py", *arguments]:
            said = run_build(tmp_path, *arguments)
            if arguments[0] == "run":
                paths = [Path(line) for line in said.splitlines() if (tmp_path / line).is_file()]
                assert [path.suffix for path in paths] == [".ply", ".glb", ".blend", ".png"]
        case ["python", *arguments]:
            assert_written(tmp_path, run(tmp_path, sys.executable, *arguments), arguments)
        case ["blender", "--command", "pointe", *arguments]:
            assert_written(tmp_path, run(tmp_path, sys.executable, "-c", BLENDER, *arguments), arguments)
        case _:
            pytest.fail("no test knows how to run this")


def run(folder: Path, *command: str | Path) -> str:
    """Run a command in a folder; return what it printed."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "POINTE_MODELS": str(folder / "models")}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_build(folder: Path, *arguments: str) -> str:
    """Run build.py where it has made its environment."""
    if Path(sys.prefix).resolve() != build.VENV:
        pytest.skip("runs under `build.py test` only, which has made .venv")
    return run(folder, sys.executable, ROOT / "build.py", *arguments)


def assert_written(folder: Path, said: str, arguments: list[str]) -> None:
    """The files that a shell command named are there."""
    if "--output" in arguments:
        paths = said.splitlines()
        assert len(paths) == (int(arguments[arguments.index("--count") + 1]) if "--count" in arguments else 1)
        assert all((folder / path).stat().st_size > 1000 for path in paths)


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, tmp_path: Path) -> None:
    if "bpy" in program:
        program = "import bpy, pointe_blender; pointe_blender.register()\n" + program
        program += "assert len(bpy.context.selected_objects) == 2"
    else:
        program += "assert len(cloud) >= 2048 and len(mesh.triangles) > 500"
    run(tmp_path, sys.executable, "-c", program)
