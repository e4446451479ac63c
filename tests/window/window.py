"""Blender in its window with this extension installed from its zip: what tests and pictures share.

It runs where these say how:

POINTE_BLENDER
    A command that starts Blender with its window and the arguments that follow, in the current folder,
    such as "blender", or "xvfb-run blender" where there is no screen.
POINTE_PACKAGES
    The folder, as that Blender sees it, that holds PyTorch for its Python. Without it only the state without
    PyTorch can be seen.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = shlex.split(os.environ.get("POINTE_BLENDER", ""))
PACKAGES = os.environ.get("POINTE_PACKAGES", "")


def blender(*arguments: str, folder: Path) -> str:
    """Run Blender to its end, with preferences of its own; returns what it printed."""
    environment = os.environ | {"BLENDER_USER_RESOURCES": str(folder / "user")}
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment,
        timeout=900,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"Blender ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def prepare(folder: Path) -> None:
    """An empty folder with the drivers in it, and the extension installed for it by Blender's own command."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "user").mkdir(parents=True)
    for driver in Path(__file__).parent.glob("drive*.py"):
        shutil.copy(driver, folder)
    subprocess.run([sys.executable, ROOT / "build.py", "package"], check=True)
    install(max((ROOT / "dist").glob("*.zip"), key=lambda path: path.stat().st_mtime), folder)


def install(archive: Path, folder: Path) -> None:
    """Install a zip, over an older one too."""
    if archive.parent != folder:
        archive = Path(shutil.copy(archive, folder))
    said = blender(
        *("--command", "extension", "install-file", "-r", "user_default", "--enable", archive.name),
        folder=folder,
    )
    if not re.search("(I|Rei)nstalled", said):
        raise RuntimeError(said)


def drive(folder: Path, driver: str, *arguments: str) -> dict[str, Any]:
    """Let a driver click in Blender's window; returns its report."""
    (folder / "report.json").unlink(missing_ok=True)
    said = blender("--enable-event-simulate", "--python", driver, "--", *arguments, folder=folder)
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    if "traceback" in report:
        raise RuntimeError(report["traceback"] + said)
    return report
