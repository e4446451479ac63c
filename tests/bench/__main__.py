"""One table of what everything costs: `python build.py bench`; see docs/benchmarks/README.md."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pointe_blender.pipeline import memory
from pointe_blender.pipeline.models import MODEL_SETS
from pointe_blender.pipeline.weights import Folders

from . import (
    gating,
    generations,
    growth,
    insertion,
    machine,
    meshes,
    networks,
    peaks,
    profiling,
    reading,
    starting,
    targets,
)
from .children import ROOT
from .reference import Official
from .table import Report, Row, markdown, plain

TEXT, IMAGE = "official-text", "official-1B"  # the sets that targets are about
POINTS = (4096, 100_000, 1_000_000)
RESOLUTIONS = (32, 64, 128, 256)


class Bench:
    """One call of the command.

    Parameters
    ----------
    options
        Of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.quick: bool = options.quick
        self.devices: list[str] = options.device or machine.devices()
        self.report = Report(machine.facts(self.devices))
        self._began = time.perf_counter()

    def run(self) -> Report:
        """Everything, the most precise things while nothing else has warmed the machine up."""
        wanted = {name for device in self.devices for name in self._sets(device)}
        with tempfile.TemporaryDirectory() as place:
            self._say("weights from the names of tensors")
            folders = networks.models_folder(wanted, Path(place))
            for device in self.devices:
                for name in self._sets(device):
                    self._measure(name, device, folders)
            self._add(insertion.rows(POINTS[: 2 if self.quick else None], 3 if self.quick else 10))
            self._add(targets.rows(self.report))
            self._explain(folders)
            memory.unload()
            if self.options.parity:
                self._add([gating.recorded(self.options.parity)])
            if not self.quick:
                self._add(gating.schedules([name for name in ("starter", TEXT) if name in wanted]))
            if "starter" in wanted:
                self._say("how cost grows")
                self.report.curves += growth.curves(self.devices, folders, self.quick)
        if not any(device.startswith(("cuda", "mps")) for device in self.devices):
            self.report.notes.append("No GPU was at hand: its rows and targets are left out.")
        if not self.options.reference:
            self.report.notes.append(
                "No checkout of the official code was given: there is nothing to compare with."
            )
        self.report.notes.append(f"The whole took {(time.perf_counter() - self._began) / 60:.0f} minutes.")
        return self.report

    def _sets(self, device: str) -> Sequence[str]:
        """What is measured on a device, unless chosen: the largest set only where it is bearable."""
        if self.options.models:
            chosen: list[str] = self.options.models
            return chosen
        if self.quick:
            return ("starter",)
        return ("starter", TEXT) if device == "cpu" else ("starter", TEXT, IMAGE)

    def _measure(self, name: str, device: str, folders: Folders) -> None:
        """One set on one device."""
        quick, options = self.quick, self.options
        whole = options.whole or device != "cpu"
        times = 3 if quick else 10
        self._add(starting.rows(name, device, folders.user, 1 if quick else 3))
        self._add(reading.loads(name, device, folders, times))
        self._add(reading.clip(name, device, folders, times))
        official = None
        if options.reference and name != "starter" and not device.startswith("mps"):
            official = Official(options.reference, device, folders)
        scale = generations.Scale(steps=2 if quick else 3, whole=whole and not quick, times=times)
        self._say(f"{name} on {device}: sampling")
        timed = generations.measure(name, device, folders, official, scale)
        self._add(generations.rows(timed, name, device, scale))
        self._say(f"{name} on {device}: meshes")
        resolutions = RESOLUTIONS[: 2 if quick else None]
        meshed = meshes.measure(name, device, folders, official, resolutions, times, whole)
        self._add(meshes.rows(meshed, name, device))
        memory.unload()
        self._say(f"{name} on {device}: memory")
        checkout = options.reference if official is not None else None
        qualities = ("fast",) if quick else generations.QUALITIES
        several = qualities if name == "starter" or whole else ("fast",)
        self._add(peaks.rows(name, device, qualities, several, folders.user, checkout, whole))
        if timed.apart is not None:
            self._add([gating.same_noise(name, timed.apart)])
        if name == "starter" and device == self.devices[0]:
            self._add([gating.same_mesh(resolutions[-1] if quick else 128)])

    def _explain(self, folders: Folders) -> None:
        """What the profile shows is left where a target is missed."""
        missed = [
            row for row in self.report.rows if row.subject == "Targets" and not row.passed and row.quality
        ]
        for models, device, quality in dict.fromkeys((row.models, row.device, row.quality) for row in missed):
            self.report.notes.append(profiling.upsampler(models, device, quality, folders))

    def _add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._say(" ".join(filter(None, row.cells())))
            self.report.rows.append(row)

    def _say(self, text: str) -> None:
        print(f"{time.perf_counter() - self._began:6.0f} s  {text}", file=sys.stderr, flush=True)


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Rows of one subject together, in the order in which subjects came first."""
    subjects = list(dict.fromkeys(row.subject for row in rows))
    last = [subject for subject in ("Targets", "Gates") if subject in subjects]
    first = [subject for subject in subjects if subject not in last]
    return [row for subject in (*first, *last) for row in rows if row.subject == subject]


def main() -> int:
    """Measure, print, store; 1 where a gate is not passed."""
    parser = argparse.ArgumentParser(prog="build.py bench", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--device", action="append", help="only this one; may be repeated")
    add("--models", action="append", choices=list(MODEL_SETS), help="only this set; may be repeated")
    add("--reference", type=Path, metavar="DIR", help="a checkout of the official code to compare with")
    add("--parity", type=Path, metavar="DIR", help="recorded answers of the official code to compare with")
    add("--whole", action="store_true", help="run all of a stage where a few evaluations would stand for it")
    add("--quick", action="store_true", help="a small version, with the starter models alone")
    add("--output-folder", type=Path, default=ROOT / "docs" / "benchmarks", metavar="DIR")
    options = parser.parse_args()
    for name in ("reference", "parity"):
        if (given := getattr(options, name)) is not None:
            setattr(options, name, given.resolve())
    if options.reference and not (options.reference / "point_e").is_dir():
        parser.error(f"{options.reference} holds no package point_e: give a checkout of the official code")
    if options.parity and not options.parity.is_dir():
        parser.error(f"{options.parity} is no folder: give one with recorded answers")
    report = Bench(options).run()
    report.rows = ordered(report.rows)
    print(plain(report))
    options.output_folder.mkdir(parents=True, exist_ok=True)
    stem = options.output_folder / report.machine["machine"]
    stem.with_suffix(".json").write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    print(f"stored as {stem}.md and {stem}.json")
    return 1 if any(row.passed is False and row.subject == "Gates" for row in report.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
