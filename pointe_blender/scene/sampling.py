"""Any object as a coloured cloud: points on its surface as Blender shows it, or the points that it has."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..pipeline import PointCloud
from ..pipeline.colors import srgb
from ..pipeline.errors import InvalidRequest
from ..pipeline.sampling import sample_surface
from . import appearance, objects, variants

COUNT = 4096  # points on a surface: what the released network was trained on
MOST = 2**16  # points of a cloud that are kept; the network sees the farthest from one another
FILL = 0.96  # of the cube's side: the surface needs room to close around it


def cloud_of(thing: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> tuple[PointCloud, Matrix]:
    """Coloured points of an object, in the pipeline's cube, and the matrix from there into the world.

    What counts is what is seen: modifiers, curves, text, metaballs, instances. Without any face the vertices
    and points count. What was made here comes back to where it was in the cube.

    Parameters
    ----------
    thing
        Visible in the depsgraph's view layer.
    depsgraph
        Evaluated.

    Returns
    -------
    The cloud stands along the object's own axes, with its scale applied; the matrix moves, turns and scales
    it evenly.

    Raises
    ------
    InvalidRequest
        It has nothing that can be sampled.
    """
    # In Edit Mode the data is elsewhere: what it shows is taken, as of any object.
    known = thing.type in ("MESH", "POINTCLOUD") and thing.mode != "EDIT"
    made_here = known and variants.is_generated(thing)
    if made_here:
        cloud, back = objects.to_cloud(thing)
        matrix = thing.matrix_world @ back
        if thing.type == "POINTCLOUD":
            return cloud, matrix
    points, colors = _sampled(thing, depsgraph)
    if not made_here or np.abs(_moved(points, matrix.inverted_safe())).max() > objects.OUTSIDE:
        matrix = _around(thing, points)
    return PointCloud(_moved(points, matrix.inverted_safe()).astype(np.float32), srgb(colors)), matrix


def _around(thing: bpy.types.Object, points: np.ndarray) -> Matrix:
    """From the pipeline's cube to where (N, 3) points fill it, along the object's axes."""
    location, rotation, _ = thing.matrix_world.decompose()
    frame = Matrix.LocRotScale(location, rotation, None)
    turned = _moved(points, frame.inverted())
    low, high = turned.min(axis=0), turned.max(axis=0)
    size = float((high - low).max()) / FILL
    if size == 0.0:
        raise InvalidRequest(f"All points of {thing.name} are in one place: choose another object.")
    return frame @ Matrix.Translation(Vector(((low + high) / 2).tolist())) @ Matrix.Scale(size, 4)


def _moved(points: np.ndarray, matrix: Matrix) -> np.ndarray:
    """(N, 3) float64."""
    values = np.array(matrix)
    return points @ values[:3, :3].T + values[:3, 3]


class _Part(NamedTuple):
    """One of the meshes and clouds that an object shows, without reference to it.

    Attributes
    ----------
    points
        (V, 3) float64 in the world.
    triangles, paint
        (F, 3) int32 and their colours, of a mesh with faces.
    colors
        (V, 3) linear, of points without faces.
    """

    points: np.ndarray
    triangles: np.ndarray | None = None
    paint: appearance.Paint | None = None
    colors: np.ndarray | None = None


def _sampled(thing: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) points in the world and their linear colours."""
    parts = [part for part in _parts(thing, depsgraph) if len(part.points)]
    if not parts:
        raise InvalidRequest(f"{thing.name} has neither faces nor points: choose another object.")
    if not all(np.isfinite(part.points).all() for part in parts):
        raise InvalidRequest(f"{thing.name} has points that are not numbers: delete them first.")
    draws = np.random.default_rng(0)  # an object always gives the same points
    if surfaces := [part for part in parts if part.paint]:
        return _on_surfaces(surfaces, draws)
    points, colors = (
        np.concatenate(values) for values in zip(*((part.points, part.colors) for part in parts), strict=True)
    )
    kept = np.sort(draws.choice(len(points), MOST, replace=False)) if len(points) > MOST else slice(None)
    return points[kept], colors[kept]


def _on_surfaces(surfaces: list[_Part], draws: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(COUNT, 3) points on all the surfaces together, and their linear colours."""
    vertices = np.cumsum([0, *(len(part.points) for part in surfaces)])
    triangles = np.cumsum([0, *(len(part.triangles) for part in surfaces)])
    points, triangle, barycentric = sample_surface(
        np.concatenate([part.points for part in surfaces]),
        np.concatenate([part.triangles + first for part, first in zip(surfaces, vertices, strict=False)]),
        COUNT,
        draws,
    )
    # The triangles rise, so the points of one surface stand together.
    colors = [
        part.paint.at(triangle[start:end] - first, barycentric[start:end])
        for part, first, (start, end) in zip(
            surfaces, triangles, pairwise(np.searchsorted(triangle, triangles)), strict=False
        )
    ]
    return points, np.concatenate(colors)


def _parts(thing: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> Iterator[_Part]:
    """Every mesh and point cloud that Blender shows for an object.

    The meshes of curves, text, metaballs and geometry nodes are instances of the object itself.
    """
    look = functools.cache(appearance.look)
    for instance in depsgraph.object_instances:
        owner, shown = instance.parent if instance.is_instance else instance.object, instance.object
        if not owner or owner.original != thing or shown.type not in ("MESH", "POINTCLOUD"):
            continue
        materials = [slot.material for slot in shown.material_slots] or shown.data.materials
        slots = [material and material.original for material in materials]
        if shown.type == "MESH":
            yield _part(shown.to_mesh(), instance.matrix_world, slots, look)
            shown.to_mesh_clear()
        else:
            yield _part(shown.data, instance.matrix_world, slots, look)


def _part(
    data: bpy.types.Mesh | bpy.types.PointCloud,
    matrix: Matrix,
    slots: list[bpy.types.Material | None],
    look: Callable[[bpy.types.Material], appearance.Look],
) -> _Part:
    position = data.attributes.get("position")  # a cloud without points has none
    points = np.empty((len(position.data) if position else 0, 3), np.float32)
    if position:
        position.data.foreach_get("vector", points.ravel())
    points = _moved(points.astype(np.float64), matrix)
    if isinstance(data, bpy.types.Mesh) and len(data.polygons):
        data.calc_loop_triangles()
        triangles = np.empty((len(data.loop_triangles), 3), np.int32)
        data.loop_triangles.foreach_get("vertices", triangles.ravel())
        return _Part(points, triangles, appearance.paint_of(data, slots, look))
    attribute = appearance.color_attribute(data)
    if attribute and attribute.domain == "POINT":
        return _Part(points, colors=appearance.read_colors(attribute))
    material = next(filter(None, slots), None)
    color = look(material).color if material else appearance.UNPAINTED
    return _Part(points, colors=np.tile(color, (len(points), 1)))
