"""A folder of generated objects, made by anything: which files belong together, and to which prompt."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..pipeline import Mesh, files
from ..pipeline.errors import InvalidRequest
from ..pipeline.files import Thing
from ..pipeline.sets import Doing
from .console import say, watch
from .items import Item
from .kept import Kept

# Where an object is there in several formats: the exact ones first.
CLOUDS = (".npz", ".ply", ".glb", ".obj")
MESHES = (".npz", ".ply", ".obj", ".glb")


class File(NamedTuple):
    """A cloud or a mesh on the disk; `digest` is the SHA-256 of its bytes."""

    path: Path
    digest: str


class Origin(NamedTuple):
    """What an object was made from."""

    prompt: str
    seed: int


@dataclass(frozen=True)
class Sample:
    """A generated object.

    Attributes
    ----------
    name
        Its files' path in the folder, without their endings.
    cloud, mesh
        Its files, at least one.
    origin
        Its prompt and seed, where anybody knows.
    """

    name: str
    cloud: File | None
    mesh: File | None
    origin: Origin | None


@dataclass(frozen=True)
class Collection:
    """Everything in a folder.

    Attributes
    ----------
    samples
        By name.
    unreadable
        Files that hold no cloud and no mesh, and why.
    prompts
        All that there are, those without an object too, each once.
    """

    samples: tuple[Sample, ...]
    unreadable: tuple[tuple[Path, str], ...]
    prompts: tuple[str, ...]

    @property
    def sets(self) -> list[list[int]]:
        """Indices of samples in as many sets as most prompts have seeds: the first of each, and so on.

        One set of everything where objects have no prompts, or most prompts one seed.
        """
        seeded: dict[str, list[tuple[int, int]]] = {}  # by prompt: seeds and indices
        for i, sample in enumerate(self.samples):
            if sample.origin is None:
                return [list(range(len(self.samples)))]
            seeded.setdefault(sample.origin.prompt, []).append((sample.origin.seed, i))
        sizes = Counter(len(own) for own in seeded.values())
        count = max(sizes, key=lambda size: (sizes[size], size))
        sets: list[list[int]] = [[] for _ in range(count)]
        for own in seeded.values():
            for rank, (_, i) in enumerate(sorted(own)):
                sets[rank % count].append(i)
        return [sorted(members) for members in sets]


def collect(folder: Path, kept: Kept, origins: dict[str, Origin] | None = None) -> Collection:
    """Look through a folder and those below it.

    Parameters
    ----------
    folder
        Hidden files and folders in it are left out.
    kept
        Remembers what files hold.
    origins
        Prompts and seeds by the files' name without its ending, see `asked_in`; `None`: what the logs of
        batches in the folder say.

    Raises
    ------
    InvalidRequest
        There is no such folder, or nothing in it that can be read.
    CannotWrite
    """
    if not folder.is_dir():
        raise InvalidRequest(f"There is no folder {folder}: choose another.")
    named: dict[str, dict[str, dict[str, File]]] = {}  # by name and by kind: files by ending
    unreadable: list[tuple[Path, str]] = []

    def read() -> Iterator[Doing]:
        paths = list(_files(folder))
        for done, path in enumerate(paths, 1):
            try:
                kind, digest = _look(path, kept)
            except InvalidRequest as error:
                unreadable.append((path, str(error)))
            else:
                name = path.relative_to(folder).with_suffix("").as_posix()
                kinds = named.setdefault(name, {"cloud": {}, "mesh": {}})
                kinds[kind][path.suffix.lower()] = File(path, digest)
            yield Doing("reading files", done / len(paths), f"{done}/{len(paths)}")

    watch(read())
    if not named and unreadable:
        raise InvalidRequest(f"Nothing in {folder} can be read: {unreadable[0][1]}")
    if not named:
        raise InvalidRequest(
            f"There is nothing to evaluate in {folder}: it takes clouds and meshes in {', '.join(CLOUDS)}."
        )
    known = dict(_logged(folder)) if origins is None else origins
    samples = tuple(
        Sample(
            name,
            _first(kinds["cloud"], CLOUDS),
            _first(kinds["mesh"], MESHES),
            known.get(name) or known.get(name.rpartition("/")[2]),
        )
        for name, kinds in sorted(named.items())
    )
    asked = known.values() if origins is not None else (s.origin for s in samples if s.origin)
    return Collection(samples, tuple(unreadable), tuple(dict.fromkeys(origin.prompt for origin in asked)))


def load(path: Path) -> Thing:
    """Read a cloud or a mesh in one of the four formats.

    Raises
    ------
    InvalidRequest
        The file is missing, damaged, empty or of another kind.
    """
    thing = files.load(path)
    points = thing.vertices if isinstance(thing, Mesh) else thing.points
    if not len(points) or not np.isfinite(points).all() or not np.ptp(points, axis=0).any():
        raise InvalidRequest(f"{path} has no points, or all are in one place: choose another file.")
    if isinstance(thing, Mesh) and not len(thing.triangles):
        raise InvalidRequest(f"{path} is a mesh without faces: choose another file.")
    return thing


def asked_in(path: Path) -> dict[str, Origin]:
    """Prompts and seeds by the files' name, of a file of prompts as batches read it.

    Raises
    ------
    InvalidRequest
        The file as a whole cannot be used.
    """
    from . import prompts
    from .outputs import Style

    found, bad = prompts.read(path, Item(), Style())
    for line, reason in bad:
        say(f"{path.name}, line {line}: {reason}")
    return {
        stem: Origin(item.prompt, item.seed + i)
        for item in found
        if item.prompt is not None
        for i, stem in enumerate(item.stems)
    }


def _files(folder: Path) -> Iterator[Path]:
    """The files that can hold something, in the order of their names."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in CLOUDS and not hidden and path.is_file():
            yield path


def _look(path: Path, kept: Kept) -> tuple[Literal["cloud", "mesh"], str]:
    """What a file holds, and its digest."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read ({error.strerror}): choose another file.") from error

    def look() -> dict[str, np.ndarray]:
        return {"mesh": np.array(isinstance(load(path), Mesh))}

    return ("mesh" if kept.made(("kind", digest), look)["mesh"] else "cloud"), digest


def _first(found: dict[str, File], endings: Iterable[str]) -> File | None:
    return next((found[ending] for ending in endings if ending in found), None)


def _logged(folder: Path) -> Iterator[tuple[str, Origin]]:
    """Names of objects with their prompts and seeds, from the logs of batches; the latest counts."""
    for path in sorted(folder.rglob("log*.jsonl")):
        below = path.parent.relative_to(folder)
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                entry: dict[str, Any] = json.loads(line)
                if entry["state"] == "done" and "prompt" in entry:
                    stems = Item(name=entry["name"], count=entry["count"]).stems
                    for stem, seed in zip(stems, entry["seeds"], strict=True):
                        yield (below / stem).as_posix(), Origin(entry["prompt"], seed)
            except (ValueError, TypeError, KeyError):  # cut short, or somebody else's
                continue
