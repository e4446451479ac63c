"""From a prompt, a picture or a cloud to coloured point clouds and meshes; knows nothing of Blender.

Importing it imports neither torch nor a network; `generate` does when it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .errors import (
    CannotWrite,
    DamagedModel,
    DownloadFailed,
    InvalidRequest,
    MissingModel,
    MissingPackage,
    NoSurface,
    NotOnline,
    OutOfMemory,
    PointEError,
)
from .geometry import Mesh, PointCloud
from .request import Progress, Request, Result, validate

if TYPE_CHECKING:
    from .weights import Folders

__all__ = [
    "CannotWrite",
    "DamagedModel",
    "DownloadFailed",
    "InvalidRequest",
    "Mesh",
    "MissingModel",
    "MissingPackage",
    "NoSurface",
    "NotOnline",
    "OutOfMemory",
    "PointCloud",
    "PointEError",
    "Progress",
    "Request",
    "Result",
    "generate",
]


def generate(request: Request, *, folders: Folders | None = None) -> Iterator[Progress]:
    """Carry out a request, step by step; closing the iterator cancels it.

    Parameters
    ----------
    request
        What to make.
    folders
        Where weights lie and whether the network may be used; `weights.default_folders()` if `None`.

    Yields
    ------
    Progress
        After every evaluation of a network; the last one has a `result`.

    Raises
    ------
    PointEError
        One of its subclasses, with a sentence for the user.
    """
    validate(request)
    try:
        from .generation import carry_out
    except ImportError as error:
        missing = error.name or "torch"
        raise MissingPackage(
            f"The Python package {missing} is not installed: install PyTorch first."
        ) from error
    yield from carry_out(request, folders)
