"""How the interface fares while the pipeline computes: the real tick, at its interval, beside real models.

    python build.py bench interface [--prompt WORDS] [--models NAME] [--runs N] [--json FILE]

Every tick does what Blender's timer does, its preview on, and then lets Blender evaluate the scene as a
redraw would. "late" is how long after its time a tick began, which an artist's hand feels; while the first
run imports PyTorch and the networks are read it is counted apart.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

import pointe_blender
from pointe_blender.operators import generate, running
from pointe_blender.pipeline import PointCloud
from pointe_blender.scene import preview

LIMIT = 4.0  # milliseconds, for the ticks at p99
COLUMNS = ("p50", "p95", "p99", "max")
ROWS = ("tick", "evaluation", "late", "late at the start")
LOADING = ("download", "load", "condition")  # stages


def summary(seconds: list[float]) -> dict[str, float]:
    """In milliseconds."""
    values = 1000.0 * np.array(seconds)
    return {
        **dict(zip(COLUMNS, np.percentile(values, (50, 95, 99, 100)).tolist(), strict=True)),
        "count": len(values),
    }


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_run(prompt: str, models: str, seed: int) -> dict[str, list[float]]:
    """One run in the background, watched as Blender watches it."""
    measured: dict[str, list[float]] = {name: [] for name in ROWS}
    running.submit(lambda: generate.prepare(prompt, models=models, seed=seed))
    due = time.perf_counter() + running.TICK
    while running.state.current:
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter()
        job = running.state.current.job
        working, update = job.state == "running", job.poll()
        starting = update is None or update.stage in LOADING
        running.tick()
        ticked = time.perf_counter()
        bpy.context.view_layer.update()
        if working:  # the last tick inserts what was made, once
            measured["late at the start" if starting else "late"].append(began - due)
            measured["tick"].append(ticked - began)
            measured["evaluation"].append(time.perf_counter() - ticked)
        due = time.perf_counter() + running.TICK
    if running.state.error:
        sys.exit(running.state.log)
    return measured


def measure_rest(ticks: int = 50) -> list[float]:
    """How late the same clock is with nothing to do: the share of the machine in the lateness."""
    late = []
    for _ in range(ticks):
        due = time.perf_counter() + running.TICK
        time.sleep(running.TICK)
        late.append(time.perf_counter() - due)
    return late


def measure_update(times: int = 200) -> list[float]:
    """Writing 4096 points into the preview, with nothing else at work."""
    draw = np.random.default_rng(0)
    clouds = [PointCloud(*(draw.random((4096, 3), np.float32) for _ in range(2))) for _ in range(4)]
    preview.show(clouds[0], Matrix(), "Scene")
    seconds = []
    for i in range(times):
        seconds.append(timed(lambda i=i: preview.show(clouds[i % 4], Matrix(), "Scene")))
        bpy.context.view_layer.update()
    preview.remove()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompt", default="a red chair")
    parser.add_argument("--models", default="starter")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    bpy.ops.wm.read_homefile(use_empty=True)
    pointe_blender.register()
    measured: dict[str, list[float]] = {name: [] for name in ROWS}
    for seed in range(options.runs):
        for name, seconds in measure_run(options.prompt, options.models, seed).items():
            measured[name] += seconds
    measured["late at rest"] = measure_rest()
    measured["update of 4096 points"] = measure_update()
    table = {name: summary(seconds) for name, seconds in measured.items()}

    print(f"\nBlender {bpy.app.version_string}, {os.cpu_count()} cores, {options.models}, milliseconds")
    print(f"{'':24}" + "".join(f"{column:>9}" for column in (*COLUMNS, "count")))
    for name, row in table.items():
        print(f"{name:24}" + "".join(f"{row[column]:9.2f}" for column in COLUMNS) + f"{row['count']:9d}")
    verdict = "under" if table["tick"]["p99"] < LIMIT else "NOT under"
    print(f"ticks are {verdict} {LIMIT:.0f} ms at p99")
    if options.json:
        facts = {"blender": bpy.app.version_string, "cores": os.cpu_count(), "models": options.models}
        options.json.write_text(json.dumps({**facts, "milliseconds": table}, indent=1), encoding="utf-8")
    sys.stdout.flush()
    pointe_blender.unregister()
    os._exit(0)  # some builds of Blender as a module crash on the way out


main()
