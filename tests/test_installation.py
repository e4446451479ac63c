"""PyTorch's installer: what it leaves behind, whatever the network, the disk and the user do to it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from pointe_blender.pipeline.errors import CannotWrite, DownloadFailed, MissingPackage
from pointe_blender.pipeline.sets import Doing
from pointe_blender.setup import installation, packages
from pointe_blender.setup.installation import install
from pointe_blender.setup.packages import Wheel
from tests.package_index import Index, serving


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
    monkeypatch.setattr(installation, "SMALL", 10_000)
    return pinned


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def final(target: Path) -> Path:
    return target / f"torch-9.9-cpu-{packages.PYTHON}"


def test_installs_every_wheel_and_nothing_else(wheels: list[Wheel], tmp_path: Path) -> None:
    updates = list(install(tmp_path, wheels, "cpu"))

    fractions = [update.fraction for update in updates]
    assert fractions == sorted(fractions)
    assert updates[-1] == Doing("Installed", 1.0)
    assert contents(tmp_path) == [packages.CURRENT, final(tmp_path).name]
    assert packages.installed(tmp_path) == final(tmp_path)
    assert contents(final(tmp_path)) == [
        packages.IN_USE,
        "pointe_needed-1.2.dist-info",
        "pointe_needed.py",
        "torch",
        "torch-9.9.dist-info",
    ]


def test_packages_are_found_while_their_folder_is_active(wheels: list[Wheel], tmp_path: Path) -> None:
    before = list(sys.path)
    for _ in install(tmp_path, wheels, "cpu"):
        pass
    assert importlib.util.find_spec("pointe_needed") is None
    packages.activate(final(tmp_path))
    try:
        assert importlib.util.find_spec("pointe_needed").origin == str(final(tmp_path) / "pointe_needed.py")
    finally:
        packages.activate()
    assert sys.path == before
    assert importlib.util.find_spec("pointe_needed") is None


@pytest.mark.parametrize("fault", ["cut", "other"])
def test_a_bad_file_is_refused_and_the_good_ones_are_kept(
    fault: str, index: Index, wheels: list[Wheel], tmp_path: Path
) -> None:
    needed, torch = wheels
    index.fault[torch.file] = fault
    with pytest.raises(DownloadFailed, match="torch"):
        list(install(tmp_path, wheels, "cpu"))
    assert packages.installed(tmp_path) is None
    assert contents(tmp_path) == ["downloads"]
    assert contents(tmp_path / "downloads") == [needed.file]

    index.fault.clear()
    index.served.clear()
    list(install(tmp_path, wheels, "cpu"))
    assert set(index.served) == {torch.file}
    assert contents(tmp_path) == [packages.CURRENT, final(tmp_path).name]


def test_a_kept_file_that_changed_is_fetched_again(index: Index, wheels: list[Wheel], tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / wheels[0].file).write_bytes(b"half a whe")
    list(install(tmp_path, wheels, "cpu"))
    assert wheels[0].file in index.served
    assert (final(tmp_path) / "pointe_needed.py").read_text() == "answer = 42\n"


def test_cancel_ends_a_pip_that_is_stuck_and_leaves_nothing(
    index: Index, wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    index.fault[wheels[1].file] = "stuck"
    run = install(tmp_path, wheels, "cpu")
    while not index.served or index.served[-1] != wheels[1].file:
        update = next(run)
    assert update.text == "Fetching torch"

    run.close()
    assert all(process.poll() is not None for process in started)
    assert contents(tmp_path) == []


def test_a_new_one_never_touches_the_old_one(index: Index, wheels: list[Wheel], tmp_path: Path) -> None:
    del wheels[0]
    list(install(tmp_path, wheels, "cpu"))
    before = {path: path.stat().st_mtime_ns for path in final(tmp_path).rglob("*")}
    index.fault[wheels[0].file] = "other"
    with pytest.raises(DownloadFailed):
        list(install(tmp_path, wheels, "cpu"))
    run = install(tmp_path, wheels, "cpu")
    next(run)
    run.close()
    assert packages.installed(tmp_path) == final(tmp_path)

    index.fault.clear()
    list(install(tmp_path, wheels, "cpu"))
    new = packages.installed(tmp_path)
    assert new == final(tmp_path).with_name(f"{final(tmp_path).name}.2")
    assert contents(new) == contents(final(tmp_path))
    assert before == {path: path.stat().st_mtime_ns for path in final(tmp_path).rglob("*")}


def test_killed_in_the_middle_it_starts_again(
    index: Index, wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill ends no block: what lies around is what the disk had at that moment."""
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from pointe_blender.setup import installation\nfrom pointe_blender.setup.packages import Wheel\n"
        f"installation.SMALL = {installation.SMALL}\n"
        f"for update in installation.install(Path({str(tmp_path)!r}), {wheels!r}, 'cpu'):\n"
        "    if update.text == sys.argv[1]: os._exit(9)"
    )
    for moment in ("Fetching torch", "Unpacking"):
        done = subprocess.run([sys.executable, "-c", code, moment], cwd=Path(__file__).parents[1])
        assert done.returncode == 9
        assert packages.installed(tmp_path) is None
    index.served.clear()
    list(install(tmp_path, wheels, "cpu"))
    assert wheels[0].file not in index.served
    packages.sweep(tmp_path)
    assert contents(tmp_path) == [packages.CURRENT, final(tmp_path).name]


