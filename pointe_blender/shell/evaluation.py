"""`pointe evaluate FOLDER`: figures of what anybody's generator made, in one table."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..pipeline.errors import CannotWrite, InvalidRequest, MissingPackage, PointEError
from ..pipeline.models import MODEL_SETS
from . import collection
from .console import say
from .evidence import Evidence, Settings
from .kept import Kept
from .measures import MEASURES, USUAL, Figure, measured
from .references import STARTER
from .tables import Table
from .views import ENGINES, Views

if TYPE_CHECKING:
    from ..pipeline.weights import Folders

ALL, MANY_VIEWS = "all", 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command can be told."""
    add = parser.add_argument_group("what to evaluate").add_argument
    add("folder", metavar="FOLDER", type=Path, help="of clouds and meshes: .npz, .ply, .obj, .glb")
    add(
        "--prompts",
        metavar="FILE",
        type=Path,
        help="which file was made from what; a batch's log says it itself",
    )
    add(
        "--reference",
        metavar="FOLDER",
        help="of real objects, or starter: those of the starter models' world",
    )

    add = parser.add_argument_group("how").add_argument
    add("--metrics", metavar="LIST", help=f"all, or some of {', '.join(MEASURES)} ({','.join(USUAL)})")
    add(
        "--classifier", choices=("released", STARTER), default="released", help="of P-FID and P-IS (released)"
    )
    add("--models", choices=MODEL_SETS, metavar="SET", default=STARTER, help="whose CLIP looks (starter)")
    add("--views", type=int, default=20, help="pictures of each object, from all around (20)")
    add("--engine", type=str.upper, choices=ENGINES, default=ENGINES[0], help="which renders them")
    add("--seed", type=int, default=0, help="of the draws that equal numbers of references need (0)")
    add("--device", default="auto", help="auto, cpu, cuda or mps (auto)")

    add = parser.add_argument_group("where to").add_argument
    add("--output", "-o", metavar="FOLDER", type=Path, help="evaluation in the folder itself, unless told")
    add("--models-folder", metavar="FOLDER", type=Path, help="look for weights here, too")
    add("--offline", action="store_true", help="download nothing")


def check(options: argparse.Namespace) -> None:
    """Refuse what can be refused without looking into the folder.

    Raises
    ------
    InvalidRequest
    """
    if not options.folder.is_dir():
        raise InvalidRequest(f"There is no folder {options.folder}: choose another.")
    if options.reference not in (None, STARTER) and not Path(options.reference).is_dir():
        raise InvalidRequest(f"There is no folder {options.reference} to compare with: choose another.")
    if not 1 <= options.views <= MANY_VIEWS:
        raise InvalidRequest(f"--views {options.views} is too few or too many: choose 1 to {MANY_VIEWS}.")
    if options.seed < 0:
        raise InvalidRequest(f"The seed {options.seed} is below 0: choose another.")
    names = _named(options.metrics)
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        raise InvalidRequest(
            f"There is no metric {unknown[0]!r}: choose all, or among {', '.join(MEASURES)}."
        )
    if options.metrics is not None and not names:
        raise InvalidRequest("The list of metrics is empty: choose all, or one such as closed.")


def run(options: argparse.Namespace, folders: Folders, output: Path) -> int:
    """Evaluate a folder, print the table, and write it.

    Parameters
    ----------
    options
        Of `add_arguments`, checked.
    folders
        Where weights lie and whether the network may be used.
    output
        A folder that is there; takes the table, the pictures and whatever need not be computed again.

    Returns
    -------
    How many files could not be read.

    Raises
    ------
    PointEError
        Nothing can be evaluated, or a metric that was asked for by its name cannot be computed.
    """
    kept = Kept(output / ".kept")
    origins = collection.asked_in(options.prompts) if options.prompts else None
    found = collection.collect(options.folder, kept, origins)
    for path, reason in found.unreadable:
        say(f"{path.name}: {reason}")
    reference = options.reference if options.reference in (None, STARTER) else Path(options.reference)
    settings = Settings(reference, options.classifier, options.models, options.seed, options.device)
    with Views(output / "renders", options.views, options.engine) as views:
        evidence = Evidence(found, settings, views, kept, folders)
        figures, left_out = _figures(evidence, options.metrics)
    if not figures:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise InvalidRequest(f"There is nothing that could be measured in {options.folder} ({reasons}).")
    unreadable = [(path.relative_to(options.folder).as_posix(), reason) for path, reason in found.unreadable]
    table = Table(_facts(options, evidence, figures), figures, left_out, unreadable)
    print(table.to_markdown(), end="", flush=True)
    for path in table.save(output):
        say(f"written: {path}")
    return len(unreadable)


