"""Which build of PyTorch a machine gets, by trees of files and drivers that machines have."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pointe_blender.setup import hardware
from pointe_blender.setup.hardware import Choice, Machine, Nvidia, choose

# A driver's library in which everything that is asked of it answers.
NVML = """
#include <string.h>
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { strncpy(text, DRIVER, length); return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = COUNT; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)(long)index; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    *major = device ? 8 : 6; *minor = device ? 9 : 1; return 0;
}
"""


def driver(folder: Path, version: str = "580.65.06", count: int = 2, init: int = 0) -> ctypes.CDLL:
    """A real library that stands in for NVIDIA's: a GTX 1080 beside an RTX 4090."""
    if not (compiler := shutil.which("cc")):
        pytest.skip("no C compiler here")
    (folder / "nvml.c").write_text(NVML)
    library = folder / f"libnvml-{version}-{count}-{init}.so"
    defined = [f'-DDRIVER="{version}"', f"-DCOUNT={count}", f"-DINIT={init}"]
    subprocess.run(
        [compiler, "-shared", "-fPIC", *defined, str(folder / "nvml.c"), "-o", str(library)], check=True
    )
    return ctypes.CDLL(str(library))


def test_the_driver_says_its_version_and_the_best_gpu(tmp_path: Path) -> None:
    assert hardware.ask_nvidia(lambda: driver(tmp_path)) == Nvidia(580, (8, 9))
    assert hardware.ask_nvidia(lambda: driver(tmp_path, "470.256.02", 1)) == Nvidia(470, (6, 1))


def test_a_driver_without_a_gpu_or_that_fails_counts_as_none(tmp_path: Path) -> None:
    assert hardware.ask_nvidia(lambda: driver(tmp_path, count=0)) is None
    assert hardware.ask_nvidia(lambda: driver(tmp_path, init=9)) is None
    assert hardware.ask_nvidia(lambda: driver(tmp_path, version="unknown")) is None
    assert hardware.ask_nvidia(lambda: ctypes.CDLL("libpointe-surely-absent.so")) is None
    assert hardware.ask_nvidia(lambda: ctypes.CDLL(None)) is None  # a library that is something else


@pytest.mark.parametrize(
    ("nvidia", "build"),
    [
        (Nvidia(580, (12, 0)), "cu130"),  # RTX 5090
        (Nvidia(581, (8, 9)), "cu130"),  # RTX 4090
        (Nvidia(595, (7, 5)), "cu130"),  # RTX 2060, GTX 1660
        (Nvidia(550, (8, 9)), "cu126"),  # the same with an older driver
        (Nvidia(580, (6, 1)), "cu126"),  # GTX 1080: CUDA 13 has nothing for it
        (Nvidia(525, (5, 2)), "cu126"),  # GTX 980
        (Nvidia(470, (8, 6)), "cpu"),
        (Nvidia(570, (12, 0)), "cpu"),
        (Nvidia(470, (3, 5)), "cpu"),  # GTX 780
    ],
)
@pytest.mark.parametrize("wish", ["auto", "nvidia"])
@pytest.mark.parametrize("system", ["linux", "win32"])
def test_nvidia(nvidia: Nvidia, build: str, wish: str, system: str) -> None:
    choice = choose(wish, Machine(system, nvidia))
    assert choice.build == build
    assert bool(choice.note) == (build == "cpu")


def test_an_old_driver_is_told_which_one_it_takes() -> None:
    assert choose("auto", Machine("linux", Nvidia(470, (8, 6)))).note == (
        "The NVIDIA driver 470 is too old for PyTorch, which needs 525 or newer: update it; until then the "
        "processor will be used."
    )
    assert "needs 580 or newer" in choose("auto", Machine("win32", Nvidia(570, (12, 0)))).note
    assert "of this age" in choose("auto", Machine("win32", Nvidia(470, (3, 5)))).note


def linux(root: Path, *targets: int, vendors: tuple[str, ...] = (), open_device: bool = True) -> Path:
    """The files of a Linux with these processors and GPUs, as the kernel numbers their architectures."""
    for i, target in enumerate(targets):
        node = root / "sys" / "class" / "kfd" / "kfd" / "topology" / "nodes" / str(i)
        node.mkdir(parents=True)
        (node / "properties").write_text(f"cpu_cores_count 16\ngfx_target_version {target}\nvendor_id 4098\n")
    for i, vendor in enumerate(vendors):
        device = root / "sys" / "class" / "drm" / f"card{i}" / "device"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
    (root / "dev").mkdir(parents=True, exist_ok=True)
    if open_device:
        (root / "dev" / "kfd").touch()
    return root


