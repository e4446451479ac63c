"""A small farm after Flamenco's documentation: its add-on, its Manager (in Node) and a Worker."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pointe_blender

SCRIPT = Path(pointe_blender.__file__).with_name("flamenco") / "pointe_generate.js"
MANAGER = Path(__file__).with_name("flamenco_manager.js")
SAVED = re.compile(r"^Saved: '(.*)'")  # what a worker looks for in the output of blender-render
Variables = dict[str, str]


def compile_job(settings: dict[str, Any]) -> dict[str, Any]:
    """What Flamenco Manager makes of submitted settings."""
    if shutil.which("node") is None:
        pytest.skip("Node, which runs the job type, is not on this machine")
    done = subprocess.run(
        ["node", str(MANAGER), str(SCRIPT)],
        input=json.dumps({"name": "a job", "settings": settings}),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def submit(here: Variables | None = None, **chosen: Any) -> list[dict[str, Any]]:
    """Tasks for settings as an artist chooses them; `here` are the two-way variables on this machine."""
    settings: dict[str, Any] = {"prompts": "", "output": ""}
    job_type = compile_job({})["job_type"]
    for setting in job_type["settings"]:
        if setting.get("visible") in ("web", "hidden"):  # evaluated when the job is submitted
            # As the add-on does it: names are locals, which nested scopes do not see.
            names = {"Path": Path, "abspath": lambda path: Path(path).resolve(), "settings": None}
            names["settings"] = SimpleNamespace(**settings)
            settings[setting["key"]] = eval(setting["eval"], {}, names)
        elif setting["key"] in chosen or "default" in setting:
            settings[setting["key"]] = chosen.get(setting["key"], setting.get("default"))
        assert not setting.get("required") or settings[setting["key"]]
    for name, value in (here or {}).items():
        for key, text in settings.items():
            if isinstance(text, str) and text.startswith(value):
                settings[key] = f"{{{name}}}{text[len(value) :]}"
    result = compile_job(settings)
    assert "error" not in result, result["error"]
    tasks: list[dict[str, Any]] = result["tasks"]
    return tasks


def command_line(task: dict[str, Any], there: Variables) -> list[str]:
    """The command that a worker runs, with the values of the variables on its machine."""
    (command,) = task["commands"]
    assert command["name"] == "blender-render"

    def expanded(text: str) -> str:
        for name, value in there.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    given = command["parameters"]
    parts = [expanded(given["exe"]), *shlex.split(expanded(given["exeArgs"]))]
    parts += map(expanded, given["argsBefore"])
    parts += [expanded(given["blendfile"])] if given["blendfile"] else []
    return [*parts, *map(expanded, given["args"])]
