"""The one command for people who work on this project.

    python build.py run "a red chair"   make an object inside Blender: .blend, .ply, .glb and .png under out/
    python build.py run --image FILE    the same from a picture; also --seed, --models, --steps, --guidance,
                                        --resolution, --device, --output-folder
    python build.py test [PYTEST ...]   lint, types and every test
    python build.py check               lint and types alone
    python build.py bench               what everything costs on this machine, see docs/benchmarks/README.md;
                                        --quick: some of it; --reference DIR: beside the official code
    python build.py bench interface     how long the interface waits while the pipeline computes; --json FILE
    python build.py tune                search the schedules of the quality levels anew
    python build.py parity DIR          compare every network with recorded answers of the released models
    python build.py package             the extension's zip under dist/, built by Blender's own tool
    python build.py package --with-torch cpu
                                        zips that carry PyTorch for machines without network, one for each
                                        platform and Python; --platform NAME, --python 3.11: only these
    python build.py evaluate FOLDER     how good the clouds and meshes in a folder are, see docs/evaluation.md
    python build.py pictures            take the pictures of docs/ anew in a Blender with its window
    python build.py train starter       make the starter models again; --minutes N --device NAME

The first call sets up .venv with the versions pinned in vendor/requirements.txt.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

BLENDERS = {(3, 11): "5.0", (3, 13): "5.2"}


def wrong_python(major: int, minor: int) -> str:
    """What to tell a Python that Blender does not come for; empty for one that it does."""
    if (major, minor) in BLENDERS:
        return ""
    return (
        f"build.py: this is Python {major}.{minor}, but Blender as a module needs Python 3.11 (Blender 5.0) "
        "or Python 3.13 (Blender 5.2): start it with one of these, as in: python3.11 build.py test"
    )


# Older Pythons stop here with that sentence, so everything in this file parses in all of them.
if wrong_python(*sys.version_info[:2]):
    sys.exit(wrong_python(*sys.version_info[:2]))

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "vendor" / "requirements.txt"
# Blender versions beside the one in .venv under which the Blender half is tested.
FURTHER_BLENDERS = {(3, 11): ("4.2.23", "4.5.15"), (3, 13): ("5.1.2",)}
TORCH_INDEXES = {
    "cpu": "https://download.pytorch.org/whl/cpu",
    "cu126": "https://download.pytorch.org/whl/cu126",
    "cu130": "https://download.pytorch.org/whl/cu130",
    "rocm": "https://download.pytorch.org/whl/rocm7.2",
    "default": "",
}
# The PyTorch in a zip that carries one, and the Blenders that a Python belongs to, as the manifest has them.
TORCH_BUILDS = {"linux-x64": "cpu", "windows-x64": "cpu", "macos-arm64": "metal"}
BLENDER_RANGES = {
    "3.11": {"blender_version_min": '"4.2.0"', "blender_version_max": '"5.1.0"'},
    "3.13": {"blender_version_min": '"5.1.0"'},
}
SYSTEM_LIBRARIES = {  # name without version: (Debian, Ubuntu; Fedora)
    "libX11": ("libx11-6", "libX11"),
    "libXrender": ("libxrender1", "libXrender"),
    "libXfixes": ("libxfixes3", "libXfixes"),
    "libXxf86vm": ("libxxf86vm1", "libXxf86vm"),
    "libXi": ("libxi6", "libXi"),
    "libXext": ("libxext6", "libXext"),
    "libxcb": ("libxcb1", "libxcb"),
    "libxkbcommon": ("libxkbcommon0", "libxkbcommon"),
    "libSM": ("libsm6", "libSM"),
    "libICE": ("libice6", "libICE"),
    "libGL": ("libgl1", "libglvnd-glx"),
    "libGLX": ("libglx0", "libglvnd-glx"),
    "libEGL": ("libegl1", "libglvnd-egl"),
    "libgomp": ("libgomp1", "libgomp"),
}


class Failed(Exception):
    """A step that did not work; the message says which and what to do."""


# --- the environment ---------------------------------------------------------------------------------


def python_of(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def pinned(*names: str) -> list[str]:
    """The pins of these packages from vendor/requirements.txt."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.partition("==")[0] in names]


