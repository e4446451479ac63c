"""What objects are compared with: those of a folder, or real ones of the starter models' world."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np

from ..pipeline import PointCloud
from . import collection
from .console import say
from .kept import Kept, Values
from .shapes import Shape, digest_of, framed, shape_of

STARTER: Literal["starter"] = "starter"
JUDGE = "starter-judge"  # the classifier that is trained on that world
COUNT = 500  # objects of it


def shapes_of(reference: Path | Literal["starter"], seed: int, kept: Kept) -> list[Shape]:
    """The references.

    Parameters
    ----------
    reference
        A folder, or "starter".
    seed
        Of what is drawn from the starter world.
    kept
        Remembers what files hold, and how objects of the world are told apart.

    Raises
    ------
    InvalidRequest
        The folder is missing, or nothing in it can be read.
    """
    if isinstance(reference, Path):
        real = collection.collect(reference, kept)
        if real.unreadable:
            say(f"files of the reference that could not be read: {len(real.unreadable)}")
        return [shape_of(sample) for sample in real.samples]
    return _of_the_world(seed, kept)


def _of_the_world(seed: int, kept: Kept) -> list[Shape]:
    """Real objects, made again only where something is not kept of them."""
    from ..pipeline.models import CHECKPOINTS

    @cache
    def clouds() -> list[PointCloud]:
        from ..pipeline.starter import judge

        return judge.references(COUNT, seed)

    def make() -> Values:
        return {"digests": np.array([digest_of(cloud) for cloud in clouds()])}

    # Another world has another judge.
    digests = kept.made(("references", COUNT, seed, CHECKPOINTS[JUDGE].sha256), make)["digests"]
    return [Shape(str(digest), partial(lambda i: framed(clouds()[i]), i)) for i, digest in enumerate(digests)]
