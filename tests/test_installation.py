"""PyTorch's installer: what it leaves behind, whatever the network, the disk and the user do to it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
import time
import tomllib
from collections import namedtuple
from pathlib import Path

import pytest

from pointe_blender import installation, packages
from pointe_blender.installation import Installing, install
from pointe_blender.packages import Wheel
from pointe_blender.pipeline.errors import CannotWrite, DownloadFailed, MissingPackage
from tests.package_index import Index, serving

LIST = Path(__file__).parents[1] / "vendor" / "packages.toml"
BROUGHT_BY_BLENDER = {"numpy", "requests", "certifi", "idna", "urllib3", "charset_normalizer", "zstandard"}


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch):
    """The only index that pip knows."""
    for variable in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null" if sys.platform != "win32" else "nul")
    with serving() as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        yield index


@pytest.fixture
def wheels(index: Index, monkeypatch: pytest.MonkeyPatch) -> list[Wheel]:
    """A little "torch" and something it needs, pinned."""
    pinned = [
        index.add("pointe_needed", "1.2", {"pointe_needed.py": "answer = 42\n"}),
        index.add("torch", "9.9", {"torch/__init__.py": "x = 1\n" * 20_000, "torch/fake.py": ""}),
    ]
    monkeypatch.setattr(installation, "wanted", lambda: pinned)
    return pinned


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def final(target: Path) -> Path:
    return target / f"torch-9.9-{packages.PYTHON}"


def test_installs_every_wheel_and_nothing_else(wheels: list[Wheel], tmp_path: Path) -> None:
    updates = list(install(tmp_path))

    fractions = [update.fraction for update in updates]
    assert fractions == sorted(fractions)
    assert updates[-1] == Installing("Installed", 1.0)
    assert contents(tmp_path) == [final(tmp_path).name]
    assert packages.installed(tmp_path) == final(tmp_path)
    assert contents(final(tmp_path)) == [
        "pointe_needed-1.2.dist-info",
        "pointe_needed.py",
        "torch",
        "torch-9.9.dist-info",
    ]


def test_packages_are_found_while_their_folder_is_active(wheels: list[Wheel], tmp_path: Path) -> None:
    before = list(sys.path)
    for _ in install(tmp_path):
        pass
    assert importlib.util.find_spec("pointe_needed") is None
    packages.activate(final(tmp_path))
    try:
        assert importlib.util.find_spec("pointe_needed").origin == str(final(tmp_path) / "pointe_needed.py")
    finally:
        packages.activate(None)
    assert sys.path == before
    assert importlib.util.find_spec("pointe_needed") is None


@pytest.mark.parametrize("fault", ["cut", "other"])
def test_a_bad_file_is_refused_and_the_good_ones_are_kept(
    fault: str, index: Index, wheels: list[Wheel], tmp_path: Path
) -> None:
    needed, torch = wheels
    index.fault[torch.file] = fault
    with pytest.raises(DownloadFailed, match="torch"):
        list(install(tmp_path))
    assert packages.installed(tmp_path) is None
    assert contents(tmp_path) == ["downloads"]
    assert contents(tmp_path / "downloads") == [needed.file]

    index.fault.clear()
    index.served.clear()
    list(install(tmp_path))
    assert set(index.served) == {torch.file}
    assert contents(tmp_path) == [final(tmp_path).name]


def test_a_kept_file_that_changed_is_fetched_again(index: Index, wheels: list[Wheel], tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / wheels[0].file).write_bytes(b"half a whe")
    list(install(tmp_path))
    assert wheels[0].file in index.served
    assert (final(tmp_path) / "pointe_needed.py").read_text() == "answer = 42\n"


def test_cancel_ends_pip_at_once_and_leaves_nothing(
    index: Index, wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    index.fault[wheels[1].file] = "stuck"
    run = install(tmp_path)
    while not index.served or index.served[-1] != wheels[1].file:
        update = next(run)
    assert update.text == "Fetching torch"

    before = time.monotonic()
    run.close()
    assert time.monotonic() - before < 1.0
    assert all(process.poll() is not None for process in started)
    assert contents(tmp_path) == []


def test_a_failed_or_cancelled_update_leaves_the_old_one(
    index: Index, wheels: list[Wheel], tmp_path: Path
) -> None:
    final(tmp_path).mkdir()
    (final(tmp_path) / "old.py").touch()
    index.fault[wheels[1].file] = "other"
    with pytest.raises(DownloadFailed):
        list(install(tmp_path))
    assert contents(packages.installed(tmp_path)) == ["old.py"]
    run = install(tmp_path)
    next(run)
    run.close()
    assert contents(packages.installed(tmp_path)) == ["old.py"]

    index.fault.clear()
    list(install(tmp_path))
    assert contents(tmp_path) == [final(tmp_path).name]
    assert "old.py" not in contents(final(tmp_path))


def test_no_network(wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    with pytest.raises(DownloadFailed, match="check the network and try again"):
        list(install(tmp_path))
    assert packages.installed(tmp_path) is None


def test_full_disk(wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(1, 1, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CannotWrite, match=r"GB in .* make room"):
        list(install(tmp_path))
    assert contents(tmp_path) == ["downloads"]


def test_folder_that_cannot_be_made(wheels: list[Wheel], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match="cannot be written"):
        list(install(tmp_path / "file" / "packages"))


@pytest.mark.parametrize(
    ("said", "error", "remedy"),
    [
        ("OSError: [Errno 28] No space left on device", CannotWrite, "make room"),
        ("OSError: [WinError 112] There is not enough space on the disk", CannotWrite, "make room"),
        ("[Errno 13] Permission denied: 'x'", CannotWrite, "permissions"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", DownloadFailed, "try again"),
        ("ERROR: No matching distribution found for torch==9.9", DownloadFailed, "choose a packages folder"),
        ("WARNING: Retrying\nERROR: No matching distribution found for torch", DownloadFailed, "network"),
        ("something never seen", DownloadFailed, "try again"),
    ],
)
def test_what_pip_says_becomes_a_remedy(said: str, error: type[Exception], remedy: str) -> None:
    explained = installation._explain(said, "torch")
    assert type(explained) is error
    assert remedy in str(explained)


def test_no_pip(wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"no pip .* choose a packages folder"):
        list(install(tmp_path))
    assert contents(tmp_path) == []


def test_pip_that_python_carries(
    wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("this Python carries no pip")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else find(name))
    list(install(tmp_path))
    assert (final(tmp_path) / "pointe_needed.py").exists()


def test_missing_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "NEEDED", ("pointe_surely_absent", "this", "json"))
    assert packages.missing() == ["pointe_surely_absent"]
    assert "this" not in sys.modules


def test_numpy_of_a_packages_folder_never_wins(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").touch()
    packages.activate(tmp_path)
    try:
        code = f"import sys; sys.path[:] = {sys.path}; import numpy; numpy.zeros(3)"
        done = subprocess.run([sys.executable, "-c", code])
    finally:
        packages.activate(None)
    assert done.returncode == 0


def test_a_folder_of_the_user_is_judged_without_importing_it(tmp_path: Path) -> None:
    assert "no PyTorch" in packages.complaint(tmp_path)
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "_C.cpython-27-vax.so").touch()
    assert "another Python" in packages.complaint(tmp_path)
    (tmp_path / "torch" / f"_C{importlib.machinery.EXTENSION_SUFFIXES[0]}").touch()
    assert packages.complaint(tmp_path) == ""


def test_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = type(sys)("torch")
    loaded.__file__ = str(final(tmp_path) / "torch" / "__init__.py")
    final(tmp_path).mkdir()
    monkeypatch.setitem(sys.modules, "torch", loaded)
    with pytest.raises(CannotWrite, match="restart Blender"):
        packages.remove(tmp_path)
    assert packages.installed(tmp_path)

    monkeypatch.delitem(sys.modules, "torch")
    packages.remove(tmp_path)
    assert not tmp_path.exists()


@pytest.mark.parametrize("python", ["cp311", "cp313"])
@pytest.mark.parametrize(
    ("system", "machine"), [("linux", "x86_64"), ("win32", "AMD64"), ("darwin", "arm64")]
)
def test_the_list_has_every_wheel_for(
    system: str, machine: str, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(packages, "PYTHON", python)
    wheels = packages.wanted()
    assert wheels[-1].name == "torch"
    assert all(wheel.sha256 or (wheel.name == "torch" and system == "linux") for wheel in wheels)


def test_a_python_without_pytorch_gets_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PYTHON", "cp27")
    with pytest.raises(MissingPackage, match="choose a packages folder"):
        packages.wanted()


def test_the_list_is_pinned_licensed_and_leaves_blenders_own_alone() -> None:
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))["package"]
    assert not BROUGHT_BY_BLENDER & {package["name"].lower() for package in listed}
    for package in listed:
        assert package["licence"]
        assert package["travels"] in ("zip", "install")
        for file in package["file"]:
            assert file["name"].split("-")[1].split("+")[0] == package["version"]
            assert "index" in file or len(bytes.fromhex(file["sha256"])) == 32
        if package["travels"] == "zip":
            (file,) = package["file"]
            assert file["name"].endswith("-py3-none-any.whl")


def test_an_artist_gets_the_versions_that_are_tested_here() -> None:
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))["package"]
    pins = [line.partition("==") for line in LIST.with_name("requirements.txt").read_text().splitlines()]
    tested = {name.lower(): version.partition(";")[0] for name, _, version in pins}
    versions = {package["name"].lower(): package["version"] for package in listed}
    shared = tested.keys() & versions.keys()
    assert {"torch", "open_clip_torch"} <= shared
    assert {name: tested[name] for name in shared} == {name: versions[name] for name in shared}
