"""Arguments to Requests to files: `python -m pointe_blender` and `blender --command pointe`.

Paths go to stdout, progress and errors to stderr. Exit codes: 0 done, 2 refused or failed, 130 cancelled.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .pipeline.errors import CannotWrite, InvalidRequest, PointEError

if TYPE_CHECKING:
    from .pipeline.request import Progress, Request, Result
    from .pipeline.weights import Folders

DONE, REFUSED, CANCELLED = 0, 2, 130
MESH_FILES = (".glb", ".obj")  # other files get the cloud


def main(arguments: Sequence[str], folders: Folders | None = None) -> int:
    """Carry out one command line; return its exit code.

    Parameters
    ----------
    arguments
        Without the program's name.
    folders
        Where weights lie and whether the network may be used; Blender's preferences know their own.
    """
    try:
        options = _parser().parse_args(arguments)
        if options.list_models:
            _list_models(_folders(options, folders))
            return DONE
        _check_output(options.output)
        result = _run(_request(options), _folders(options, folders))
        for path in _save(result, options.output):
            print(path)
        return DONE
    except PointEError as error:
        print(f"pointe_blender: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("pointe_blender: cancelled", file=sys.stderr)
        return CANCELLED
    except SystemExit as request:  # --help has printed; Blender must not be left through an exception
        return int(request.code or DONE)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        raise InvalidRequest(f"{message}; see --help.")


def _parser() -> argparse.ArgumentParser:
    description = "Make a coloured point cloud or mesh from a prompt or a picture."
    parser = _Parser(prog="pointe", description=description, allow_abbrev=False)
    add = parser.add_argument
    add("prompt", nargs="?", help='what to make, such as "a red chair"')
    add("--image", metavar="FILE", type=Path, help="make it from a picture instead")
    add("--output", "-o", metavar="FILE", type=Path, help=".ply or .npz for a cloud, .glb or .obj for a mesh")
    add("--seed", type=int, default=0, help="equal seeds give equal objects (0)")
    add("--count", type=int, default=1, help="how many variants, each in a file of its own (1)")
    add("--models", default="starter", help="model set (starter); see --list-models")
    add("--steps", type=int, help="sampling steps of every stage")
    add("--guidance", type=float, help="how closely to follow the prompt")
    add("--resolution", type=int, help="detail of a mesh: 16 to 256")
    add("--device", default="auto", help="auto, cpu, cuda or mps (auto)")
    add("--list-models", action="store_true", help="show the model sets and what is installed, then stop")
    add("--models-folder", metavar="FOLDER", type=Path, help="look for weights here, too")
    add("--offline", action="store_true", help="download nothing")
    return parser


def _request(options: argparse.Namespace) -> Request:
    """The options as a checked Request."""
    from .pipeline.request import Request, validate

    if (options.prompt is None) == (options.image is None):
        raise InvalidRequest("Give either a prompt or --image FILE; see --help.")
    image = None
    if options.image is not None:
        from .pipeline.pictures import load_image

        image = load_image(options.image)
    request = Request(
        prompt=options.prompt,
        image=image,
        models=options.models,
        seed=options.seed,
        count=options.count,
        output="mesh" if options.output.suffix.lower() in MESH_FILES else "cloud",
        steps=options.steps,
        guidance=options.guidance,
        resolution=options.resolution,
        device=options.device,
    )
    validate(request)
    return request


def _folders(options: argparse.Namespace, folders: Folders | None) -> Folders:
    """Where weights are looked for, and whether they may be downloaded."""
    from .pipeline.weights import default_folders

    folders = folders or default_folders()
    extra = (options.models_folder,) if options.models_folder else ()
    return dataclasses.replace(
        folders, extra=(*extra, *folders.extra), online=folders.online and not options.offline
    )


def _check_output(path: Path | None) -> None:
    """Refuse, before anything is computed, a file that could not be written."""
    from .pipeline.files import writer

    if path is None:
        raise InvalidRequest("Say where the result goes: --output chair.glb (or .ply, .npz, .obj).")
    writer(path)
    if path.is_dir():
        raise CannotWrite(f"{path} is a folder: choose another name.")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Raise CannotWrite for a folder that takes no files."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise CannotWrite(f"Nothing can be written to {folder} ({reason}): choose another folder.") from error


def _run(request: Request, folders: Folders) -> Result:
    """Generate, showing progress on stderr."""
    from .pipeline import generate

    *_, last = tell(generate(request, folders=folders))
    assert last.result is not None
    return last.result


def tell(updates: Iterator[Progress]) -> Iterator[Progress]:
    """Pass updates on, showing them on stderr: a growing line on a terminal, elsewhere one line a stage."""
    shown = ""
    for update in updates:
        where = f"{update.stage} on {update.device}" if update.device else update.stage
        if sys.stderr.isatty():
            line = f"\r{update.fraction:4.0%}  {where} {update.step}/{update.steps}"
            print(f"{line:<50}", end="\n" if update.result else "", file=sys.stderr, flush=True)
        elif update.stage != shown:
            print(f"{update.fraction:4.0%}  {where}", file=sys.stderr, flush=True)
        shown = update.stage
        if update.result:
            _summarise(update.result)
        yield update


def _summarise(result: Result) -> None:
    """Show on stderr what was used and what there is to know."""
    if result.notice:
        print(f"note: {result.notice}", file=sys.stderr)
    seconds = result.seconds.get("total", 0.0)
    summary = f"seed {result.seed}, {result.models} models, {result.device}, {seconds:.1f} s"
    print(summary, file=sys.stderr, flush=True)


def _save(result: Result, path: Path) -> Iterator[Path]:
    """Write one file a variant; several are numbered."""
    from .pipeline import files

    count = len(result.clouds)
    for i in range(count):
        target = path if count == 1 else path.with_stem(f"{path.stem}-{i + 1}")
        if path.suffix.lower() in MESH_FILES:
            files.save(target, mesh=result.meshes[i])
        else:
            files.save(target, cloud=result.clouds[i])
        yield target


def _list_models(folders: Folders) -> None:
    """One line a model set: its name, what it takes, whether it is here."""
    from .pipeline.models import MODEL_SETS
    from .pipeline.weights import is_installed

    for name, models in MODEL_SETS.items():
        here = all(is_installed(part.name, folders) for part in models.checkpoints)
        state = "installed" if here else "not installed"
        print(f"{name:18} {' or '.join(sorted(models.takes, reverse=True)):14} {state:14} {models.label}")
