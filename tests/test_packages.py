"""What is found of PyTorch and judged without importing it, what is pinned, what is deleted and when."""

from __future__ import annotations

import importlib.machinery
import os
import platform
import site
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pointe_blender.pipeline.errors import CannotWrite, MissingPackage
from pointe_blender.setup import packages

LIST = Path(__file__).parents[1] / "vendor" / "packages.toml"
BROUGHT_BY_BLENDER = {"numpy", "requests", "certifi", "idna", "urllib3", "charset_normalizer", "zstandard"}
SYSTEMS = {"linux": "x86_64", "win32": "AMD64", "darwin": "arm64"}
BUILDS = {
    "linux": ("cpu", "cu126", "cu130", "rocm7.2"),
    "win32": ("cpu", "cu126", "cu130"),
    "darwin": ("metal",),
}


@pytest.fixture(autouse=True)
def path() -> Iterator[list[str]]:
    """What Python looks into, as it was before each test."""
    before = list(sys.path)
    yield before
    packages.activate()
    sys.path[:] = before


def torch_in(folder: Path, version: str = "2.13.0", kind: str = "cuda: Optional[str] = None") -> Path:
    """A folder that looks like PyTorch for this Python."""
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / "__init__.py").touch()
    (folder / "torch" / f"_C{importlib.machinery.EXTENSION_SUFFIXES[0]}").touch()
    text = f"from typing import Optional\n__version__ = '{version}'\ndebug = False\n{kind}\n"
    (folder / "torch" / "version.py").write_text(text)
    return folder


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that has no PyTorch but for what the test adds."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(
        sys, "path", [path for path in sys.path if not (Path(path) / "torch" / "version.py").exists()]
    )


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """As if PyTorch had been imported from a folder."""

    def load(folder: Path) -> None:
        module = type(sys)("torch")
        module.__file__ = str(folder / "torch" / "__init__.py")
        monkeypatch.setitem(sys.modules, "torch", module)

    return load


def test_missing_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "NEEDED", ("pointe_surely_absent", "this", "json"))
    assert packages.missing() == ["pointe_surely_absent"]
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("kind", "build"),
    [
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None", "cu130"),
        ("cuda = '12.6'\nhip = None", "cu126"),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '7.2.53211-e1a6bc5663'", "rocm7.2"),
        ("cuda: Optional[str] = None\nhip: Optional[str] = None", "cpu"),
    ],
)
def test_version_and_build_are_read_off_the_files(
    kind: str, build: str, without_torch: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    folder = torch_in(tmp_path / "site", "2.13.0+local", kind)
    assert packages.read(folder) == packages.Torch("2.13.0", build, folder)
    assert packages.found() is None
    packages.activate(folder)
    assert packages.found() == packages.Torch("2.13.0", build, folder)
    assert "torch" not in sys.modules


def test_the_torch_of_the_tests_is_told_as_it_tells_itself() -> None:
    torch = pytest.importorskip("torch")
    found = packages.found()
    assert found.version == torch.__version__.partition("+")[0]
    assert found.folder == Path(torch.__file__).parents[1]
    assert (found.build == "cpu") == (torch.version.cuda is None and sys.platform != "darwin")
    assert packages.complaint(found.folder) == ""


def test_one_that_is_loaded_counts_even_where_another_would_be_found(
    load: Callable[[Path], None], tmp_path: Path
) -> None:
    load(torch_in(tmp_path / "loaded", "2.9.1"))
    packages.activate(torch_in(tmp_path / "other"))
    assert packages.found() == packages.read(tmp_path / "loaded")


def test_a_folder_is_judged_without_importing_it(tmp_path: Path) -> None:
    assert "no PyTorch" in packages.complaint(tmp_path)
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "_C.cpython-27-vax.so").touch()
    assert "another Python" in packages.complaint(tmp_path)
    (tmp_path / "torch" / f"_C{importlib.machinery.EXTENSION_SUFFIXES[0]}").touch()
    assert "no known version" in packages.complaint(tmp_path)


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("1.13.1", False),
        ("2.3.1", False),
        ("2.4.0", True),
        ("2.13.0", True),
        ("2.15.1+cu132", True),
        ("3.0.0", False),
    ],
)
def test_the_version_must_fit(
    version: str, fits: bool, without_torch: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "NEEDED", ("torch",))
    folder = torch_in(tmp_path / "site", version)
    assert (packages.complaint(folder) == "") == fits
    packages.activate(folder)
    assert packages.missing() == ([] if fits else ["torch"])


def test_the_users_own_packages_are_looked_into(
    without_torch: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Blender runs on the system's Python, `pip install --user` puts them where it does not look."""
    monkeypatch.setattr(site, "getusersitepackages", lambda: str(tmp_path / "user"))
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path / "system")])
    assert packages.elsewhere() is None
    torch_in(tmp_path / "user", "1.13.1")
    assert packages.elsewhere() is None
    torch_in(tmp_path / "system")
    assert packages.elsewhere() == tmp_path / "system"
    monkeypatch.syspath_prepend(tmp_path / "system")
    assert packages.elsewhere() is None


