"""Pin the wheels that reach an artist: ask the package index through pip, measure, write packages.toml.

    python vendor/pin.py                 download every wheel once, write its name, hash and sizes
    python vendor/pin.py wheels DIR      download what travels inside every zip into DIR, hashes checked
    python vendor/pin.py wheels DIR BUILD PLATFORM PYTHON
                                         and what a zip that carries PyTorch needs besides, such as:
                                         cpu linux-x64 3.11

Versions that requirements.txt pins are taken from there, the others from packages.toml itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LIST = HERE / "packages.toml"
PYTHONS = ("3.11", "3.13")  # Blender 4.2 to 5.0, and from 5.1
PLATFORMS = {  # Blender's names for what PyTorch is made for, and the tags of wheels that run there
    "linux-x64": ("manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1))),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_14_0_arm64", "macosx_11_0_arm64"),
}
HEADER = """\
# What others made and an artist gets, by name, version, licence, file and sha256. Written by pin.py.
#
# travels = "zip": a small wheel for every platform, put into the zip by build.py package.
# travels = "install": fetched by "Install PyTorch" in the preferences. Never numpy: Blender brings it.
# build: only for this build of PyTorch; platforms: only there. Of what PyTorch itself asks for, jinja2,
# fsspec, setuptools, triton and cuda-bindings are left out: it imports them to compile models, which nothing
# here does.
# module: how it is imported, where that is not its name.
# size, unpacked: bytes of the wheel and of what is in it.
# A file with an index is served by PyTorch's own index alone. Its line is written by hand: where it was not
# at hand its sizes are near, and without sha256 pip compares it with the hash that index publishes.
"""


def main(arguments: list[str]) -> int:
    """Write the list, or download what travels in a zip."""
    packages = tomllib.loads(LIST.read_text(encoding="utf-8"))["package"]
    if arguments[:1] == ["wheels"]:
        for path in fetch_wheels(packages, Path(arguments[1]), *arguments[2:]):
            print(path)
        return 0
    pins = (HERE / "requirements.txt").read_text(encoding="utf-8")
    required = dict(re.findall(r"^([\w-]+)==([^;\s]+)", pins, re.MULTILINE))
    for package in packages:
        before, package["version"] = package["version"], required.get(package["name"], package["version"])
        package["file"] = files_of(package, before)
    LIST.write_text(HEADER + "".join(written(package) for package in packages), encoding="utf-8")
    return 0


def fetch_wheels(
    packages: list[dict[str, Any]], folder: Path, build: str = "", platform: str = "", python: str = "3.11"
) -> Iterator[Path]:
    """The wheels of a zip, downloaded into `folder` unless they are there already.

    With a `build` of PyTorch also that build and what it needs, for one platform and Python.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        if package["travels"] == "zip":
            (file,) = package["file"]
        elif not build or package.get("build", build) != build:
            continue
        elif platform not in package.get("platforms", PLATFORMS):
            continue
        else:
            file = next((file for file in package["file"] if fits(file["name"], platform, python)), None)
            if file is None:
                raise SystemExit(
                    f"pin.py: {package['name']} for {build} is not made for {platform} and {python}."
                )
        path = folder / file["name"]
        if not path.exists() or not is_pinned(path, file):
            tags = PLATFORMS.get(platform, ()) or ("any",)
            download(requirement_of(package, file), folder, python, tags, file.get("index", ""))
        if not path.exists() or not is_pinned(path, file):
            raise SystemExit(f"pin.py: {path.name} is not the file that packages.toml names: do not use it.")
        yield path


def files_of(package: dict[str, Any], before: str) -> list[dict[str, Any]]:
    """Download every wheel of one package and describe it, once per file name.

    What only PyTorch's own index serves is kept as it was written; with another version than `before` its
    hash is no longer known.
    """
    found: dict[str, dict[str, Any]] = {}
    elsewhere = set()
    for file in package.get("file", []):
        if "index" in file:
            elsewhere |= {
                (platform, python)
                for platform in PLATFORMS
                for python in PYTHONS
                if fits(file["name"], platform, python)
            }
            if package["version"] != before:
                file = {key: value for key, value in file.items() if key != "sha256"}
                file["name"] = file["name"].replace(before, package["version"])
            found[file["name"]] = file
    if package["travels"] == "zip":
        targets = [("", PYTHONS[0])]
    else:
        platforms = package.get("platforms", list(PLATFORMS))
        targets = [(platform, python) for python in PYTHONS for platform in platforms]
    for platform, python in targets:
        if (platform, python) in elsewhere or any(fits(name, platform, python) for name in found):
            continue
        with tempfile.TemporaryDirectory() as folder:
            requirement = f"{package['name']}=={package['version']}"
            wheel = download(requirement, Path(folder), python, PLATFORMS.get(platform, ("any",)))
            found[wheel.name] = {
                "name": wheel.name,
                "sha256": sha256(wheel),
                "size": wheel.stat().st_size,
                "unpacked": sum(member.file_size for member in zipfile.ZipFile(wheel).infolist()),
            }
    return list(found.values())


def fits(file: str, platform: str, python: str) -> bool:
    """Whether a wheel is for this Python and platform, by the tags in its name."""
    pythons, abi, systems = file.removesuffix(".whl").split("-")[-3:]
    ours = systems == "any" or not set(systems.split(".")).isdisjoint(PLATFORMS.get(platform, ()))
    return ours and (
        pythons == f"cp{python.replace('.', '')}" or abi == "abi3" or "py3" in pythons.split(".")
    )


def requirement_of(package: dict[str, Any], file: dict[str, Any]) -> str:
    """One file as pip is asked for it, with its local version such as 2.13.0+cpu."""
    return f"{package['name']}=={file['name'].split('-')[1]}"


def download(
    requirement: str, folder: Path, python: str, platforms: tuple[str, ...], index: str = ""
) -> Path:
    """One wheel by pip, for a Python and a platform that need not be this one; returns its path."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    command += ["--index-url", index] if index else []
    for platform in platforms:
        command += ["--platform", platform]
    if subprocess.call([*command, "--dest", str(folder), requirement], stdout=sys.stderr):
        raise SystemExit(f"pin.py: {requirement} could not be downloaded: check the network.")
    name, _, version = requirement.partition("==")
    start = f"{name.replace('-', '_').lower()}-{version}-"
    return next(path for path in folder.glob("*.whl") if path.name.lower().startswith(start))


def is_pinned(path: Path, file: dict[str, Any]) -> bool:
    """Whether a file has the hash of the list; pip has compared one that has none there."""
    return "sha256" not in file or sha256(path) == file["sha256"]


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def written(package: dict[str, Any]) -> str:
    """One package as TOML; its strings, numbers and lists are spelt as in JSON."""
    lines = ["", "[[package]]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in package.items() if key != "file"]
    for file in package["file"]:
        lines.append("[[package.file]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in file.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
