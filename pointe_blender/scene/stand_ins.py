"""What stands on the turntable in place of a thing: a mesh of its own, fitted into the picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, Vector
from mathutils.kdtree import KDTree

from ..pipeline import Mesh, PointCloud
from ..pipeline.errors import InvalidRequest
from . import appearance, objects
from .frames import Frame
from .materials import COLOR, color_material
from .staging import evaluated

Thing = Mesh | PointCloud | bpy.types.Object
NEIGHBORS = 6  # that a point has in a regular net of triangles
REACH = 0.75  # a ball's radius, of the distance to the last of them; 0.58 closes a net that is regular
ASKED = 2048  # points whose neighbours are looked for
_NAME = "Point-E Stand-in"


@contextmanager
def stand_in(thing: Thing, lit: bool, around: np.ndarray | None) -> Iterator[bpy.types.Object]:
    """A new object that looks like a thing, in no scene; it vanishes with all that was made for it.

    Parameters
    ----------
    lit
        Whether it shows the light that falls on it, and not its bare colours.
    around
        (N, 3) points whose box becomes one of longest side 1 around the origin; the thing's own if `None`.

    Raises
    ------
    InvalidRequest
        There is no surface, there are no points, or they have no extent.
    """
    materials = set(bpy.data.materials)
    made: list[bpy.types.ID] = []
    try:
        if isinstance(thing, bpy.types.Object) and thing.type == "POINTCLOUD":
            thing = _in_world(thing)
        if isinstance(thing, bpy.types.Object):
            data = _shown(thing)
            made.append(data)
            fit = _fit(_positions(data) if around is None else around)
        else:
            points = thing.points if isinstance(thing, PointCloud) else thing.vertices
            fit = _fit(points if around is None else around)
            shape = _balls(thing) if isinstance(thing, PointCloud) else thing
            data = objects.new_mesh(shape, Frame(), _NAME)
            made.append(data)
            if isinstance(thing, PointCloud):
                data.shade_smooth()
        _dress(data, lit)
        standing = bpy.data.objects.new(_NAME, data)
        made.append(standing)
        standing.matrix_world = fit
        yield standing
    finally:
        bpy.data.batch_remove([*made, *(set(bpy.data.materials) - materials)])


def _in_world(thing: bpy.types.Object) -> PointCloud:
    cloud, matrix = objects.to_cloud(thing)
    values = np.array(thing.matrix_world @ matrix)
    return PointCloud(cloud.points @ values[:3, :3].T + values[:3, 3], cloud.colors)


def _shown(thing: bpy.types.Object) -> bpy.types.Mesh:
    """A new mesh of what an object shows, in the world's coordinates."""
    try:
        data = evaluated(thing)
    except RuntimeError as error:  # a lamp, a camera, an empty
        raise InvalidRequest(f"{thing.name} has no surface: choose a mesh or a point cloud.") from error
    for slot in thing.material_slots:
        if slot.link == "OBJECT" and slot.slot_index < len(data.materials):
            data.materials[slot.slot_index] = slot.material
    data.transform(thing.matrix_world)
    return data


def _positions(data: bpy.types.Mesh) -> np.ndarray:
    points = np.empty((len(data.vertices), 3), np.float32)
    data.attributes["position"].data.foreach_get("vector", points.ravel())
    return points


def _fit(points: np.ndarray) -> Matrix:
    """Brings the box of (N, 3) points around the origin, and its longest side to 1."""
    if len(points) == 0 or not np.isfinite(points).all() or not np.ptp(points, axis=0).any():
        raise InvalidRequest("There is nothing to render, or it is all in one place: choose another object.")
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    middle = Vector((-(low + high) / 2).tolist())
    return Matrix.Scale(1 / float((high - low).max()), 4) @ Matrix.Translation(middle)


def _balls(cloud: PointCloud) -> Mesh:
    """A ball at each point; a mesh, so that all engines draw the same."""
    corners, faces = _ball()
    vertices = cloud.points[:, None] + _radius(cloud.points) * corners
    triangles = faces + len(corners) * np.arange(len(cloud))[:, None, None]
    colors = np.repeat(cloud.colors, len(corners), axis=0)
    return Mesh(vertices.reshape(-1, 3), triangles.reshape(-1, 3), colors)


def _radius(points: np.ndarray) -> float:
    """Of balls that close the surface, whether (N, 3) points are spread evenly or at random."""
    tree = KDTree(len(points))
    for i, point in enumerate(points):
        tree.insert(point, i)
    tree.balance()
    asked = points[:: max(1, len(points) // ASKED)]
    return REACH * float(np.median([tree.find_n(point, NEIGHBORS + 1)[-1][2] for point in asked]))


def _ball() -> tuple[np.ndarray, np.ndarray]:
    """(12, 3) corners and (20, 3) faces of a ball of radius 1."""
    shape = bmesh.new()
    try:
        bmesh.ops.create_icosphere(shape, subdivisions=1, radius=1.0)
        corners = np.array([corner.co for corner in shape.verts], np.float32)
        return corners, np.array([[corner.index for corner in face.verts] for face in shape.faces])
    finally:
        shape.free()


def _dress(data: bpy.types.Mesh, lit: bool) -> None:
    """Let materials show its colours, if it has none that do, and bare ones unless it is lit."""
    if not any(data.materials):
        data.materials.clear()
        data.materials.append(_painted(data))
    if not lit:
        for i, material in enumerate(data.materials):
            data.materials[i] = _unlit(material or bpy.data.materials.new(_NAME))


def _painted(data: bpy.types.Mesh) -> bpy.types.Material:
    """The material of its colour attribute, or as plain as Blender shows a mesh without either."""
    attribute = appearance.color_attribute(data)
    if attribute is None:
        return bpy.data.materials.new(_NAME)
    attribute.name = COLOR
    data.attributes.active_color_name = data.attributes.default_color_name = COLOR
    return color_material()


def _unlit(material: bpy.types.Material) -> bpy.types.Material:
    """A copy that shines by itself in the base colour, whatever falls on it."""
    look = appearance.look(material)
    plain = bpy.app.version < (5, 0) and not material.use_nodes
    copy = material.copy()
    copy.diffuse_color = (*look.color, 1.0)  # what Workbench shows
    if bpy.app.version < (5, 0):
        copy.use_nodes = True
    tree = copy.node_tree
    output = tree.get_output_node("ALL") or tree.nodes.new("ShaderNodeOutputMaterial")
    base = None if plain else appearance.shader_color(output.inputs["Surface"])
    glow = tree.nodes.new("ShaderNodeEmission")
    if base and base.links:
        tree.links.new(base.links[0].from_socket, glow.inputs["Color"])
    else:
        glow.inputs["Color"].default_value = copy.diffuse_color
    tree.links.new(glow.outputs["Emission"], output.inputs["Surface"])
    return copy