def _named(metrics: str | None) -> list[str]:
    """The metrics that are asked for, each once, in the order of the table."""
    if metrics is None:
        return list(USUAL)
    names = [name.strip().lower() for name in metrics.split(",") if name.strip()]
    unknown = [name for name in names if name not in MEASURES and name != ALL]
    return unknown or [name for name in MEASURES if name in names or ALL in names]


def _figures(evidence: Evidence, metrics: str | None) -> tuple[dict[str, Figure], dict[str, str]]:
    """What was measured, and why the rest was not; what was asked for by its name must be."""
    demanded = metrics is not None and ALL not in metrics.lower()
    left_out = {name: why for name in _named(metrics) if (why := _why_not(name, evidence))}
    if demanded and left_out:
        name, why = next(iter(left_out.items()))
        raise InvalidRequest(f"{MEASURES[name].title} cannot be measured, {why}.")
    figures = {}
    for name in _named(metrics):
        if name in left_out:
            continue
        try:
            figures[name] = _measured(name, evidence)
        except CannotWrite:
            raise
        except PointEError as error:
            if demanded:
                raise
            left_out[name] = str(error)
            say(f"{name} is left out: {error}")
    return figures, left_out


def _measured(name: str, evidence: Evidence) -> Figure:
    try:
        return measured(MEASURES[name], evidence)
    except ImportError as error:
        missing = error.name or "torch"
        raise MissingPackage(f"It needs the Python package {missing}: install PyTorch first.") from error


def _why_not(name: str, evidence: Evidence) -> str:
    """What a metric lacks; empty if nothing."""
    samples = evidence.found.samples
    lacks = {
        "mesh": not any(sample.mesh for sample in samples)
        and "there are no meshes: make some in .glb, .obj or .ply",
        "both": not any(sample.mesh and sample.cloud for sample in samples)
        and "no object has a mesh and a cloud: put both under one name into the folder",
        "reference": evidence.settings.reference is None
        and "there is nothing to compare with: give --reference FOLDER, or starter",
        "prompts": not any(sample.origin for sample in samples)
        and "nothing says what the objects were made from: give --prompts FILE",
    }
    for need in MEASURES[name].needs:
        if why := lacks.get(need):
            return why
    if "pictures" in MEASURES[name].needs:
        return evidence.views.why_not(view for views in evidence.seen(name).values() for view in views)
    return ""


def _facts(options: argparse.Namespace, evidence: Evidence, figures: Mapping[str, Figure]) -> dict[str, Any]:
    """What the figures stand on."""
    samples, sets = evidence.found.samples, evidence.found.sets
    facts: dict[str, Any] = {
        "folder": options.folder.resolve().name,
        "objects": len(samples),
        "clouds": sum(sample.cloud is not None for sample in samples),
        "meshes": sum(sample.mesh is not None for sample in samples),
        "prompts": len(evidence.found.prompts),
        "seeds": len(sets) if evidence.found.prompts else 0,
    }
    needs = {need for name in figures for need in MEASURES[name].needs}
    if "reference" in needs:
        facts |= {"reference": options.reference, "references": evidence.reference_count}
        facts["seed"] = options.seed
    if figures.keys() & {"coverage", "mmd", "1-nna"}:
        facts["drawn of each"] = evidence.count
    if figures.keys() & {"p-fid", "p-is"}:
        facts |= {"classifier": options.classifier, "features": evidence.features[0].shape[1]}
    if "pictures" in needs:
        facts |= {"views": options.views, "engine": options.engine}
    if "r-precision" in figures:
        facts["models"] = options.models
    return facts
