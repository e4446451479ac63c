"""Arguments to Requests to files: `python -m pointe_blender` and `blender --command pointe`.

Paths go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 some of a batch failed, 2 refused or
failed, 130 cancelled.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .formats import CLOUDS, MESHES
from .pipeline.errors import CannotWrite, InvalidRequest, NoSurface, PointEError
from .pipeline.replacing import make_folder
from .pipeline.request import QUALITIES
from .shell import items, outputs, shards
from .shell.console import say, tell
from .shell.items import Item, Manner
from .shell.outputs import PREVIEW, Finisher, Style

if TYPE_CHECKING:
    from .pipeline.request import Request
    from .pipeline.weights import Folders
    from .shell.clouds import Given

DONE, SOME_FAILED, REFUSED, CANCELLED = 0, 1, 2, 130
EVALUATE = "evaluate"  # the one command beside making things
FINISH = ("size", "origin", "faces", "remesh", "shading", "texture")  # fields of finishing.Finish


def main(arguments: Sequence[str], folders: Folders | None = None, finisher: Finisher | None = None) -> int:
    """Carry out one command line; return its exit code.

    Parameters
    ----------
    arguments
        Without the program's name.
    folders
        Where weights lie and whether the network may be used; Blender's preferences know their own.
    finisher
        Blender's exporters, inside Blender.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name is no reason to fail on an old code page
    if signal.getsignal(signal.SIGINT) is None:  # Blender's own, which Python does not see
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if arguments[:1] == [EVALUATE]:
            return _evaluate(arguments[1:], folders)
        options = _parser().parse_args(arguments)
        return _carry_out(options, _folders(options, folders), finisher)
    except PointEError as error:
        say(f"pointe_blender: {error}")
        return REFUSED
    except KeyboardInterrupt:
        say("pointe_blender: cancelled")
        return CANCELLED
    except BrokenPipeError:  # whoever reads the paths has heard enough
        sys.stdout = open(os.devnull, "w")
        return REFUSED
    except SystemExit as request:  # --help has printed; Blender must not be left through an exception
        return int(request.code or DONE)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        raise InvalidRequest(f"{message}; see --help.")


def _parser() -> argparse.ArgumentParser:
    description = "Make coloured point clouds and meshes from prompts and pictures."
    epilog = f"pointe {EVALUATE} FOLDER measures how good a folder of them is: pointe {EVALUATE} --help."
    parser = _Parser(prog="pointe", description=description, epilog=epilog, allow_abbrev=False)

    add = parser.add_argument_group("what to make").add_argument
    add("prompt", nargs="?", help='what to make, such as "a red chair"')
    add("--image", metavar="FILE", type=Path, help="make it from a picture instead")
    add("--no-crop", action="store_true", help="show the models the picture as it is")
    add(
        "--cloud",
        metavar="FILE",
        type=Path,
        help="make a mesh of a .ply, .npz, .obj or .glb, or more points of it",
    )
    add("--prompts", metavar="FILE", type=Path, help="make every line of a .txt, .csv or .jsonl")
    add("--shard", metavar="I/N", help="of --prompts only share I of N; SLURM's job arrays are known")

    add = parser.add_argument_group("where to").add_argument
    add("--output", "-o", metavar="FILE", type=Path, help="such as chair.glb; with --prompts a folder")
    add(
        "--format",
        metavar="LIST",
        help="one or several of ply, npz (clouds), glb, obj and, in Blender, "
        "usd, usdc, usda, fbx (meshes); with --prompts glb unless a line says otherwise",
    )
    add("--previews", action="store_true", help="put a small picture beside each")

    add = parser.add_argument_group("how").add_argument
    add("--seed", type=int, default=0, help="equal seeds give equal objects (0)")
    add("--count", type=int, default=1, help="how many variants, each in a file of its own (1)")
    add("--models", default="starter", help="model set (starter); see --list-models")
    add(
        "--quality",
        type=str.lower,
        choices=QUALITIES,
        default="fast",
        help="against time; exact repeats the official program (fast)",
    )
    add("--steps", type=int, help="sampling steps of every stage")
    add("--guidance", type=float, help="how closely to follow the prompt")
    add("--points", type=int, help="of each cloud (4096)")
    add("--resolution", type=int, help="detail of a mesh: 16 to 256")
    add("--device", default="auto", help="auto, cpu, cuda or mps (auto)")

    add = parser.add_argument_group("finish, inside Blender").add_argument
    add("--size", metavar="METRES", type=float, help="length of the longest side")
    add("--origin", type=str.upper, choices=("BASE", "CENTER"), help="where it stands: base or center")
    add("--faces", type=int, help="reduce a mesh to about as many triangles")
    add("--remesh", metavar="METRES", type=float, help="give a mesh even faces of this size")
    add("--shading", type=str.upper, choices=("SMOOTH", "FLAT"), help="smooth or flat")
    add("--texture", metavar="PIXELS", type=int, help="bake the colours of a mesh into a texture")

    add = parser.add_argument_group("models").add_argument
    add("--list-models", action="store_true", help="show the model sets and what is installed, then stop")
    add("--install", metavar="SET", help="download a model set, then stop")
    add("--verify", metavar="SET", help="check the files of a model set, then stop")
    add("--models-folder", metavar="FOLDER", type=Path, help="look for weights here, too")
    add("--offline", action="store_true", help="download nothing")
    return parser