def test_numpy_of_a_packages_folder_never_wins(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").touch()
    packages.activate(tmp_path)
    code = f"import sys; sys.path[:] = {sys.path}; import numpy; numpy.zeros(3)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def installation(target: Path, name: str, current: bool = False) -> Path:
    """An installation as the installer leaves it."""
    folder = torch_in(target / f"torch-{name}-{packages.PYTHON}")
    (folder / packages.IN_USE).touch()
    if current:
        (target / packages.CURRENT).write_text(folder.name)
    return folder


def test_another_build_waits_while_one_is_loaded(
    without_torch: None, load: Callable[[Path], None], path: list[str], tmp_path: Path
) -> None:
    old = installation(tmp_path, "2.13.0-cpu", current=True)
    packages.activate(packages.installed(tmp_path))
    load(old)
    new = installation(tmp_path, "2.13.0-cu130", current=True)
    packages.activate(packages.installed(tmp_path))
    assert packages.active() == (old,) and str(new) not in sys.path
    packages.sweep(tmp_path)
    assert (old / "torch").exists(), "it is loaded"

    del sys.modules["torch"]  # the next start
    packages.activate(packages.installed(tmp_path))
    assert packages.active() == (new,) and str(old) not in sys.path
    packages.sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [packages.CURRENT, new.name]


def test_what_another_blender_runs_on_is_not_deleted(tmp_path: Path) -> None:
    old = installation(tmp_path, "2.13.0-cpu")
    installation(tmp_path, "2.13.0-cu130", current=True)
    code = (
        "from pathlib import Path\nfrom pointe_blender.setup import packages\n"
        f"packages.activate(Path({str(old)!r}))\nprint('on it', flush=True)\ninput()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert other.stdout.readline() == "on it\n"
    packages.sweep(tmp_path)
    assert (old / "torch" / "version.py").exists()
    other.communicate("\n", timeout=20)
    packages.sweep(tmp_path)
    assert not old.exists()


def test_an_installation_of_before_there_were_builds_counts(tmp_path: Path) -> None:
    old = torch_in(tmp_path / f"torch-2.13.0+cpu-{packages.PYTHON}")
    torch_in(tmp_path / "torch-2.13.0+cpu-cp27")
    assert packages.installed(tmp_path) == old
    assert packages.leftovers(tmp_path) == []


def test_use_does_not_change_which_one_counts(tmp_path: Path) -> None:
    """Python writes into what it imports from, so the time of a folder's last change says nothing."""
    old = installation(tmp_path, "2.13.0-cpu")
    new = installation(tmp_path, "2.13.0-cu130", current=True)
    (old / "__pycache__").mkdir()
    os.utime(new, (1, 1))
    assert packages.installed(tmp_path) == new


def test_remove(load: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = installation(tmp_path / "packages", "2.13.0-cpu", current=True)
    packages.activate(folder)
    load(folder)
    with pytest.raises(CannotWrite, match="restart Blender"):
        packages.remove(tmp_path / "packages")
    assert packages.installed(tmp_path / "packages")

    monkeypatch.delitem(sys.modules, "torch")
    packages.remove(tmp_path / "packages")
    assert not (tmp_path / "packages").exists()
    assert str(folder) not in sys.path


@pytest.mark.parametrize("python", ["cp311", "cp313"])
@pytest.mark.parametrize(
    ("system", "build"), [(s, build) for s, builds in BUILDS.items() for build in builds]
)
def test_the_list_has_every_wheel_for(
    system: str, build: str, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: SYSTEMS[system])
    monkeypatch.setattr(packages, "PYTHON", python)
    wheels, others = packages.wanted(build), packages.beside(["PIL", "regex"])
    names = {wheel.name for wheel in wheels}
    assert wheels[-1].name == "torch" and {wheel.name for wheel in others} == {"Pillow", "regex"}
    assert wheels[-1].version.partition("+")[0] == packages.pinned_version()
    assert set(others) <= set(wheels)
    assert all(wheel.sha256 or wheel.index for wheel in wheels)
    assert all(0 < wheel.size < wheel.unpacked for wheel in wheels)
    cuda = {name for name in names if name.startswith("nvidia-")}
    assert bool(cuda) == (system == "linux" and build.startswith("cu"))
    assert len(cuda) in (0, 15)


def test_no_build_brings_what_belongs_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    old, new = ({wheel.name for wheel in packages.wanted(build)} for build in ("cu126", "cu130"))
    assert not {name for name in old & new if name.startswith("nvidia-")}


@pytest.mark.parametrize(("system", "build"), [("darwin", "cu130"), ("win32", "rocm7.2"), ("linux", "metal")])
def test_a_build_that_is_not_made_for_a_system_gets_a_remedy(
    system: str, build: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: SYSTEMS[system])
    with pytest.raises(MissingPackage, match="choose a packages folder"):
        packages.wanted(build)


def test_a_python_without_pytorch_gets_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PYTHON", "cp27")
    with pytest.raises(MissingPackage, match="choose a packages folder"):
        packages.wanted("cpu")
    assert [wheel.name for wheel in packages.beside(["safetensors"])] == ["safetensors"]  # for any Python


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


def test_only_pytorchs_own_index_serves_what_has_no_hash() -> None:
    for package in tomllib.loads(LIST.read_text(encoding="utf-8"))["package"]:
        for file in package["file"]:
            if "index" in file:
                local = file["name"].split("-")[1].partition("+")[2]
                assert package["name"] == "torch" and local == package["build"]
                assert file["index"] == f"https://download.pytorch.org/whl/{local}"


def test_an_artist_gets_the_versions_that_are_tested_here() -> None:
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))["package"]
    pins = [line.partition("==") for line in LIST.with_name("requirements.txt").read_text().splitlines()]
    tested = {name.lower(): version.partition(";")[0] for name, _, version in pins}
    versions = {package["name"].lower(): package["version"] for package in listed}
    shared = tested.keys() & versions.keys()
    assert {"torch", "open_clip_torch"} <= shared
    assert {name: tested[name] for name in shared} == {name: versions[name] for name in shared}
