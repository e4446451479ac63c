"""The files of a result: which formats there are, and each file there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..formats import CLOUDS, MESHES, PLAIN, POINT_E
from ..pipeline.errors import CannotWrite, InvalidRequest, MissingPackage

if TYPE_CHECKING:
    from ..pipeline.request import Request, Result

PREVIEW = ".png"
PREVIEW_SIDE = 256  # pixels


class Finisher(Protocol):
    """Blender's own exporters: the module `scene.finisher`, which only Blender can import.

    `finish` are fields of `Finish`, each of `paths` ends in one of `CLOUDS` or `MESHES`.
    """

    def check(self, finish: Mapping[str, Any], endings: Sequence[str]) -> None:
        """Refuse what this Blender lacks."""

    def finish_and_export(
        self, result: Result, request: Request, finish: Mapping[str, Any], paths: Sequence[Path]
    ) -> None:
        """One variant; files that belong to one of the paths, such as textures, go beside it."""


@dataclass(frozen=True)
class Style:
    """How files are written.

    Attributes
    ----------
    finisher
        Blender's exporters, where there are any.
    finish
        What is done to an object before.
    previews
        Whether a picture is put beside each.
    """

    finisher: Finisher | None = None
    finish: Mapping[str, Any] = field(default_factory=dict)
    previews: bool = False

    def names(self, stems: Iterable[str], endings: Iterable[str]) -> list[str]:
        """The files that everybody can count on; an exporter may put others beside them."""
        every = [*endings, *([PREVIEW] if self.previews else [])]
        return [stem + ending for stem in stems for ending in every]


def formats(text: str) -> tuple[str, ...]:
    """Endings from a list such as "glb, usd".

    Raises
    ------
    InvalidRequest
        One of them is unknown.
    """
    endings = [f".{part.strip().lstrip('.').lower()}" for part in text.split(",") if part.strip()]
    for ending in endings:
        if ending not in CLOUDS + MESHES:
            known = ", ".join(known[1:] for known in CLOUDS + MESHES)
            raise InvalidRequest(f"The format {ending[1:]!r} is unknown: choose among {known}.")
    if not endings:
        raise InvalidRequest("The format is empty: choose one such as glb.")
    return tuple(dict.fromkeys(endings))


def check(endings: Iterable[str], style: Style) -> None:
    """Refuse what cannot be written here: much of it needs Blender, and pictures need Pillow.

    Raises
    ------
    InvalidRequest, MissingPackage
    """
    if style.previews and find_spec("PIL") is None:
        raise MissingPackage("Preview pictures need Pillow: install PyTorch, which brings it.")
    if style.finisher is not None:
        style.finisher.check(style.finish, [ending for ending in endings if ending != POINT_E])
        return
    for ending in endings:
        if ending not in PLAIN:
            raise InvalidRequest(
                f"Files ending in {ending} are written by Blender: run this as blender --command pointe, "
                f"or choose among {', '.join(PLAIN)}."
            )
    if style.finish:
        raise InvalidRequest(
            f"--{next(iter(style.finish))} is done by Blender: run this as blender --command pointe."
        )


def save(
    result: Result, request: Request, folder: Path, stems: Sequence[str], endings: Sequence[str], style: Style
) -> list[Path]:
    """Write every variant in every format, and move all files into place once they are whole.

    Parameters
    ----------
    result
        As many variants as there are stems.
    request
        From what it was made.
    stems
        File names without their endings.

    Returns
    -------
    Everything that was written: of each variant its files in the order of `endings` and its preview, then
    what belongs to them.

    Raises
    ------
    CannotWrite
        The folder is missing or read-only, or the disk is full.
    """
    # Named after what is made, so that whoever makes it again removes what a killed run has left.
    part = folder / f".{stems[0]}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            for i, stem in enumerate(stems):
                alone = replace(request, seed=result.seeds[i], count=1)
                _write(variants(result, [i]), alone, [part / (stem + ending) for ending in endings], style)
            first = style.names(stems, endings)
            every = [path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file()]
            rest = sorted(set(every) - set(first))
            for name in (*rest, *first):  # a file comes after what it refers to
                (folder / name).parent.mkdir(exist_ok=True)
                os.replace(part / name, folder / name)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise CannotWrite(f"Nothing can be written to {folder} ({reason}): choose another folder.") from error
    return [folder / name for name in (*first, *rest)]


def variants(result: Result, indices: Sequence[int]) -> Result:
    """Some variants of a result."""
    return replace(
        result,
        clouds=tuple(result.clouds[i] for i in indices),
        meshes=tuple(result.meshes[i] for i in indices) if result.meshes else (),
        seeds=tuple(result.seeds[i] for i in indices),
        scores=tuple(result.scores[i] for i in indices) if result.scores else (),
    )


def _write(result: Result, request: Request, paths: Sequence[Path], style: Style) -> None:
    """One variant in all formats."""
    from ..pipeline import files

    exported = [path for path in paths if style.finisher is not None and path.suffix != POINT_E]
    if style.finisher is not None and exported:
        style.finisher.finish_and_export(result, request, style.finish, exported)
    for path in paths:
        if path not in exported:
            is_cloud = path.suffix in CLOUDS
            files.save(path, cloud=result.clouds[0], mesh=None if is_cloud else result.meshes[0])
    if style.previews:
        from PIL import Image

        from ..pipeline.drawing import picture_of

        picture = picture_of(result.clouds[0], PREVIEW_SIDE)
        Image.fromarray(picture).save(paths[0].with_suffix(PREVIEW))
