"""Unloading gives the memory back, measured from outside on a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

RUN = """
import json, psutil
from pointe_blender.pipeline import Request, generate, memory

def resident():
    return psutil.Process().memory_info().rss

def make(prompt):
    *_, last = generate(Request(prompt=prompt, output="mesh", steps=2, resolution=16, device="cpu"))

make("a red chair")  # what Python and PyTorch themselves take stays until Blender ends
memory.unload()
before = resident()
make("a blue table")
held, during = memory.resident_bytes(), resident()
memory.unload()
print(json.dumps({"before": before, "held": held, "during": during, "after": resident()}))
"""


def test_unloading_gives_back_what_a_run_took() -> None:
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["held"] > 5_000_000
    assert measured["after"] < 1.1 * measured["before"], measured
