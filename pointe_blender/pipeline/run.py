"""Where a run stands: how far it has come, and what it gives up when memory or numbers run out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from .costs import costs
from .errors import InvalidRequest
from .geometry import Mesh, PointCloud
from .plan import Plan
from .request import Progress, Result
from .weights import Folders

SAMPLED = ("base", "upsample", "densify")  # the stages that are done anew for each batch of variants
PACE = 0.02  # the part of a run after which its pace is known
SHOWN = 0.1  # seconds between previews: each waits for the device


def usable_device(name: str) -> str:
    """The device to compute on; "auto" is the fastest there is.

    Raises
    ------
    InvalidRequest
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InvalidRequest(
            f"This computer has no device {name!r} that PyTorch can use: choose auto."
        ) from error
    return name


class Overflow(Exception):
    """Half precision could not hold what a network computed; never reaches the user."""


@dataclass
class Run:
    """A run: what it was asked for, and where it stands.

    Attributes
    ----------
    plan
        What is to be made, and by which networks.
    device
        Where the networks run from now on.
    batch
        How many variants are sampled at once.
    frugal
        Whether a network is forgotten when the next one is needed.
    precise
        Whether everything is computed in float32, whatever the quality.
    notices
        What the user has to be told in the end.
    finished
        How many variants are sampled.
    """

    plan: Plan
    device: str
    folders: Folders
    batch: int = field(init=False)
    frugal: bool = False
    precise: bool = False
    notices: list[str] = field(default_factory=list)
    finished: int = 0
    _stage: str = ""
    _fraction: float = 0.0
    _paced: tuple[float, float] | None = None  # moment and fraction at which computing began
    _preview: PointCloud | None = None
    _shown: float = 0.0  # moment of the preview

    def __post_init__(self) -> None:
        self.request, self.models = self.plan.request, self.plan.models
        # A CPU is busy with one: in batches it would only take more memory, and differ in last bits.
        self.batch = 1 if self.device == "cpu" else self.request.count
        expected = costs(self.request)
        self._share = {stage: cost / sum(expected.values()) for stage, cost in expected.items()}
        self._changed = 0.0
        self._seconds: dict[str, float] = {}

    @property
    def next_seeds(self) -> range:
        """The seeds of the next batch; none when all variants are there."""
        seeds = range(self.request.seed, self.request.seed + self.request.count)
        return seeds[self.finished : self.finished + self.batch]

    def shrinks(self) -> bool:
        """Take less memory from now on: one network at a time, smaller batches, then the CPU.

        False when nothing is left to give up.
        """
        if not self.frugal:
            self.frugal = True
        elif self.batch > 1 and self.next_seeds:
            self.batch //= 2
            self._notice("There was not enough memory for all variants at once: fewer were made at a time.")
        elif self.device != "cpu":
            self._notice(f"There was not enough memory on {self.device}: it was made on the CPU.")
            self.device = "cpu"
        else:
            return False
        return True

    def overflowed(self) -> None:
        """Compute in float32 from now on: half precision could not hold the networks' numbers."""
        self.precise = True
        self._notice("Half precision was too coarse for these models: they were run in full.")

    def at(
        self, stage: str, step: int, steps: int, preview: Callable[[], PointCloud] | None = None
    ) -> Progress:
        """The next update; what it shows is made anew only now and then."""
        now = self._clocked(stage)
        if preview is not None and now - self._shown >= SHOWN:
            self._preview, self._shown = preview(), now
        if stage in self._share:
            if self._paced is None and stage != "condition":
                self._paced = (now, self._fraction)
            self._fraction = max(self._fraction, min(1.0, self._reached(stage, step / max(steps, 1))))
        remaining = self._remaining(now)
        return Progress(stage, step, steps, self._fraction, self.device, remaining, self._preview)

    def ends(
        self,
        clouds: tuple[PointCloud, ...],
        meshes: tuple[Mesh, ...],
        seeds: tuple[int, ...],
        scores: tuple[float, ...],
    ) -> Progress:
        """The last update."""
        self._clocked("done")
        seconds = {**self._seconds, "total": sum(self._seconds.values())}
        notice = " ".join(filter(None, [*self.notices, self._outside()]))
        result = Result(clouds, meshes, seeds, scores, self.models.name, self.device, seconds, notice)
        return Progress("done", 1, 1, 1.0, self.device, 0.0, clouds[0], result)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Count the time inside for "load" and not for the stage, whose pace it would blur."""
        stage = self._stage
        self._clocked("load")
        yield
        self._clocked(stage)

    def _notice(self, text: str) -> None:
        if text not in self.notices:
            self.notices.append(text)

    def _clocked(self, stage: str) -> float:
        """Count the time since the last update for the stage it belonged to."""
        now = time.perf_counter()
        if self._stage:
            self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now - self._changed
        self._stage, self._changed = stage, now
        return now

    def _reached(self, stage: str, part: float) -> float:
        """The fraction of the run that is done when a part of this stage is."""
        names = list(self._share)
        before = {name: self._share[name] for name in names[: names.index(stage)]}
        if stage not in SAMPLED:
            return sum(before.values()) + self._share[stage] * part
        other = sum(share for name, share in before.items() if name not in SAMPLED)
        sampling = sum(self._share.get(name, 0.0) for name in SAMPLED)
        own = sum(share for name, share in before.items() if name in SAMPLED) + self._share[stage] * part
        size = min(self.batch, self.request.count - self.finished)
        return other + (sampling * self.finished + own * size) / self.request.count

    def _remaining(self, now: float) -> float | None:
        if self._paced is None or self._fraction - self._paced[1] < PACE:
            return None
        moment, fraction = self._paced
        return (now - moment) * (1.0 - self._fraction) / (self._fraction - fraction)

    def _outside(self) -> str:
        """What to say of a prompt that the models were not trained for."""
        if self.models.name == "starter" and self.request.prompt is not None:
            from .starter import world

            return world.notice(self.request.prompt)
        return ""
