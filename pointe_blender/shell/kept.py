"""What was computed of a file or a network, kept for the next run; damaged entries count as none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..pipeline.replacing import make_folder, replacing

Key = Sequence[str | int | float | None]  # what the values are, then everything that they depend on
Values = dict[str, np.ndarray]

FORM = 1  # of what is kept; a higher one, once something is computed otherwise, finds nothing of this


class Kept:
    """Arrays by what they were computed from.

    Parameters
    ----------
    folder
        Takes a file for each entry, there whole or not at all; made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: Key) -> Values | None:
        """What was put there; `None` if that was nothing, or is damaged."""
        try:
            with np.load(self._place(key)) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except Exception:  # it is missing, or damaged, which an archive's own sums tell
            return None

    def put(self, key: Key, values: Values) -> None:
        """Keep arrays.

        Raises
        ------
        CannotWrite
            The folder is read-only or the disk is full.
        """
        place = self._place(key)
        make_folder(place.parent)
        with replacing(place) as file:
            np.savez(file, **values)

    def made(self, key: Key, make: Callable[[], Values]) -> Values:
        """What is kept, else what is made now, and kept."""
        values = self.get(key)
        if values is None:
            values = make()
            self.put(key, values)
        return values

    def _place(self, key: Key) -> Path:
        name = hashlib.sha256(json.dumps([FORM, *key]).encode()).hexdigest()
        return self._folder / str(key[0]) / f"{name}.npz"
