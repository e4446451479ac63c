"""Where the time of an evaluation goes, by PyTorch's own account."""

from __future__ import annotations

from torch.profiler import ProfilerActivity, profile

from pointe_blender.pipeline import generate
from pointe_blender.pipeline.models import MODEL_SETS
from pointe_blender.pipeline.weights import Folders

from .generations import upsampled

SHOWN = 5  # operators


def upsampler(name: str, device: str, quality: str, folders: Folders) -> str:
    """The operators that take most of an evaluation of the upsampler, with their shares."""
    updates = iter(generate(upsampled(MODEL_SETS[name], device, quality), folders=folders))
    evaluated = 0
    for update in updates:
        evaluated += update.stage == "densify"
        if evaluated == 2:  # the stage began, and the first evaluation has warmed up
            break
    on_gpu = device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiled:
        next(updates)
    del updates  # which cancels the rest
    spent = {
        event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in profiled.key_averages()
    }
    total = sum(spent.values())
    most = sorted(spent, key=spent.__getitem__, reverse=True)[:SHOWN]
    shares = ", ".join(f"{key.removeprefix('aten::')} {100 * spent[key] / total:.0f} %" for key in most)
    return f"An evaluation of the upsampler ({name}, {device}, {quality}): {shares}."
