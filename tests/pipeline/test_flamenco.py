"""Flamenco's job type: settings become tasks, tasks command lines, command lines files and previews."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pointe_blender import cli, formats, pipeline
from pointe_blender.pipeline.models import MODEL_SETS
from pointe_blender.pipeline.request import QUALITIES
from tests.pipeline.farm import SAVED, command_line, compile_job, submit
from tests.pipeline.shell import Pipeline

BLENDER = {"blender": "blender", "blenderArgs": "-b -y"}


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Seven lines, one of them empty, with line ends of Windows."""
    path = tmp_path / "all prompts.txt"
    path.write_bytes(b"a red chair\r\na mug\r\n\r\na lamp\r\na table\r\na car\r\na tree")
    return path


def test_the_settings_follow_the_api_and_offer_what_there_is() -> None:
    job_type = compile_job({})["job_type"]
    settings = {setting["key"]: setting for setting in job_type["settings"]}
    assert sorted(settings["models"]["choices"]) == sorted(MODEL_SETS)
    assert settings["quality"]["choices"] == list(QUALITIES)
    endings = [ending[1:] for ending in formats.CLOUDS + formats.MESHES]
    assert sorted(settings["format"]["choices"]) == sorted(endings)
    assert not any(setting["description"].endswith(".") for setting in settings.values())


def test_tasks_hold_as_many_lines_as_chosen(tmp_path: Path, prompts: Path) -> None:
    tasks = submit(prompts=str(prompts), output=str(tmp_path), prompts_per_task=3)
    assert [task["name"] for task in tasks] == ["prompts-1/3", "prompts-2/3", "prompts-3/3"]
    assert {task["type"] for task in tasks} == {"blender"}
    assert len(submit(prompts=str(prompts), output=str(tmp_path), prompts_per_task=100)) == 1


def test_command_lines_are_blenders(tmp_path: Path, prompts: Path) -> None:
    (task,) = submit(
        prompts=str(prompts),
        output=str(tmp_path / "out"),
        models="official-text",
        quality="high",
        options='--device "cuda:1"',
    )
    assert command_line(task, BLENDER) == [
        *("blender", "-b", "-y", "--command", "pointe"),
        *("--prompts", str(prompts), "--output", str(tmp_path / "out"), "--shard", "1/1"),
        *("--format", "glb", "--models", "official-text", "--quality", "high", "--previews"),
        *("--device", "cuda:1"),
    ]


def test_two_way_variables_reach_every_path(tmp_path: Path, prompts: Path) -> None:
    task, *_ = submit({"storage": str(tmp_path)}, prompts=str(prompts), output=str(tmp_path / "out"))
    line = command_line(task, BLENDER | {"storage": r"S:\farm"})
    assert line[line.index("--prompts") + 1] == r"S:\farm/all prompts.txt"  # Flamenco turns the slashes
    assert line[line.index("--output") + 1] == r"S:\farm/out"


def test_a_job_without_paths_is_refused_in_words() -> None:
    assert "submit the job with Flamenco's Blender add-on" in compile_job({"prompts_per_task": 1})["error"]


def test_the_command_lines_make_everything_and_show_it(
    tmp_path: Path, prompts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but Blender itself and the networks, which tests/whole has."""
    monkeypatch.setattr(pipeline, "generate", Pipeline())
    out = tmp_path / "out"
    for task in submit(prompts=str(prompts), output=str(out), prompts_per_task=3, format="ply"):
        line = command_line(task, BLENDER)
        assert line[: line.index("pointe") + 1] == ["blender", "-b", "-y", "--command", "pointe"]
        assert cli.main(line[line.index("pointe") + 1 :]) == 0
    said = capsys.readouterr().out.splitlines()
    shown = [Path(match[1]) for line in said if (match := SAVED.search(line))]
    names = ["a-car", "a-lamp", "a-mug", "a-red-chair", "a-table", "a-tree"]
    assert sorted(path.name for path in out.glob("*.ply")) == [f"{name}.ply" for name in names]
    assert sorted(shown) == [out / f"{name}.png" for name in names]
    for picture in shown:
        with Image.open(picture) as opened:
            assert opened.format == "PNG" and opened.size == (256, 256)
