"""Peak memory, each in a process of its own: of one evaluation of the upsampler, and of whole runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .children import answer, ask
from .table import OFFICIAL, Row

if TYPE_CHECKING:
    from pointe_blender.pipeline.models import ModelSet
    from pointe_blender.pipeline.weights import Folders

    from .timing import Turns

MB = 1e6
COUNTS = (1, 8)  # variants
FEW = 2  # steps, as many as tell what an evaluation takes


class Meter:
    """The peak of a device's memory since the last reset, in bytes; main memory's only on Linux."""

    def __init__(self, device: str) -> None:
        self._device = device

    @staticmethod
    def works(device: str) -> bool:
        """Whether there is one for a device."""
        return device.startswith("cuda") or (device == "cpu" and sys.platform == "linux")

    def reset(self) -> None:
        """The peak is what is used now."""
        if self._device == "cpu":
            Path("/proc/self/clear_refs").write_text("5")
        else:
            import torch

            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()

    @property
    def used(self) -> int:
        """Bytes in use."""
        import torch

        return self._status("VmRSS") if self._device == "cpu" else torch.cuda.memory_allocated()

    @property
    def peak(self) -> int:
        """The most that was in use."""
        import torch

        return self._status("VmHWM") if self._device == "cpu" else torch.cuda.max_memory_allocated()

    @staticmethod
    def _status(name: str) -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
        return int(kilobytes) << 10


def of_evaluation(models: str, device: str, quality: str, folder: str, checkout: str = "") -> int:
    """Bytes above the state before, at most, of an evaluation of the upsampler on one cloud."""
    from pointe_blender.pipeline.models import MODEL_SETS
    from pointe_blender.pipeline.weights import Folders

    from .generations import turns, upsampled

    folders, known = Folders(Path(folder), online=False), MODEL_SETS[models]
    if checkout:
        evaluations = _official(known, device, quality, folders, Path(checkout))
    else:
        request = upsampled(known, device, quality)
        evaluations = partial(turns, request, folders, lambda result: None)
    next(turn for turn in evaluations() if turn[1])  # loads and warms up
    meter, most = Meter(device), 0
    again = evaluations()
    going = True
    while going:
        meter.reset()
        before = meter.used
        going = next(again, None) is not None
        most = max(most, meter.peak - before)
    return most


def _official(
    models: ModelSet, device: str, program: str, folders: Folders, checkout: Path
) -> Callable[[], Turns]:
    """The same of an official program."""
    import torch

    from .generations import upsampled
    from .reference import Official

    cloud = upsampled(models, device, "exact").cloud
    assert cloud is not None
    raw = np.concatenate([cloud.points, 255 * cloud.colors], axis=1)[: models.base_stage.points]
    condition = {"low_res": torch.from_numpy(raw.T.copy())[None].to(device)}
    official = Official(checkout, device, folders)
    return lambda: official.sampling(program, models, condition, 2, 0, lambda points: None, ("upsample",))


def of_runs(models: str, device: str, quality: str, folder: str, whole: bool) -> list[tuple[float, int]]:
    """Seconds of sampling and bytes, of a process that makes one variant and then several."""
    from pointe_blender.pipeline.models import MODEL_SETS
    from pointe_blender.pipeline.weights import Folders

    from .generations import STAGES, asked, run

    folders, known, meter = Folders(Path(folder), online=False), MODEL_SETS[models], Meter(device)
    steps = None if whole else FEW
    run(asked(known, device, quality=quality, steps=FEW), folders)  # loads and warms up
    found = []
    for count in COUNTS:
        result = run(asked(known, device, quality=quality, count=count, steps=steps), folders)
        found.append((sum(result.seconds[stage] for stage in STAGES), meter.peak))
    return found


def rows(
    models: str,
    device: str,
    qualities: Sequence[str],
    several: Sequence[str],
    folder: Path,
    checkout: Path | None,
    whole: bool,
) -> Iterator[Row]:
    """Evaluations beside the official one's, and processes that make one variant and several."""
    if not Meter.works(device):
        return
    common = {"models": models, "device": device, "folder": str(folder)}
    official = {}
    if checkout is not None:
        seen = ask("peaks", measure="of_evaluation", **common, quality=OFFICIAL, checkout=str(checkout))
        official[OFFICIAL] = seen / MB
    for quality in qualities:
        peak = ask("peaks", measure="of_evaluation", **common, quality=quality) / MB
        yield Row(
            "Peak memory",
            "upsampler's evaluation",
            models,
            device,
            quality,
            peak,
            "MB",
            official,
            how="above the state before",
        )
    for quality in several:
        found = ask("peaks", measure="of_runs", **common, quality=quality, whole=whole)
        how = "whole runs" if whole else f"{FEW} steps of each stage"
        for count, (seconds, peak) in zip(COUNTS, found, strict=True):
            name = f"{count} at once"
            yield Row("Variants", name, models, device, quality, seconds, how=how)
            yield Row("Variants", f"{name}, peak memory", models, device, quality, peak / MB, "MB", how=how)
        (one, _), (many, _) = found
        yield Row("Variants", f"{COUNTS[-1]} ÷ one", models, device, quality, many / one, "×", how=how)


def _answered(measure: str, **arguments: Any) -> object:
    return of_runs(**arguments) if measure == "of_runs" else of_evaluation(**arguments)


if __name__ == "__main__":
    answer(_answered)
