"""What stands between a click and the first denoising step; the processes are fresh, the files cached."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from .children import answer, ask
from .table import Row


def apart(models: str, device: str, folder: str) -> dict[str, float]:
    """Seconds of each part of a cold start."""
    laps: dict[str, float] = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        now = time.perf_counter()
        laps[name] = now - began
        began = now

    import torch

    if device != "cpu":
        torch.zeros(1, device=device)
    lap("import torch")
    from pointe_blender.pipeline.importing import import_open_clip

    import_open_clip("model")
    import_open_clip("tokenizer")
    lap("import of open_clip's parts")
    from pointe_blender.pipeline import memory
    from pointe_blender.pipeline.conditioning import Clip
    from pointe_blender.pipeline.models import MODEL_SETS
    from pointe_blender.pipeline.weights import Folders

    from .generations import STAGES, asked, turns
    from .networks import precision

    known, folders = MODEL_SETS[models], Folders(Path(folder), online=False)
    lap("import of the pipeline")
    for stage in STAGES:
        memory.load(getattr(known, stage), device, folders, precision(known, stage, device, "fast"))
        lap(f"load {stage}")
    memory.load(known.sdf, device, folders)
    lap("load sdf")
    clip = Clip.load(known.clip, device, folders)
    lap("load clip, but for its tensors")
    if "text" in known.takes:
        clip.text(["a red chair"]).sum().item()
        lap("CLIP's first text vector")
    next(turns(asked(known, device), folders, lambda result: None))
    lap("first denoising step")
    return laps


def together(models: str, device: str, folder: str) -> float:
    """Seconds from nothing imported to the first denoising step, as a user meets it."""
    began = time.perf_counter()
    from pointe_blender.pipeline import Request, generate
    from pointe_blender.pipeline.models import MODEL_SETS
    from pointe_blender.pipeline.weights import Folders

    request = Request(prompt="a red chair", models=models, device=device)
    if "text" not in MODEL_SETS[models].takes:
        import numpy as np

        picture = np.full((224, 224, 3), 200, np.uint8)
        request = Request(image=picture, models=models, device=device)
    sampled = 0
    for update in generate(request, folders=Folders(Path(folder), online=False)):
        sampled += update.stage == "base"
        if sampled == 2:  # the stage began, and its first evaluation is done
            break
    return time.perf_counter() - began


def rows(models: str, device: str, folder: Path, times: int) -> Iterator[Row]:
    """The parts, from the process whose total is the median, then the whole."""
    arguments = {"models": models, "device": device, "folder": str(folder)}
    wholes, starts = [], []
    for _ in range(times):
        wholes.append(ask("starting", measure="together", **arguments))
        starts.append(ask("starting", measure="apart", **arguments))
    starts.sort(key=lambda laps: sum(laps.values()))
    for name, seconds in starts[len(starts) // 2].items():
        yield Row("Cold start, a fresh process", name, models, device, "fast", seconds)
    yield Row(
        "Cold start, a fresh process",
        "all to the first denoising step",
        models,
        device,
        "fast",
        sorted(wholes)[len(wholes) // 2],
        how="without what is not needed yet",
    )


def _answered(measure: str, **arguments: str) -> object:
    return {"apart": apart, "together": together}[measure](**arguments)


if __name__ == "__main__":
    answer(_answered)
