"""How cost grows with points, lattice points, variants and prompts: measured, never extrapolated."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

from pointe_blender import cli
from pointe_blender.pipeline import Request
from pointe_blender.pipeline.starter.kinds import KINDS
from pointe_blender.pipeline.starter.world import COLORS
from pointe_blender.pipeline.weights import Folders

from .generations import run
from .table import Curve
from .timing import grown

POINTS = (1024, 4096, 16384, 65536)
RESOLUTIONS = (32, 64, 128, 256)
VARIANTS = (1, 4, 16, 64)
PROMPTS = (1, 10, 30, 100, 300, 1000)


def curves(devices: Sequence[str], folders: Folders, quick: bool) -> Iterator[Curve]:
    """Each of them on all devices, with the starter models at the default quality."""
    measured: list[tuple[str, str, Sequence[int], Callable[..., float]]] = [
        ("Points of a cloud", "points", POINTS[: 2 if quick else None], points),
        ("Resolution of a mesh", "lattice points a side", RESOLUTIONS[: 2 if quick else None], resolution),
        ("Variants of a cloud", "variants", VARIANTS[: 3 if quick else None], variants),
        ("Prompts of a file", "prompts", PROMPTS[: 2 if quick else None], prompts),
    ]
    for subject, unit, sizes, seconds in measured:
        lines = {}
        for device in devices:
            run(Request(prompt="a red chair", device=device, resolution=16, steps=2), folders)  # loads
            lines[device] = grown(sizes, partial(seconds, device=device, folders=folders))
        yield Curve(subject, unit, lines)


def points(count: int, device: str, folders: Folders) -> float:
    """Seconds of a cloud of so many points; the coarse one is what the base model makes."""
    request = Request(prompt="a red chair", device=device, output="cloud")
    if count > 4096:
        request = replace(request, points=count)
    seconds = run(request, folders).seconds
    return seconds["base"] + (seconds["upsample"] + seconds.get("densify", 0.0) if count > 1024 else 0.0)


def resolution(side: int, device: str, folders: Folders) -> float:
    """Seconds of the mesh of a cloud."""
    cloud = run(Request(prompt="a red chair", device=device, output="cloud"), folders).clouds[0]
    return run(Request(cloud=cloud, device=device, resolution=side, output="mesh"), folders).seconds["mesh"]


def variants(count: int, device: str, folders: Folders) -> float:
    """Seconds of so many clouds of one prompt, not compared with it."""
    request = Request(prompt="a red chair", device=device, output="cloud", count=count)
    seconds = run(request, folders).seconds
    return seconds["base"] + seconds["upsample"]


def prompts(count: int, device: str, folders: Folders) -> float:
    """Seconds of a file of so many prompts, each to a file with a cloud, the networks in memory."""
    words = [f"a {color} {kind}" for kind, color in product(KINDS, COLORS)]
    with tempfile.TemporaryDirectory() as place:
        listed = Path(place) / "prompts.txt"
        listed.write_text("\n".join(words[i % len(words)] for i in range(count)), encoding="utf-8")
        arguments = ["--prompts", str(listed), "--output", str(Path(place) / "made")]
        began = time.perf_counter()
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            code = cli.main([*arguments, "--format", "ply", "--device", device, "--offline"], folders)
        seconds = time.perf_counter() - began
    if code:
        raise RuntimeError(f"the prompts ended with code {code}")
    return seconds
