"""Measurements that need a process of their own: a module is run anew and answers in JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class ChildFailed(Exception):
    """A measurement whose process did not come to its end."""


def ask(module: str, **arguments: Any) -> Any:
    """Run `module` of this folder in a fresh process with these keyword arguments; return its answer.

    Raises
    ------
    ChildFailed
    """
    command = [sys.executable, "-m", f"tests.bench.{module}", json.dumps(arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ChildFailed(f"tests.bench.{module} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def answer(work: Callable[..., Any]) -> None:
    """Do the work with the arguments of this process, say what came of it, and end at once."""
    print("\n" + json.dumps(work(**json.loads(sys.argv[1]))), flush=True)
    os._exit(0)  # some builds of Blender as a module crash on the way out
