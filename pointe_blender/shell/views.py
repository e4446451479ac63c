"""Pictures of objects from all around: made by Blender once, and kept as files that can be looked at."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from ..pipeline import Mesh
from ..pipeline.errors import InvalidRequest
from ..pipeline.replacing import make_folder
from ..streams import prints_aside
from . import collection
from .collection import File

if TYPE_CHECKING:
    from ..scene.turntable import Turntable

Engine = Literal["CYCLES", "EEVEE", "WORKBENCH"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
NO_BLENDER = "its pictures are made by Blender: run this as blender --command pointe evaluate"


class View(NamedTuple):
    """How a file is looked at.

    Attributes
    ----------
    lit
        Whether by the paper's lamps, or with every colour as it is.
    around
        Whose box is in the middle of the pictures; its own if `None`.
    """

    file: File
    lit: bool
    around: File | None = None


class Views:
    """The pictures of whatever is asked for; a context, as Blender's scene is set up and taken away.

    Parameters
    ----------
    folder
        Takes the pictures.
    count
        Pictures around each object.
    engine
        Which of Blender's renderers makes them.
    """

    def __init__(self, folder: Path, count: int, engine: Engine) -> None:
        self._folder = folder / f"{engine.lower()}-{count}"
        self._count, self._engine = count, engine
        self._table: Turntable | None = None

    def __enter__(self) -> Views:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    @property
    def settings(self) -> tuple[str, int]:
        """What the pictures depend on beside the view."""
        return self._engine, self._count

    def why_not(self, views: Iterable[View]) -> str:
        """Why pictures cannot be had; empty if they can."""
        if find_spec("PIL") is None:
            return "pictures need Pillow: install PyTorch, which brings it"
        if find_spec("bpy") is not None or all(self._read(view) is not None for view in views):
            return ""
        return NO_BLENDER

    def of(self, view: View) -> list[np.ndarray]:
        """The pictures, each (S, S, 3) uint8 sRGB on white; rendered where they are missing or damaged.

        Raises
        ------
        InvalidRequest, CannotWrite
        """
        pictures = self._read(view)
        if pictures is None:
            self._render(view)
            pictures = self._read(view)
        if pictures is None:
            raise InvalidRequest(f"The pictures of {view.file.path.name} cannot be read: {NO_BLENDER}.")
        return pictures

    def _read(self, view: View) -> list[np.ndarray] | None:
        """What is there, if it is all there and whole; what is damaged is removed."""
        from PIL import Image

        pictures = []
        for i in range(self._count):
            path = self._folder / f"{_stem(view)}_{i:02d}.png"
            try:
                with Image.open(path) as picture:
                    pictures.append(np.asarray(picture.convert("RGB")))
            except (OSError, SyntaxError):  # as Pillow calls a damaged one
                path.unlink(missing_ok=True)
        return pictures if len(pictures) == self._count else None

    def _render(self, view: View) -> None:
        make_folder(self._folder)
        around = None
        if view.around is not None:
            whole = collection.load(view.around.path)
            around = whole.vertices if isinstance(whole, Mesh) else whole.points
        with prints_aside():
            table = self._lit(view.lit)
            table.render(collection.load(view.file.path), self._folder, _stem(view), around)

    def _lit(self, lit: bool) -> Turntable:
        """The scene with or without lamps, one at a time."""
        from ..scene.turntable import Camera, Turntable

        if self._table is None or self._table.lit != lit:
            self._clear()
            self._table = Turntable(Camera(views=self._count), self._engine, lit).__enter__()
        return self._table

    def _clear(self) -> None:
        if self._table is not None:
            self._table.__exit__(None, None, None)
            self._table = None


def _stem(view: View) -> str:
    """Tells all views apart."""
    around = f"-in-{view.around.digest[:16]}" if view.around else ""
    return f"{view.file.digest[:16]}{around}{'' if view.lit else '-unlit'}"