@pytest.mark.skipif(sys.platform != "linux", reason="the names of the wheels are those for Linux")
@pytest.mark.parametrize("build", ["cpu", "cu130", "cu126", "rocm7.2"])
def test_every_build_comes_by_its_pinned_names(
    build: str, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch and the first library of its build: small wheels under the names of the list."""
    listed = packages.wanted(build)
    some = [wheel for wheel in listed if wheel.name in ("torch", "nvidia-cublas", "nvidia-cublas-cu12")]
    assert len(some) == (2 if build.startswith("cu") else 1)
    published = []
    for wheel in some:
        stem = wheel.name.replace("-", "_").lower()
        page = wheel.index.rpartition("/")[2] or "simple"
        served = index.add(wheel.name, wheel.version, {f"{stem}/__init__.py": ""}, wheel.file, page)
        published.append(replace(served, sha256=served.sha256 if wheel.sha256 else ""))
    list(install(tmp_path, published, build))
    assert {"torch", published[0].name.replace("-", "_").lower()} <= set(
        contents(packages.installed(tmp_path))
    )
    assert packages.installed(tmp_path).name == f"torch-2.13.0-{build}-{packages.PYTHON}"


def test_rate_and_remaining_time_are_told() -> None:
    assert installation._told("torch", 0, 2_800_000_000, 0.0) == Doing(
        "Fetching torch", 0.0, "0 kB of 2.8 GB"
    )
    half = installation._told("torch", 1_400_000_000, 2_800_000_000, 20_000_000)
    assert half == Doing("Fetching torch", 0.4, "1.4 GB of 2.8 GB, 20 MB/s, 70 s left")


def test_small_wheels_come_with_one_pip_and_those_of_another_index_by_themselves(
    index: Index, wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = index.add("pointe_more", "3", {"pointe_more.py": ""})
    other = index.add("pointe_other", "4", {"pointe_other.py": ""}, index="other")
    wheels[:] = sorted([*wheels, more, other], key=lambda wheel: wheel.size)
    told = list(dict.fromkeys(update.text for update in install(tmp_path, wheels, "cpu")))
    assert told == [
        *("Fetching the small packages", "Fetching pointe_other", "Fetching torch"),
        *("Unpacking", "Installed"),
    ]
    assert {"pointe_needed.py", "pointe_more.py", "pointe_other.py", "torch"} <= set(
        contents(final(tmp_path))
    )


def test_no_network(wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    with pytest.raises(DownloadFailed, match="check the network and try again"):
        list(install(tmp_path, wheels, "cpu"))
    assert packages.installed(tmp_path) is None


def test_full_disk(wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(1, 1, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    needed = sum(wheel.size + wheel.unpacked for wheel in wheels)
    assert installation.space(wheels) == needed > sum(wheel.size for wheel in wheels)
    with pytest.raises(CannotWrite, match=r"GB in .* make room"):
        list(install(tmp_path, wheels, "cpu"))
    assert contents(tmp_path) == ["downloads"]


def test_folder_that_cannot_be_made(wheels: list[Wheel], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match="cannot be written"):
        list(install(tmp_path / "file" / "packages", wheels, "cpu"))


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
        list(install(tmp_path, wheels, "cpu"))
    assert contents(tmp_path) == []


def test_pip_that_python_carries(
    wheels: list[Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("this Python carries no pip")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else find(name))
    list(install(tmp_path, wheels, "cpu"))
    assert (final(tmp_path) / "pointe_needed.py").exists()
