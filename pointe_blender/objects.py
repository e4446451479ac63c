"""PointCloud and Mesh to objects, and back: the one place where arrays cross into bpy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from . import materials
from .pipeline import Mesh, PointCloud
from .pipeline.errors import InvalidRequest

if TYPE_CHECKING:
    from .pipeline import Request, Result

SPACING = 1.2  # between neighbours in a row: results fill a cube of side 1
NAME_LENGTH = 48  # leaves room for ".001" in Blender's 63 bytes
GREY = 0.5  # sRGB, of points without a colour


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] to the linear light that Blender computes in (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def srgb(light: np.ndarray) -> np.ndarray:
    """The inverse of `linear`; light outside [0, 1] is clipped."""
    light = np.clip(light, 0.0, 1.0)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return encoded.astype(np.float32)


def insert(
    result: Result, request: Request, name: str, scene_name: str, matrix: Matrix | None = None
) -> list[bpy.types.Object]:
    """Add what was made to a scene, selected, the first one active.

    Parameters
    ----------
    result, request
        What was made, and from what.
    name
        Of the objects, such as the prompt.
    scene_name
        Where it was asked for; the current scene takes it if that one is gone.
    matrix
        Where in the world; the 3D cursor's place if `None`. Several things stand in a row along its x axis.

    Returns
    -------
    Of each variant the mesh, then the cloud.
    """
    scene = bpy.data.scenes.get(scene_name) or bpy.context.scene
    start = matrix or Matrix.Translation(scene.cursor.location)
    objects = [_new_object(thing, name[:NAME_LENGTH].strip()) for thing in _things(result, request)]
    for i, thing in enumerate(objects):
        thing.matrix_world = start @ Matrix.Translation((SPACING * i, 0.0, 0.0))
        _describe(thing, request, name)
    _link(objects, scene)
    show_colors()
    return objects


def show_colors() -> None:
    """Let Solid shading show colour attributes where it is still as Blender sets it."""
    for screen in bpy.data.screens:
        for area in screen.areas:
            for space in area.spaces:
                if space.type == "VIEW_3D" and space.shading.color_type == "MATERIAL":
                    space.shading.color_type = "VERTEX"


def to_cloud(thing: bpy.types.Object) -> tuple[PointCloud, Matrix]:
    """The points of a mesh or point cloud object, and the matrix that takes them back to its own space.

    What was made here is in the pipeline's cube and stays as it is; the rest is moved and scaled into it.

    Raises
    ------
    InvalidRequest
        It has no points that can be used.
    """
    data = thing.data
    position = data.attributes.get("position") if thing.type in ("MESH", "POINTCLOUD") else None
    if position is None or len(position.data) == 0:
        raise InvalidRequest(f"{thing.name} has no points: choose a point cloud or a mesh.")
    points = _read(position, "vector", 3)
    colors = _read_colors(data, len(points))
    if not np.isfinite(points).all():
        raise InvalidRequest(f"{thing.name} has points that are not numbers: delete them first.")
    low, high = points.min(axis=0), points.max(axis=0)
    size = float((high - low).max())
    if size == 0.0:
        raise InvalidRequest(f"All points of {thing.name} are in one place: choose another object.")
    if "pointe_models" in thing and np.abs(points).max() < 0.6:
        return PointCloud(points, colors), Matrix()
    centre = (low + high) / 2
    back = Matrix.Translation(Vector(centre.tolist())) @ Matrix.Scale(size, 4)
    return PointCloud(((points - centre) / size).astype(np.float32), colors), back


def _things(result: Result, request: Request) -> Iterator[PointCloud | Mesh]:
    """What was asked for, in the order in which it stands in a row."""
    for i, cloud in enumerate(result.clouds):
        if result.meshes:
            yield result.meshes[i]
        if request.output != "mesh":
            yield cloud


def _new_object(thing: PointCloud | Mesh, name: str) -> bpy.types.Object:
    if isinstance(thing, Mesh):
        return bpy.data.objects.new(name, _mesh(thing, name))
    cloud = bpy.data.objects.new(f"{name} points", _cloud(thing, f"{name} points"))
    cloud.modifiers.new("Points", "NODES").node_group = materials.points_group()
    return cloud


def _mesh(mesh: Mesh, name: str) -> bpy.types.Mesh:
    data = bpy.data.meshes.new(name)
    data.vertices.add(len(mesh.vertices))
    data.loops.add(mesh.triangles.size)
    data.polygons.add(len(mesh.triangles))
    _store(data.attributes["position"], "vector", mesh.vertices)
    data.loops.foreach_set("vertex_index", np.ascontiguousarray(mesh.triangles, np.int32).ravel())
    data.polygons.foreach_set("loop_start", np.arange(0, mesh.triangles.size, 3, dtype=np.int32))
    data.update(calc_edges=True)
    data.shade_smooth()
    _color(data, mesh.colors)
    return data


def _cloud(cloud: PointCloud, name: str) -> bpy.types.Mesh | bpy.types.PointCloud:
    """A native point cloud where Blender can make one (5.1), else a mesh of vertices."""
    if "resize" in bpy.types.PointCloud.bl_rna.functions:
        data = bpy.data.pointclouds.new(name)
        data.resize(len(cloud))
    else:
        data = bpy.data.meshes.new(name)
        data.vertices.add(len(cloud))
    _store(data.attributes["position"], "vector", cloud.points)
    radius = data.attributes.get(materials.RADIUS) or data.attributes.new(materials.RADIUS, "FLOAT", "POINT")
    # The points of a surface of up to 2.5 square metres then touch, and it looks closed.
    _store(radius, "value", np.full(len(cloud), 0.8 / math.sqrt(len(cloud))))
    _color(data, cloud.colors)
    data.update_tag()
    return data


def _color(data: Any, colors: np.ndarray) -> None:
    """Store sRGB colours as the linear attribute, and the material that shows it."""
    attribute = data.attributes.new(materials.COLOR, "FLOAT_COLOR", "POINT")
    _store(attribute, "color", np.column_stack((linear(colors), np.ones(len(colors)))))
    if isinstance(data, bpy.types.Mesh):
        data.attributes.active_color_name = data.attributes.default_color_name = materials.COLOR
    data.materials.append(materials.color_material())


def _store(attribute: bpy.types.Attribute, field: str, values: np.ndarray) -> None:
    attribute.data.foreach_set(field, np.ascontiguousarray(values, np.float32).ravel())


def _read(attribute: bpy.types.Attribute, field: str, width: int) -> np.ndarray:
    values = np.empty((len(attribute.data), width), np.float32)
    attribute.data.foreach_get(field, values.ravel())
    return values


def _read_colors(data: Any, count: int) -> np.ndarray:
    """(count, 3) sRGB of "Color", else of the active colour attribute; of a vertex's corners any one."""
    attribute = data.attributes.get(materials.COLOR)
    if attribute is None and isinstance(data, bpy.types.Mesh):
        attribute = data.color_attributes.active_color
    colors = np.full((count, 3), GREY, np.float32)
    if attribute is None or attribute.data_type not in ("FLOAT_COLOR", "BYTE_COLOR"):
        return colors
    values = srgb(_read(attribute, "color", 4)[:, :3])
    if attribute.domain == "POINT":
        return values
    if attribute.domain == "CORNER":
        corners = np.empty(len(data.loops), np.int32)
        data.loops.foreach_get("vertex_index", corners)
        colors[corners] = values
    return colors


def _describe(thing: bpy.types.Object, request: Request, name: str) -> None:
    """Keep on the object what it was made from."""
    thing["pointe_prompt"] = request.prompt if request.prompt is not None else name
    thing["pointe_seed"] = request.seed
    thing["pointe_models"] = request.models
    optional = {field: getattr(request, field) for field in ("steps", "guidance", "resolution")}
    settings = {field: value for field, value in optional.items() if value is not None}
    thing["pointe_settings"] = {**settings, "count": request.count, "output": request.output}


def _link(objects: list[bpy.types.Object], scene: bpy.types.Scene) -> None:
    """Put objects into the collection in use, or into the scene's own if that one is hidden; select them."""
    current = scene == bpy.context.scene
    layer = bpy.context.view_layer if current else scene.view_layers[0]
    active = layer.active_layer_collection
    usable = active.is_visible and active.collection.is_editable
    home = active.collection if usable else scene.collection
    for thing in objects:
        home.objects.link(thing)
    for other in list(layer.objects.selected):
        other.select_set(False, view_layer=layer)
    for thing in objects:
        thing.select_set(True, view_layer=layer)
    layer.objects.active = objects[0]
