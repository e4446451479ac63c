"""build.py package: zips that carry PyTorch, with small wheels from an index on this machine."""

from __future__ import annotations

import shutil
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import build
from tests.package_index import Index, serving

ROOT = Path(build.__file__).resolve().parent
PYTHON = Path(sys.executable)
TAGS = {"linux-x64": "manylinux_2_28_x86_64", "windows-x64": "win_amd64", "macos-arm64": "macosx_14_0_arm64"}

pytestmark = pytest.mark.skipif(
    not list(build.VENV.glob("[Ll]ib/**/site-packages/bpy")), reason="Blender's builder is in .venv"
)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The only index that pip knows."""
    for variable in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null" if sys.platform != "win32" else "nul")
    with serving() as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        yield index


def entry(index: Index, name: str, version: str, tag: str, page: str = "simple") -> str:
    """Publish a wheel; returns its line for packages.toml."""
    local = f"{version}+{page}" if page != "simple" else version
    wheel = index.add(name, local, {f"{name}.py": ""}, f"{name}-{local}-{tag}.whl", page)
    own = f'index = "{wheel.index}"\n' if wheel.index else ""
    return f'[[package.file]]\nname = "{wheel.file}"\n{own}sha256 = "{wheel.sha256}"\n'


@pytest.fixture
def project(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a small package and a small list."""
    for name in ("blender_manifest.toml", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "pointe_blender").mkdir()
    (tmp_path / "pointe_blender" / "__init__.py").touch()
    (tmp_path / "vendor").mkdir()
    shutil.copy(ROOT / "vendor" / "pin.py", tmp_path / "vendor")

    def package(fields: str, *files: str) -> str:
        return f"[[package]]\n{fields}\n{''.join(files)}"

    def torch(platform: str, page: str = "simple") -> list[str]:
        tags = [f"{cp}-{cp}-{TAGS[platform]}" for cp in ("cp311", "cp313")]
        return [entry(index, "torch", "9.9", tag, page) for tag in tags]

    here = 'name = "torch"\nversion = "9.9"\ntravels = "install"'
    text = [
        package(
            f'{here}\nbuild = "cpu"\nplatforms = ["linux-x64", "windows-x64"]', *torch("linux-x64", "cpu")
        ),
        *torch("windows-x64"),
        package(f'{here}\nbuild = "metal"\nplatforms = ["macos-arm64"]', *torch("macos-arm64")),
        package(
            f'{here}\nbuild = "cu130"\nplatforms = ["linux-x64"]', entry(index, "torch", "9.9", "x-x-any")
        ),
        package(
            'name = "nvidia_thing"\nversion = "1.0"\ntravels = "install"\nbuild = "cu130"',
            entry(index, "nvidia_thing", "1.0", "py3-none-any"),
        ),
        package(
            'name = "needed"\nversion = "1.2"\ntravels = "install"',
            entry(index, "needed", "1.2", "py3-none-any"),
        ),
        package(
            'name = "small"\nversion = "0.1"\ntravels = "zip"', entry(index, "small", "0.1", "py3-none-any")
        ),
    ]
    (tmp_path / "vendor" / "packages.toml").write_text("\n".join(text))
    monkeypatch.setattr(build, "ROOT", tmp_path)
    return tmp_path


def opened(path: Path) -> tuple[dict[str, object], set[str]]:
    """The manifest of a zip and the wheels in it."""
    with zipfile.ZipFile(path) as archive:
        manifest = tomllib.loads(archive.read("blender_manifest.toml").decode())
        return manifest, {name for name in archive.namelist() if name.endswith(".whl")}


def test_one_zip_for_each_platform_and_python(project: Path, index: Index) -> None:
    only = ["--platform", "windows-x64", "--platform", "macos-arm64"]
    assert build.package(PYTHON, ["--with-torch", "cpu", *only]) == 0
    made = sorted(path.name for path in (project / "dist").iterdir())
    assert made == [
        f"pointe_blender-0.1.0-{platform}-{cp}-torch.zip"
        for platform in ("macos-arm64", "windows-x64")
        for cp in ("cp311", "cp313")
    ]
    for name in made:
        manifest, wheels = opened(project / "dist" / name)
        platform = next(platform for platform in TAGS if platform in name)
        cp = "cp311" if "cp311" in name else "cp313"
        assert wheels == {
            f"wheels/torch-9.9-{cp}-{cp}-{TAGS[platform]}.whl",
            "wheels/needed-1.2-py3-none-any.whl",
            "wheels/small-0.1-py3-none-any.whl",
        }
        assert {f"./{wheel}" for wheel in wheels} == set(manifest["wheels"])
        assert manifest["platforms"] == [platform]
        blenders = (manifest["blender_version_min"], manifest.get("blender_version_max"))
        assert blenders == (("4.2.0", "5.1.0") if cp == "cp311" else ("5.1.0", None))
        assert set(manifest["permissions"]) == {"files", "network"}

    index.served.clear()
    assert (
        build.package(PYTHON, ["--with-torch", "cpu", "--platform", "macos-arm64", "--python", "3.11"]) == 0
    )
    assert index.served == [], "what is here already is not fetched again"


def test_a_wheel_that_is_not_the_pinned_one_gets_into_no_zip(
    project: Path, index: Index, capfd: pytest.CaptureFixture[str]
) -> None:
    index.fault["torch-9.9+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"] = "other"
    assert build.package(PYTHON, ["--with-torch", "cpu", "--platform", "linux-x64"]) == 1
    assert [path.name for path in (project / "dist").iterdir()] == [
        "pointe_blender-0.1.0-linux-x64-cp313-torch.zip"
    ]
    said = capfd.readouterr().err
    assert "torch-9.9+cpu-cp311" in said and "do not use it" in said
    assert "linux-x64-cp311-torch was left out" in said


def test_the_plain_zip_is_for_every_platform(project: Path) -> None:
    assert build.package(PYTHON, []) == 0
    manifest, wheels = opened(project / "dist" / "pointe_blender-0.1.0.zip")
    assert wheels == {"wheels/small-0.1-py3-none-any.whl"}
    assert "platforms" not in manifest and manifest["blender_version_min"] == "4.2.0"


@pytest.mark.parametrize(
    "arguments",
    [["--with-torch", "cu130"], ["--python", "3.11"], ["--with-torch", "cpu", "--python", "3.12"]],
)
def test_what_cannot_be_packaged_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        build.package(PYTHON, arguments)
    assert stop.value.code == 2
    assert "build.py package: error" in capsys.readouterr().err
