"""Folders that are made where they are missing, and files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import CannotWrite


def make_folder(folder: Path) -> None:
    """Have a folder, and those above it.

    Raises
    ------
    CannotWrite
        It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"{folder} cannot be made ({error.strerror}): choose another folder.") from error


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A file beside `path` that takes its place once it is whole, and vanishes otherwise.

    Raises
    ------
    CannotWrite
        The folder is missing or read-only, or the disk is full.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with open(part, "wb") as file:
                yield file
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(_reason(error, path)) from error


def _reason(error: OSError, path: Path) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"The disk is full and {path} was not written: make room or choose another folder."
        case errno.ENOENT | errno.ENOTDIR:
            return f"There is no folder {path.parent}: create it or choose another."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"Nothing may be written to {path}: choose another folder."
        case _:
            return f"{path} cannot be written ({error.strerror}): choose another name or folder."
