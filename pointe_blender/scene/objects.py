"""PointCloud and Mesh to objects, and back: the one place where arrays cross into bpy."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..pipeline import Mesh, PointCloud
from ..pipeline.colors import linear, srgb
from ..pipeline.errors import InvalidRequest
from ..pipeline.sampling import sample_surface
from . import assets, finishing, nodes, placing
from .finishing import Finish
from .frames import Frame
from .materials import COLOR, color_material
from .staging import staged

if TYPE_CHECKING:
    from ..pipeline import Request, Result

SPACING = 1.2  # between the middles of neighbours in a row, of the longest side among them
NAME_LENGTH = 48  # leaves room for ".001" in Blender's 63 bytes
OUTSIDE = 0.6  # half the side of a cube that holds whatever the pipeline makes
# What an object that says nothing else was made with; when there was no quality to choose, all was "exact".
DEFAULTS = {
    "output": "both",
    "quality": "exact",
    "steps": None,
    "guidance": None,
    "points": None,
    "resolution": None,
}
LIKENESS = 2**18  # points of a surface that its picture is drawn from: too dense to see through
GREY = 0.5  # sRGB, of points without a colour
TOUCHING = 0.8  # radius × √count: points of a surface of up to 2.5 square units then look closed


def insert(
    result: Result,
    request: Request,
    name: str,
    scene_name: str,
    finish: Finish,
    matrix: Matrix | None = None,
    picture: str | None = None,
    crop: bool = True,
) -> list[bpy.types.Object]:
    """Add what was made to a scene, ready to use, selected, the first one active.

    Parameters
    ----------
    result, request
        What was made, and from what.
    name
        Of the objects, such as the prompt.
    scene_name
        Where it was asked for; the current scene takes it if that one is gone.
    finish
        How the objects are made ready.
    matrix
        From the pipeline's coordinates to the world, in place of the finish's size and place; its scale is
        applied. Several things stand in a row along x.
    picture, crop
        Name of the image it was made from, and whether the object was cut out of it.

    Returns
    -------
    Of each variant the mesh, then the cloud.
    """
    scene = bpy.data.scenes.get(scene_name) or bpy.context.scene
    parts = list(_parts(result, request, finish, matrix))
    step = SPACING * max(part.extent.max() for part in parts)
    run = uuid.uuid4().hex
    objects = []
    for i, part in enumerate(parts):
        thing = _new_object(part, name[:NAME_LENGTH].strip())
        thing.matrix_world = Matrix.Translation((step * i, 0.0, 0.0)) @ _standing(part, finish, matrix, scene)
        _describe(thing, part, request, result, run)
        if picture:
            _describe_picture(thing, picture, crop)
        objects.append(thing)
    placing.link(objects, scene, finish.collection)
    for thing in objects:
        if thing.type == "MESH":
            finishing.finish_mesh(thing, finish)
        if finish.asset:
            assets.mark(thing, likeness(thing))
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
    """The points of an object made here, and the matrix that takes them back to its own space.

    They come back in the pipeline's cube as they were made, to a few units in the last place; if they were
    moved out of it since, they are moved and scaled into it.

    Raises
    ------
    InvalidRequest
        It has no points that can be used.
    """
    points = _points_of(thing)
    colors = _read_colors(thing.data, len(points))
    frame = Frame.of(thing.data)
    if frame and np.abs(cube := frame.undone(points)).max() <= OUTSIDE:
        return PointCloud(cube, colors), frame.matrix
    fit = Finish(size=1.0, origin="CENTER").frame(points)
    return PointCloud(fit.applied(points), colors), fit.matrix.inverted()


def likeness(thing: bpy.types.Object) -> PointCloud:
    """What an object made here looks like, in the pipeline's cube: a cloud itself, or points all over a mesh.

    Raises
    ------
    InvalidRequest
        It has no points that can be used.
    """
    cloud, _ = to_cloud(thing)
    if thing.type != "MESH":
        return cloud
    thing.data.calc_loop_triangles()
    triangles = np.empty((len(thing.data.loop_triangles), 3), np.int32)
    thing.data.loop_triangles.foreach_get("vertices", triangles.ravel())
    draws = np.random.default_rng(0)
    points, triangle, weights = sample_surface(cloud.points, triangles, LIKENESS, draws)
    colors = np.einsum("nk,nkd->nd", weights, cloud.colors[triangles[triangle]])
    return PointCloud(points, colors.astype(np.float32))


def refit(thing: bpy.types.Object, finish: Finish) -> None:
    """Give an object made here, and all that share its data, another size and origin; their base stays.

    Raises
    ------
    InvalidRequest
        It has no points that can be used.
    """
    data, own = thing.data, _points_of(thing)
    before = Frame.of(data) or Frame()
    change = finish.frame(own, None if finish.size else Vector(1 / before.scale))
    _store(data.attributes["position"], "vector", change.applied(own))
    if radius := data.attributes.get(nodes.RADIUS):
        _store(radius, "value", _read(radius, "value", 1) * change.scale.mean())
    before.then(change).keep(data)
    if isinstance(data, bpy.types.Mesh):
        data.update()
    data.update_tag()
    base = replace(finish, origin="BASE", size=0.0).frame(own).origin
    moved = Vector((base - (base - change.origin) * change.scale).tolist())
    for user in bpy.data.objects:
        if user.data == data:
            user.matrix_world = user.matrix_world @ Matrix.Translation(moved)


def _points_of(thing: bpy.types.Object) -> np.ndarray:
    """(N, 3) in its own coordinates, or what is wrong with them."""
    position = thing.data.attributes.get("position") if thing.type in ("MESH", "POINTCLOUD") else None
    if position is None or len(position.data) == 0:
        raise InvalidRequest(f"{thing.name} has no points: choose a point cloud or a mesh.")
    points = _read(position, "vector", 3)
    if not np.isfinite(points).all():
        raise InvalidRequest(f"{thing.name} has points that are not numbers: delete them first.")
    if not np.ptp(points, axis=0).any():
        raise InvalidRequest(f"All points of {thing.name} are in one place: choose another object.")
    return points


class _Part(NamedTuple):
    """One of the things that stand in a row."""

    thing: PointCloud | Mesh
    variant: int
    frame: Frame
    extent: np.ndarray  # (3,) metres


def _parts(result: Result, request: Request, finish: Finish, matrix: Matrix | None) -> Iterator[_Part]:
    """What was asked for, in the order in which it stands in a row."""
    scale = matrix.to_scale() if matrix else None
    for i, cloud in enumerate(result.clouds):
        meshes = [result.meshes[i]] if result.meshes else []
        clouds = [cloud] if request.output != "mesh" or not meshes else []
        for thing in (*meshes, *clouds):
            points = thing.vertices if isinstance(thing, Mesh) else thing.points
            frame = finish.frame(points, scale)
            yield _Part(thing, i, frame, np.ptp(frame.applied(points), axis=0))


def _standing(part: _Part, finish: Finish, matrix: Matrix | None, scene: bpy.types.Scene) -> Matrix:
    """Where the first of a row stands."""
    if matrix:
        return matrix @ part.frame.matrix.inverted()
    lift = float(part.extent[2]) / 2 if finish.floats else 0.0
    return Matrix.Translation(finish.spot(scene) + Vector((0.0, 0.0, lift)))


def _new_object(part: _Part, name: str) -> bpy.types.Object:
    if isinstance(part.thing, Mesh):
        data = new_mesh(part.thing, part.frame, name)
    else:
        name = f"{name} points"
        data = _cloud(part.thing, part.frame, name)
    part.frame.keep(data)
    thing = bpy.data.objects.new(name, data)
    if thing.type == "POINTCLOUD":
        thing.modifiers.new("Points", "NODES").node_group = nodes.points_group()
    return thing


def new_mesh(mesh: Mesh, frame: Frame, name: str) -> bpy.types.Mesh:
    """Mesh data with the colours and their material, where the frame puts it."""
    data = bpy.data.meshes.new(name)
    data.vertices.add(len(mesh.vertices))
    data.loops.add(mesh.triangles.size)
    data.polygons.add(len(mesh.triangles))
    _store(data.attributes["position"], "vector", frame.applied(mesh.vertices))
    data.loops.foreach_set("vertex_index", np.ascontiguousarray(mesh.triangles, np.int32).ravel())
    data.polygons.foreach_set("loop_start", np.arange(0, mesh.triangles.size, 3, dtype=np.int32))
    data.update(calc_edges=True)
    _store_colors(data, mesh.colors)
    data.attributes.active_color_name = data.attributes.default_color_name = COLOR
    return data


def _cloud(cloud: PointCloud, frame: Frame, name: str) -> bpy.types.PointCloud:
    if bpy.app.version >= (5, 1):
        data = bpy.data.pointclouds.new(name)
        data.resize(len(cloud))
    else:
        data = _grown_cloud(len(cloud))
        data.name = name
    _store(data.attributes["position"], "vector", frame.applied(cloud.points))
    radius = data.attributes.get(nodes.RADIUS) or data.attributes.new(nodes.RADIUS, "FLOAT", "POINT")
    touching = TOUCHING / math.sqrt(len(cloud)) * float(frame.scale.mean())
    _store(radius, "value", np.full(len(cloud), touching))
    _store_colors(data, cloud.colors)
    return data


def _grown_cloud(count: int) -> bpy.types.PointCloud:
    """Before 5.1 only geometry nodes make points, and only a copy of what they make can be kept."""
    group = bpy.data.node_groups.new("Points", "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    points = group.nodes.new("GeometryNodePoints")
    points.inputs["Count"].default_value = count
    points.inputs["Radius"].default_value = 1.0  # Blender keeps these bounds until it reads the file again
    group.links.new(points.outputs[0], group.nodes.new("NodeGroupOutput").inputs[0])
    mesh = bpy.data.meshes.new("Points")
    source = bpy.data.objects.new("Points", mesh)
    source.modifiers.new("Points", "NODES").node_group = group
    with staged([source]) as layer:
        made = (instance.object for instance in layer.depsgraph.object_instances)
        data = next(thing for thing in made if thing.type == "POINTCLOUD").data.copy()
    bpy.data.batch_remove([source, mesh, group])
    return data


def _store_colors(data: Any, colors: np.ndarray) -> None:
    """Store sRGB colours as the linear attribute, and the material that shows it."""
    attribute = data.attributes.new(COLOR, "FLOAT_COLOR", "POINT")
    _store(attribute, "color", np.column_stack((linear(colors), np.ones(len(colors)))))
    data.materials.append(color_material())


def _store(attribute: bpy.types.Attribute, field: str, values: np.ndarray) -> None:
    attribute.data.foreach_set(field, np.ascontiguousarray(values, np.float32).ravel())


def _read(attribute: bpy.types.Attribute, field: str, width: int) -> np.ndarray:
    values = np.empty((len(attribute.data), width), np.float32)
    attribute.data.foreach_get(field, values.ravel())
    return values


def _read_colors(data: Any, count: int) -> np.ndarray:
    """(count, 3) sRGB of the colour attribute; grey where an artist has removed it or made another of it."""
    attribute = data.attributes.get(COLOR)
    if attribute is None or (attribute.domain, attribute.data_type) != ("POINT", "FLOAT_COLOR"):
        return np.full((count, 3), GREY, np.float32)
    return srgb(_read(attribute, "color", 4)[:, :3])


def _describe(thing: bpy.types.Object, part: _Part, request: Request, result: Result, run: str) -> None:
    """Keep on the object what it was made from, so that it can be made again."""
    thing["pointe_prompt"] = request.prompt or ""
    thing["pointe_seed"] = result.seeds[part.variant]
    thing["pointe_models"] = request.models
    settings = {name: getattr(request, name) for name in DEFAULTS}
    thing["pointe_settings"] = {name: value for name, value in settings.items() if value != DEFAULTS[name]}
    thing["pointe_run"] = run
    thing["pointe_variant"] = part.variant
    if result.scores:
        thing["pointe_score"] = result.scores[part.variant]


def _describe_picture(thing: bpy.types.Object, picture: str, crop: bool) -> None:
    """Keep the image too, unless it is gone by now."""
    if image := bpy.data.images.get(picture):
        thing["pointe_picture"] = image
    if not crop:
        thing["pointe_settings"] = {**thing["pointe_settings"].to_dict(), "crop": False}
