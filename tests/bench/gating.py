"""The gates beside the figures: what must hold for them to count."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from pointe_blender.pipeline.models import MODEL_SETS
from pointe_blender.pipeline.tuning.cases import Level
from pointe_blender.pipeline.tuning.gates import Gate, gates_of

from . import meshes
from .children import ROOT, ChildFailed
from .table import Row, shown

RMS = 1e-3  # of places, in a race of few and so of large steps, which magnify what is rounded
VERTICES = 1e-6  # between two meshes of one field
LEVELS: tuple[Level, ...] = ("high", "fast")


def row(
    name: str, models: str, device: str, quality: str, value: float, limit: float, passed: bool, how: str = ""
) -> Row:
    """A gate as a line of the table."""
    said = "passed" if passed else "NOT passed"
    return Row(
        "Gates",
        name,
        models,
        device,
        quality,
        value,
        "",
        wanted=f"≤ {shown(limit, '')}",
        passed=passed,
        verdict=said,
        how=how,
    )


def schedules(sets: Sequence[str]) -> Iterator[Row]:
    """Qualities "high" and "fast", on trained weights where they are here, else on an exact denoiser."""
    asked = [(name, level) for name in sets for level in LEVELS]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for (name, level), gates in zip(asked, pool.map(_gates, asked), strict=True):
            for gate in gates:
                yield row(gate.name, name, "cpu", level, gate.value, gate.limit, gate.passed, gate.detail)


def _gates(asked: tuple[str, Level]) -> tuple[Gate, ...]:
    """Those of one level of one set, on one core."""
    torch.set_num_threads(1)
    name, level = asked
    return gates_of(MODEL_SETS[name], level)


def same_noise(models: str, apart: float) -> Row:
    """Quality "exact" beside the official program in the race that was timed."""
    how = "root mean square of x, y, z between the clouds that were raced"
    return row("this program's points − official", models, "cpu", "exact", apart, RMS, apart <= RMS, how)


def same_mesh(resolution: int) -> Row:
    """The mesh that was timed beside that of the whole lattice."""
    apart = meshes.apart(resolution)
    how = "largest difference of a coordinate; faces are equal"
    name = f"mesh {resolution}³ − mesh of every lattice point"
    return row(name, "", "cpu", "", apart, VERTICES, apart <= VERTICES, how)


def recorded(folder: Path) -> Row:
    """Quality "exact" beside the recorded answers of the released programs, see tests/parity.py."""
    command = [sys.executable, str(ROOT / "tests" / "parity.py"), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    counted = re.search(r"^(\d+) passed, (\d+) failed$", done.stdout, re.MULTILINE)
    if counted is None:
        raise ChildFailed(f"tests/parity.py failed:\n{done.stderr[-2000:]}")
    passed, failed = map(int, counted.groups())
    how = f"of {passed + failed}"
    return row(
        "recorded answers that differ", "released", "cpu", "exact", failed, 0, not failed and passed > 0, how
    )