def _carry_out(options: argparse.Namespace, folders: Folders, finisher: Finisher | None) -> int:
    """One of the things that the command does."""
    if options.list_models or options.install is not None or options.verify is not None:
        from .shell import inventory

        if options.install is not None:
            inventory.install(options.install, folders)
        if options.verify is not None:
            inventory.verify(options.verify, folders)
        if options.list_models:
            inventory.print_list(folders)
        return DONE
    asked = (options.prompt, options.image, options.cloud, options.prompts)
    if sum(value is not None for value in asked) != 1:
        raise InvalidRequest("Give one of a prompt, --image, --cloud and --prompts; see --help.")
    if options.shard is not None and options.prompts is None:
        raise InvalidRequest("--shard takes a share of --prompts: give such a file, or leave it out.")
    finish = {name: getattr(options, name) for name in FINISH if getattr(options, name) is not None}
    for name, value in finish.items():
        if not isinstance(value, str) and not 0 < value < float("inf"):
            raise InvalidRequest(f"--{name} {value} makes nothing: choose a number above 0, or leave it out.")
    style = Style(finisher, finish, options.previews)
    manner = Manner(options.device, not options.no_crop, style)
    if options.prompts is not None:
        return _make_all(options, manner, folders)
    return _make_one(options, manner, folders)


def _make_one(options: argparse.Namespace, manner: Manner, folders: Folders) -> int:
    """One thing, in all its variants."""
    if options.output is None:
        raise InvalidRequest("Say where the result goes: --output chair.glb (or .ply, .npz, .obj).")
    folder, name = options.output.parent, options.output.name
    ending = options.output.suffix.lower()
    if options.format is None:
        if not ending:
            raise InvalidRequest(f"{name} says no format: give it an ending such as .glb, or --format glb.")
        name, formats = options.output.stem, outputs.formats(ending)
    else:
        formats = outputs.formats(options.format)
        if ending in CLOUDS + MESHES:
            raise InvalidRequest(f"{name} has an ending and --format is given, too: leave one of them out.")
    item = _item(options, name=name, formats=formats)
    outputs.check(formats, manner.style)
    given = _given(options.cloud, item)
    request = _request(item, manner, given)
    names = manner.style.names(item.stems, formats)
    if taken := [name for name in names if (folder / name).is_dir()]:
        raise CannotWrite(f"{folder / taken[0]} is a folder: choose another name.")
    check_folder(folder)
    from . import pipeline

    *_, last = tell(pipeline.generate(request, folders=folders))
    assert last.result is not None
    if request.wants_mesh and not last.result.meshes:
        raise NoSurface(last.result.notice)
    result = given.back(last.result) if given else last.result
    files = outputs.save(result, request, folder, item.stems, formats, manner.style)
    _announce([path for path in files if path.name in names])
    return DONE