@pytest.fixture
def on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux without a driver of NVIDIA's, wherever the tests run."""

    def none() -> ctypes.CDLL:
        raise OSError

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(hardware, "nvidia_library", none)


@pytest.mark.parametrize(
    ("target", "name", "build"),
    [
        (110000, "gfx1100", "rocm7.2"),  # RX 7900
        (120001, "gfx1201", "rocm7.2"),  # RX 9070
        (90010, "gfx90a", "rocm7.2"),  # MI250
        (90402, "gfx942", "rocm7.2"),  # MI300
        (90006, "gfx906", "cpu"),  # Radeon VII: built for, but without matrix products
        (100306, "gfx1036", "cpu"),  # what sits in every Ryzen 7000
        (100302, "gfx1032", "cpu"),  # RX 6600
    ],
)
def test_amd_by_its_architecture(target: int, name: str, build: str, on_linux: None, tmp_path: Path) -> None:
    machine = hardware.look(linux(tmp_path, 0, target, vendors=("0x1002",)))
    assert machine == Machine("linux", None, amd=(name,))
    choice = choose("auto", machine)
    assert choice.build == build
    assert (name in choice.note) == (build == "cpu")


def test_one_amd_gpu_that_will_do_is_enough(on_linux: None, tmp_path: Path) -> None:
    assert choose("auto", hardware.look(linux(tmp_path, 0, 100306, 110001))) == Choice("rocm7.2")


def test_an_amd_gpu_that_this_user_may_not_use(on_linux: None, tmp_path: Path) -> None:
    choice = choose("auto", hardware.look(linux(tmp_path, 0, 110000, open_device=False)))
    assert choice.build == "cpu" and "group render" in choice.note


def test_nvidias_gpu_without_its_driver_is_told(on_linux: None, tmp_path: Path) -> None:
    machine = hardware.look(linux(tmp_path, 0, vendors=("0x8086", "0x10de")))
    assert machine == Machine("linux", bare_nvidia=True)
    choice = choose("auto", machine)
    assert choice.build == "cpu" and "install it" in choice.note


def test_a_machine_without_a_gpu(on_linux: None, tmp_path: Path) -> None:
    assert hardware.look(tmp_path) == Machine("linux")
    assert choose("auto", Machine("linux")) == Choice("cpu")


def test_nvidia_comes_before_amd() -> None:
    assert choose("auto", Machine("linux", Nvidia(580, (8, 6)), amd=("gfx1036",))) == Choice("cu130")


@pytest.mark.parametrize("wish", ["auto", "cpu", "nvidia", "amd"])
def test_a_mac_has_metal_whatever_is_wished(wish: str) -> None:
    assert choose(wish, Machine("darwin")) == Choice("metal")


def test_a_wish_comes_before_what_was_seen() -> None:
    seen = Machine("linux", Nvidia(580, (8, 6)))
    assert choose("cpu", seen) == Choice("cpu")
    assert choose("nvidia", Machine("win32")).build == "cu130"
    assert "No NVIDIA GPU is seen" in choose("nvidia", Machine("win32")).note
    assert choose("amd", seen).build == "rocm7.2"
    assert choose("amd", Machine("linux", amd=("gfx1032",))).build == "rocm7.2"
    assert choose("amd", Machine("linux", amd=("gfx1100",))) == Choice("rocm7.2")
    assert choose("amd", Machine("win32")).build == "cpu"
    assert "Linux only" in choose("amd", Machine("win32")).note


def test_looking_at_this_machine_imports_no_torch() -> None:
    machine = hardware.look()
    assert machine.system == sys.platform
    code = (
        "import sys\nfrom pointe_blender.setup import hardware\n"
        "hardware.look()\nprint('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("build", "said"),
    [
        ("cu126", "for NVIDIA GPUs (CUDA 12.6)"),
        ("cu130", "for NVIDIA GPUs (CUDA 13.0)"),
        ("rocm7.2", "for AMD GPUs (ROCm 7.2)"),
        ("metal", "with Metal"),
        ("cpu", "for the processor"),
    ],
)
def test_builds_in_words(build: str, said: str) -> None:
    assert hardware.describe(build) == said
