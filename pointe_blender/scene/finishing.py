"""How what comes out is made ready to use: size, origin and place, and a mesh's faces, shading and texture.

The faces are left to Blender's own Remesh and Decimate as modifiers, so that the artist can go on changing
them; only a texture, which needs faces that stay, has them applied.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Vector

from . import nodes, staging, textures
from .frames import Frame

REMESH, DECIMATE = "Remesh", "Decimate"  # the modifiers
FINEST = 1000  # vertices along the longest side: beyond that Blender stands still


@dataclass(frozen=True)
class Finish:
    """How objects are made ready.

    Attributes
    ----------
    size
        Metres of the longest side; 0 leaves it as it was made.
    origin
        "BASE", the middle of the underside, or "CENTER", that of the bounding box.
    place
        "CURSOR", at the 3D cursor, or "GROUND", standing on it at the world's origin.
    collection
        Name of the collection to link to, made when missing; empty for the active one.
    shading
        "SMOOTH" or "FLAT".
    faces
        About how many triangles Decimate leaves; 0 for all.
    remesh
        Metres between the vertices that Remesh makes; 0 for no Remesh.
    texture
        Pixels along each side of the picture the colours are baked into; 0 for none.
    asset
        Whether to mark them as assets.
    """

    size: float = 1.0
    origin: str = "BASE"
    place: str = "CURSOR"
    collection: str = ""
    shading: str = "SMOOTH"
    faces: int = 0
    remesh: float = 0.0
    texture: int = 0
    asset: bool = False

    @classmethod
    def of(cls, scene: bpy.types.Scene) -> Finish:
        """What the scene's settings say.

        Raises
        ------
        InvalidRequest
            A texture is wanted, but Blender's Cycles is switched off.
        """
        settings = scene.pointe
        finish = cls(
            size=settings.size,
            origin=settings.origin,
            place=settings.place,
            collection=settings.collection.name if settings.collection else "",
            shading=settings.shading,
            faces=settings.faces,
            remesh=settings.remesh,
            texture=int(settings.texture),
            asset=settings.asset,
        )
        if finish.texture:
            textures.check()
        return finish

    def matrix(self, scene: bpy.types.Scene) -> Matrix:
        """About where the pipeline's cube will be in the world, for what forms before the result is there."""
        size = self.size or 1.0
        lift = size / 2 if self.origin == "BASE" or self.floats else 0.0
        return Matrix.Translation(self.spot(scene) + Vector((0.0, 0.0, lift))) @ Matrix.Scale(size, 4)

    @property
    def floats(self) -> bool:
        """Whether the origin of a standing object is above the ground."""
        return self.place == "GROUND" and self.origin == "CENTER"

    def spot(self, scene: bpy.types.Scene) -> Vector:
        """The point of the world that the first object is put at."""
        return scene.cursor.location.copy() if self.place == "CURSOR" else Vector()

    def frame(self, points: np.ndarray, scale: Vector | None = None) -> Frame:
        """For points (N, 3) of the pipeline; a given scale is used instead of the one that makes the size."""
        low, high = (end.astype(np.float64) for end in (points.min(axis=0), points.max(axis=0)))
        origin = (low + high) / 2
        if self.origin == "BASE":
            origin[2] = low[2]
        if scale is not None:
            return Frame(origin, np.array([abs(factor) or 1.0 for factor in scale]))
        longest = float((high - low).max())
        return Frame(origin, np.full(3, self.size / longest if self.size and longest else 1.0))


def finish_mesh(thing: bpy.types.Object, finish: Finish) -> None:
    """Give a mesh object shading, faces and texture; what an earlier call gave it is replaced.

    The object is in a scene, whose current view layer shows it or not.
    """
    for name in (nodes.ORIGINAL, REMESH, nodes.COLORS, DECIMATE):
        if old := thing.modifiers.get(name):
            thing.modifiers.remove(old)
    _shade(thing.data, finish.shading)
    if finish.remesh:
        _add_remesh(thing, finish)
    if finish.faces:
        _add_decimate(thing, finish.faces)
    if finish.texture:
        textures.bake(thing, finish.texture)


def _shade(mesh: bpy.types.Mesh, shading: str) -> None:
    """Smooth or flat."""
    if shading == "SMOOTH":
        mesh.shade_smooth()
    else:
        mesh.shade_flat()


def _add_remesh(thing: bpy.types.Object, finish: Finish) -> None:
    """Remesh drops the colours, so node groups before and after it carry them over."""
    thing.modifiers.new(nodes.ORIGINAL, "NODES").node_group = nodes.original_group()
    remesh = thing.modifiers.new(REMESH, "REMESH")
    remesh.mode = "VOXEL"
    remesh.voxel_size = max(finish.remesh, np.ptp(thing.bound_box, axis=0).max() / FINEST)
    remesh.use_smooth_shade = finish.shading == "SMOOTH"
    thing.modifiers.new(nodes.COLORS, "NODES").node_group = nodes.colors_group()


def _add_decimate(thing: bpy.types.Object, faces: int) -> None:
    """Its ratio counts the triangles that it gets."""
    given = staging.evaluated(thing)
    given.calc_loop_triangles()
    triangles = len(given.loop_triangles)
    bpy.data.meshes.remove(given)
    if triangles > faces:
        decimate = thing.modifiers.new(DECIMATE, "DECIMATE")
        decimate.use_collapse_triangulate = True
        decimate.ratio = faces / triangles