def _given(path: Path | None, item: Item) -> Given | None:
    """The cloud that there is already."""
    if path is None:
        return None
    if item.count > 1:
        raise InvalidRequest("Of a cloud there are no variants: leave --count out.")
    from .shell import clouds

    return clouds.load(path)


def _request(item: Item, manner: Manner, given: Given | None) -> Request:
    """The options as a checked Request."""
    from .pipeline.request import validate

    if given is not None:
        request = replace(items.request(item, manner), cloud=given.cloud)
    elif item.image is not None:
        from .pipeline.pictures import load_image, prepare

        framed = prepare(load_image(item.image), item.models, manner.crop)
        if framed.notice:
            say(f"note: {framed.notice}")
        request = items.request(item, manner, framed.image)
    else:
        request = items.request(item, manner)
    validate(request)
    return request


def _make_all(options: argparse.Namespace, manner: Manner, folders: Folders) -> int:
    """Every line of a file."""
    from .shell import prompts
    from .shell.batch import Batch

    if options.output is None:
        raise InvalidRequest("Say where the files go: --output FOLDER.")
    shard = shards.parse(options.shard) if options.shard else shards.of_array(os.environ) or shards.WHOLE
    formats = outputs.formats(options.format or "glb")
    outputs.check(formats, manner.style)
    found, bad = prompts.read(options.prompts, _item(options, formats=formats), manner.style)
    if shard != shards.WHOLE:
        say(f"shard {shard.number} of {shard.count}")
    make_folder(options.output)
    check_folder(options.output)
    failed = Batch(found, bad, options.output, manner, shard, folders, _announce).run()
    return SOME_FAILED if failed else DONE


def _evaluate(arguments: Sequence[str], folders: Folders | None) -> int:
    """Measure what is in a folder."""
    from .shell import evaluation

    description = "Measure how good generated clouds and meshes are, whatever made them: docs/evaluation.md."
    parser = _Parser(prog=f"pointe {EVALUATE}", description=description, allow_abbrev=False)
    evaluation.add_arguments(parser)
    options = parser.parse_args(arguments)
    evaluation.check(options)
    output = options.output or options.folder / "evaluation"
    make_folder(output)
    check_folder(output)
    unreadable = evaluation.run(options, _folders(options, folders), output)
    return SOME_FAILED if unreadable else DONE


def _item(options: argparse.Namespace, **further: Any) -> Item:
    """The options that a line of a batch may have, too."""
    names = ("prompt", "image", "models", "seed", "count", "quality")
    numbers = ("steps", "guidance", "resolution", "points")
    return Item(**{name: getattr(options, name) for name in (*names, *numbers)}, **further)


def _announce(files: Sequence[Path]) -> None:
    """Say what is there; of pictures in the words of Blender's renderer, which render farms listen for."""
    for path in files:
        print(f"Saved: '{path}'" if path.suffix == PREVIEW else path, flush=True)


def _folders(options: argparse.Namespace, folders: Folders | None) -> Folders:
    """Where weights are looked for, and whether they may be downloaded."""
    from .pipeline.weights import default_folders

    folders = folders or default_folders()
    extra = (options.models_folder,) if options.models_folder else ()
    return replace(folders, extra=(*extra, *folders.extra), online=folders.online and not options.offline)


def check_folder(folder: Path) -> None:
    """Raise CannotWrite for a folder that takes no files."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise CannotWrite(f"Nothing can be written to {folder} ({reason}): choose another folder.") from error
