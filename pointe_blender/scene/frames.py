"""The pipeline's coordinates and those of an object of real size: the way there, kept for the way back."""

from __future__ import annotations

from typing import NamedTuple

import bpy
import numpy as np
from mathutils import Matrix, Vector

_KEY = "pointe_frame"  # on the data of objects


class Frame(NamedTuple):
    """How the pipeline's coordinates become an object's own: shifted, then stretched.

    Attributes
    ----------
    origin
        (3,) the point that becomes the object's origin.
    scale
        (3,) positive, metres per unit along each axis.
    """

    origin: np.ndarray = np.zeros(3)
    scale: np.ndarray = np.ones(3)

    def applied(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) in the object's coordinates, float32."""
        return ((points.astype(np.float64) - self.origin) * self.scale).astype(np.float32)

    def undone(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) of the object in the pipeline's coordinates, float32."""
        return (points.astype(np.float64) / self.scale + self.origin).astype(np.float32)

    @property
    def matrix(self) -> Matrix:
        """From the pipeline's coordinates to the object's."""
        origin = Vector(self.origin.tolist())
        return Matrix.Diagonal((*self.scale.tolist(), 1.0)) @ Matrix.Translation(-origin)

    def then(self, other: Frame) -> Frame:
        """This one, and on what it makes the other."""
        return Frame(self.origin + other.origin / self.scale, self.scale * other.scale)

    @classmethod
    def of(cls, data: bpy.types.ID) -> Frame | None:
        """That of a mesh or a cloud made here, `None` for others."""
        values = data.get(_KEY)
        return None if values is None else cls(*np.reshape(values, (2, 3)))

    def keep(self, data: bpy.types.ID) -> None:
        """Store it with the coordinates it belongs to."""
        data[_KEY] = [*self.origin.tolist(), *self.scale.tolist()]