def pip(python: Path, *arguments: str) -> None:
    """Call pip quietly; what it had to say is shown only when it fails."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Failed(
            f"{done.stdout}\nbuild.py: pip failed (its own words are above): "
            "check the network and the free disk space, then run the same command again."
        )


def set_up(folder: Path, label: str, stamp: dict[str, str], *installs: list[str]) -> Path:
    """Make a virtual environment, or find it as it should be; return its interpreter.

    The stamp is written last: without the right one an environment is made again from nothing.
    """
    pins = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = {**stamp, "python": sys.version, "pins": pins, "installs": json.dumps(installs)}
    if read_stamp(folder) != stamp:
        print(f"build.py: setting up {folder.relative_to(ROOT)} with {label}: some minutes, once", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        if subprocess.call([sys.executable, "-m", "venv", str(folder)]):
            raise Failed("build.py: Python could not make a virtual environment: do what it says above.")
        for arguments in installs:
            pip(python_of(folder), "install", "--no-compile", *arguments)
        (folder / "stamp.json").write_text(json.dumps(stamp), encoding="utf-8")
    return python_of(folder)


def read_stamp(folder: Path) -> dict[str, str]:
    """What a whole environment was made from; empty for none or half of one."""
    try:
        return dict(json.loads((folder / "stamp.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def environment(torch: str | None = None) -> Path:
    """The interpreter of .venv; a choice of PyTorch lasts until another one is made."""
    torch = torch or read_stamp(VENV).get("torch", "default")
    installs = [["--requirement", str(REQUIREMENTS)]]
    if TORCH_INDEXES[torch]:
        installs.insert(0, ["--index-url", TORCH_INDEXES[torch], *pinned("torch", "torchvision")])
    label = f"Blender {BLENDERS[sys.version_info[:2]]} and PyTorch"
    python = set_up(VENV, label, {"torch": torch}, *installs)
    require_system_libraries(VENV)
    return python


def further_environments() -> list[Path]:
    """The interpreters of the other Blender versions, which have no PyTorch."""
    pythons = []
    for version in FURTHER_BLENDERS[sys.version_info[:2]]:
        folder = VENV / f"bpy-{version.rpartition('.')[0]}"
        pythons.append(
            set_up(folder, f"Blender {version}", {}, [f"bpy=={version}", *pinned("pytest", "Pillow")])
        )
    return pythons


def missing_libraries(ldd: str) -> list[str]:
    """The library names that `ldd` did not find."""
    return sorted(set(re.findall(r"^\s*(\S+) => not found", ldd, re.MULTILINE)))


def name_packages(missing: list[str]) -> str:
    """One sentence on which packages bring the missing system libraries."""
    stems = [name.partition(".so")[0] for name in missing]
    pairs = [SYSTEM_LIBRARIES.get(stem, (stem, stem)) for stem in stems]
    debian, fedora = (" ".join(sorted(set(names))) for names in zip(*pairs, strict=True))
    return (
        f"build.py: Blender needs {', '.join(missing)} from the system; "
        f"on Debian and Ubuntu: sudo apt install {debian}; on Fedora: sudo dnf install {fedora}"
    )


def require_system_libraries(folder: Path) -> None:
    """Stop with the packages to install where Blender's library cannot be loaded on this machine."""
    if sys.platform != "linux" or not shutil.which("ldd"):
        return
    (library,) = folder.glob("lib/python*/site-packages/bpy/__init__.so")
    ldd = subprocess.run(["ldd", str(library)], capture_output=True, text=True)
    missing = missing_libraries(ldd.stdout)
    if missing:
        raise Failed(name_packages(missing))


# --- the commands ------------------------------------------------------------------------------------


def call(*command: str | Path, cwd: Path | None = None) -> int:
    """Run a command that can import the package; return its exit code."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.call([str(part) for part in command], cwd=cwd, env=environ)


def check(python: Path) -> int:
    """Lint, format and types."""
    tools = (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"])
    return max(call(python, "-m", *tool, cwd=ROOT) for tool in tools)


def test(python: Path, arguments: list[str]) -> int:
    """Everything; the closing summary of the whole suite is the last thing printed."""
    codes = [check(python)]
    for further in further_environments():
        codes.append(call(further, "-m", "pytest", "--quiet", "tests/blender", cwd=ROOT))
    codes.append(call(python, "-m", "pytest", *arguments, cwd=ROOT))
    return next((code for code in codes if code), 0)


def package(python: Path, arguments: list[str]) -> int:
    """The extension's zip, or one per platform and Python that carries PyTorch."""
    parser = argparse.ArgumentParser(prog="build.py package", allow_abbrev=False)
    parser.add_argument(
        "--with-torch", choices=["cpu"], help="put PyTorch for the processor (Metal on Macs) in"
    )
    parser.add_argument("--platform", action="append", choices=list(TORCH_BUILDS), help="only for this one")
    parser.add_argument("--python", action="append", choices=list(BLENDER_RANGES), help="only for this one")
    options = parser.parse_args(arguments)
    if not options.with_torch:
        if options.platform or options.python:
            parser.error("a zip without PyTorch is for every platform and Python")
        return build_zip(python, fetch_wheels(python), "", {})
    codes = []
    for platform in options.platform or TORCH_BUILDS:
        for version in options.python or BLENDER_RANGES:
            label = f"{platform}-cp{version.replace('.', '')}-torch"
            try:
                wheels = fetch_wheels(python, TORCH_BUILDS[platform], platform, version)
                fields = {"platforms": json.dumps([platform]), **BLENDER_RANGES[version]}
                codes.append(build_zip(python, wheels, f"-{label}", fields))
            except Failed as failure:  # one platform's wheels are out of reach: the others can be made
                print(f"{failure}\nbuild.py: {label} was left out.", file=sys.stderr)
                codes.append(1)
    return max(codes)


