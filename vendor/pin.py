"""Pin the wheels that reach an artist: ask the package index through pip, measure, write packages.toml.

    python vendor/pin.py             download every wheel once, write its name, hash and size
    python vendor/pin.py wheels DIR  download what travels inside the extension's zip into DIR, hashes checked

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LIST = HERE / "packages.toml"
PYTHONS = ("3.11", "3.13")  # Blender 4.2 to 5.0, and from 5.1
PLATFORMS = {
    "linux": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "windows": ("win_amd64",),
    "macos": ("macosx_14_0_arm64", "macosx_11_0_arm64"),
}
HEADER = """\
# What others made and an artist gets, by name, version, licence, file and sha256. Written by pin.py.
#
# travels = "zip": a small wheel for every platform, put into the zip by build.py package.
# travels = "install": fetched by "Install PyTorch" in the preferences. Never numpy: Blender brings it.
# A file without sha256 is served by PyTorch's own index, for Linux without CUDA. It was not at hand when this
# list was made: its size is near, and pip compares it with the hash that index publishes instead of one here.
"""


def main(arguments: list[str]) -> int:
    """Write the list, or download what travels in the zip."""
    packages = tomllib.loads(LIST.read_text(encoding="utf-8"))["package"]
    if arguments[:1] == ["wheels"]:
        for path in fetch_wheels(packages, Path(arguments[1])):
            print(path)
        return 0
    required = dict(
        re.findall(r"^([\w-]+)==([^;\s]+)", (HERE / "requirements.txt").read_text(), re.MULTILINE)
    )
    for package in packages:
        package["version"] = required.get(package["name"], package["version"])
        package["file"] = files_of(package)
    LIST.write_text(HEADER + "".join(written(package) for package in packages), encoding="utf-8")
    return 0


def fetch_wheels(packages: list[dict[str, Any]], folder: Path) -> Iterator[Path]:
    """The wheels of the zip, downloaded into `folder` unless they are there already."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        if package["travels"] != "zip":
            continue
        (file,) = package["file"]
        path = folder / file["name"]
        if not path.exists() or sha256(path) != file["sha256"]:
            download(f"{package['name']}=={package['version']}", folder, "3.11", ("any",))
        if not path.exists() or sha256(path) != file["sha256"]:
            raise SystemExit(f"pin.py: {path.name} is not the file that packages.toml names: do not use it.")
        yield path


def files_of(package: dict[str, Any]) -> list[dict[str, Any]]:
    """Download every wheel of one package and describe it, once per file name."""
    found: dict[str, dict[str, Any]] = {}
    requirement = f"{package['name']}=={package['version']}"
    if package["travels"] == "zip":
        targets = [("3.11", ("any",))]
    else:
        own_index = {file["name"]: file for file in package.get("file", []) if "index" in file}
        found.update(own_index)
        platforms = [tags for name, tags in PLATFORMS.items() if not (own_index and name == "linux")]
        targets = [(python, tags) for python in PYTHONS for tags in platforms]
    for python, tags in targets:
        with tempfile.TemporaryDirectory() as folder:
            wheel = download(requirement, Path(folder), python, tags)
            found[wheel.name] = {"name": wheel.name, "sha256": sha256(wheel), "size": wheel.stat().st_size}
    return list(found.values())


def download(requirement: str, folder: Path, python: str, platforms: tuple[str, ...]) -> Path:
    """One wheel by pip, for a Python and a platform that need not be this one; returns its path."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    for platform in platforms:
        command += ["--platform", platform]
    subprocess.run([*command, "--dest", str(folder), requirement], check=True)
    stem = re.split("[=]", requirement)[0].replace("-", "_").lower()
    return next(path for path in folder.glob("*.whl") if path.name.lower().startswith(f"{stem}-"))


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def written(package: dict[str, Any]) -> str:
    """One package as TOML; its strings and numbers are spelt as in JSON."""
    lines = ["", "[[package]]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in package.items() if key != "file"]
    for file in package["file"]:
        lines.append("[[package.file]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in file.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
