"""The cloud as it takes shape in the viewport: one object, changed in place, that no file keeps.

Everything it consists of carries a mark, by which it is found and taken out whatever came between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy

from . import materials, nodes

if TYPE_CHECKING:
    from mathutils import Matrix

    from ..pipeline import PointCloud

MARK = "pointe_preview"  # a custom property
MOST = 4096  # points; of larger clouds an even part is shown
_NAME = "Point-E Preview"
_KINDS = ("objects", "node_groups", "meshes", "pointclouds")
_CORNERS = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1)]
_FACES = [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)]

_names = {"object": _NAME}  # as Blender numbered it, should the file have one of that name already


def show(cloud: PointCloud, place: Matrix | None, scene_name: str) -> None:
    """Let the object show these points; make it if it is not there.

    Parameters
    ----------
    cloud
        In the pipeline's cube.
    place
        Where in the world; at the 3D cursor if `None`.
    scene_name
        Where it belongs; the current scene takes it if that one is gone.
    """
    from mathutils import Matrix

    from . import objects  # which brings NumPy

    scene = bpy.data.scenes.get(scene_name) or bpy.context.scene
    thing = find() or _new_object()
    if thing.name not in scene.collection.objects:
        scene.collection.objects.link(thing)
        objects.show_colors()
    thing.matrix_world = place or Matrix.Translation(scene.cursor.location)
    _fill(thing, cloud)


def find() -> bpy.types.Object | None:
    """The object, while there is one; its scene may have been deleted under it."""
    thing = bpy.data.objects.get(_names["object"])
    return thing if thing is not None and MARK in thing and thing.users else None


@bpy.app.handlers.persistent
def remove(*_: object) -> None:
    """Take it out with all that it consists of, and what an undo step or a recovered file brought back."""
    marked = [block for kind in _KINDS for block in getattr(bpy.data, kind) if MARK in block]
    shapes = [block for block in marked if isinstance(block, bpy.types.Mesh)]
    used = {material for shape in shapes for material in shape.materials if material}
    bpy.data.batch_remove(marked)
    bpy.data.batch_remove([material for material in used if material.users == 0])


# Blender's undo keeps what is equal in both steps and frees the rest: nothing that stays may refer to the
# object then. Steps that were stored while it was there bring it back.
_MOMENTS = ("save_pre", "load_post", "undo_pre", "undo_post", "redo_pre", "redo_post")


def register() -> None:
    for moment in _MOMENTS:
        getattr(bpy.app.handlers, moment).append(remove)


def unregister() -> None:
    for moment in _MOMENTS:
        getattr(bpy.app.handlers, moment).remove(remove)
    remove()


def _new_object() -> bpy.types.Object:
    thing = bpy.data.objects.new(_NAME, _new_data(0))
    thing.hide_select = thing.hide_render = True
    group = _points_group()
    thing.modifiers.new("Points", "NODES").node_group = group
    group[MARK] = thing[MARK] = True
    _names["object"] = thing.name
    return thing


def _new_data(count: int) -> bpy.types.Mesh | bpy.types.PointCloud:
    if bpy.app.version >= (5, 1):
        data = bpy.data.pointclouds.new(_NAME)
        data.resize(count)
    else:
        data = bpy.data.meshes.new(_NAME)
        data.vertices.add(count)
    for name, kind in ((nodes.RADIUS, "FLOAT"), (materials.COLOR, "FLOAT_COLOR")):
        if name not in data.attributes:
            data.attributes.new(name, kind, "POINT")
    data[MARK] = True
    return data


def _fill(thing: bpy.types.Object, cloud: PointCloud) -> None:
    """Write position, radius and colour of the points, whole arrays at a time."""
    import numpy as np

    from ..pipeline.colors import linear
    from . import objects

    shown = np.linspace(0, len(cloud) - 1, min(len(cloud), MOST)).astype(np.int64)
    count = len(shown)
    old = thing.data
    if len(old.attributes[nodes.RADIUS].data) != count:  # Blender 5.1 spoils its memory in a second resize
        thing.data = _new_data(count)
        bpy.data.batch_remove([old])
    colors = np.ones((count, 4), np.float32)
    colors[:, :3] = linear(cloud.colors[shown])
    radius = np.full(count, objects.TOUCHING / np.sqrt(count), np.float32)
    for name, field, values in (
        ("position", "vector", cloud.points[shown]),
        (nodes.RADIUS, "value", radius),
        (materials.COLOR, "color", colors),
    ):
        flat = np.ascontiguousarray(values, np.float32).ravel()
        thing.data.attributes[name].data.foreach_set(field, flat)
    thing.data.update_tag()


def _points_group() -> bpy.types.NodeTree:
    """Geometry nodes that draw an octahedron at each point: half the work of a result's balls.

    It is evaluated anew with every update.
    """
    group = bpy.data.node_groups.new(_NAME, "GeometryNodeTree")
    group.is_modifier = True
    for way in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    add, link = group.nodes.new, group.links.new
    source, shape = add("NodeGroupInput"), add("GeometryNodeObjectInfo")
    instance, radius = add("GeometryNodeInstanceOnPoints"), add("GeometryNodeInputNamedAttribute")
    realize, target = add("GeometryNodeRealizeInstances"), add("NodeGroupOutput")
    shape.inputs["Object"].default_value = _octahedron()
    radius.inputs["Name"].default_value = nodes.RADIUS
    link(source.outputs["Geometry"], instance.inputs["Points"])
    link(shape.outputs["Geometry"], instance.inputs["Instance"])
    link(radius.outputs["Attribute"], instance.inputs["Scale"])
    link(instance.outputs["Instances"], realize.inputs["Geometry"])
    link(realize.outputs["Geometry"], target.inputs["Geometry"])
    return group


def _octahedron() -> bpy.types.Object:
    """In no scene. Solid shading takes from it which attribute is the colour, from the points its values."""
    mesh = bpy.data.meshes.new(_NAME)
    mesh.from_pydata(_CORNERS, [], _FACES)
    mesh.attributes.active_color_name = mesh.attributes.default_color_name = materials.COLOR
    mesh.materials.append(materials.color_material())
    thing = bpy.data.objects.new(_NAME, mesh)
    mesh[MARK] = thing[MARK] = True
    return thing