def fetch_wheels(python: Path, *target: str) -> list[Path]:
    """The wheels that travel in a zip, hashes checked.

    `target` is a build of PyTorch, a platform and a Python; without one PyTorch is not among them.
    """
    wheels = ROOT / "vendor" / "wheels"
    pin = [str(python), str(ROOT / "vendor" / "pin.py"), "wheels", str(wheels), *target]
    listed = subprocess.run(pin, capture_output=True, text=True)
    if listed.returncode:
        raise Failed(
            f"{listed.stderr}\nbuild.py: the wheels that travel in the zip could not be fetched (see above)."
        )
    return [Path(line) for line in listed.stdout.splitlines()]


def build_zip(python: Path, wheels: list[Path], label: str, fields: dict[str, str]) -> int:
    """Stage the manifest beside the contents of the package, and have Blender's own builder make the zip.

    `fields` of the manifest are replaced or added, their values as TOML.
    """
    dist = ROOT / "dist"
    stage = dist / "pointe_blender"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(ROOT / "pointe_blender", stage, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "LICENSE", stage)
    shutil.copy(ROOT / "vendor" / "packages.toml", stage)
    (stage / "wheels").mkdir()
    names = [Path(shutil.copy(wheel, stage / "wheels")).name for wheel in wheels]
    fields = {**fields, "wheels": json.dumps([f"./wheels/{name}" for name in names], indent=4)}
    manifest = (ROOT / "blender_manifest.toml").read_text(encoding="utf-8")
    version = re.findall(r'^version = "(.+)"', manifest, re.MULTILINE)[0]
    head, permissions = manifest.split("\n[permissions]")
    for name, value in fields.items():
        head = re.sub(rf"^{name} = .*\n", "", head, flags=re.MULTILINE) + f"{name} = {value}\n"
    (stage / "blender_manifest.toml").write_text(f"{head}\n[permissions]{permissions}", encoding="utf-8")

    (scripts,) = VENV.glob("[Ll]ib/**/site-packages/bpy/*/scripts")
    tool = scripts / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
    tags = ("--valid-tags", scripts / "modules" / "_bpy_internal" / "extensions" / "tags.py")
    target = dist / f"pointe_blender-{version}{label}.zip"
    try:
        return call(python, tool, "build", "--source-dir", stage, "--output-filepath", target, *tags) or call(
            python, tool, "validate", target, *tags
        )
    finally:
        shutil.rmtree(stage)


def main(arguments: list[str]) -> int:
    """Carry out one command."""
    parser = argparse.ArgumentParser(
        prog="build.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "command",
        metavar="COMMAND",
        choices=[
            *("run", "test", "check", "bench", "tune", "parity"),
            *("package", "evaluate", "pictures", "train"),
        ],
    )
    parser.add_argument("--torch", choices=sorted(TORCH_INDEXES), help="where PyTorch comes from")
    options, rest = parser.parse_known_args(arguments)
    if options.command == "check" and rest:
        parser.error("check takes no further arguments")
    if options.command == "train" and rest[:1] != ["starter"]:
        parser.error("the models that can be trained here are the starter models: build.py train starter")
    try:
        python = environment(options.torch)
        if options.command == "run":
            return call(python, "-m", "pointe_blender.showcase", *rest)
        if options.command == "test":
            return test(python, rest)
        if options.command == "check":
            return check(python)
        if options.command == "bench":
            if rest[:1] == ["interface"]:
                return call(python, ROOT / "tests" / "bench" / "interface.py", *rest[1:])
            return call(python, "-m", "tests.bench", *rest)
        if options.command == "tune":
            return call(python, "-m", "pointe_blender.pipeline.tuning.search", *rest)
        if options.command == "parity":
            return call(python, ROOT / "tests" / "parity.py", *rest)
        if options.command == "evaluate":
            return call(python, "-m", "pointe_blender", "evaluate", *rest)
        if options.command == "pictures":
            return call(python, "-m", "tests.window.take_pictures", *rest, cwd=ROOT)
        if options.command == "train":
            return call(python, "-m", "pointe_blender.pipeline.starter.train", *rest[1:])
        return package(python, rest)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
