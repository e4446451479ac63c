"""Geometry nodes: a cloud drawn as small solids, and colours that outlive Blender's Remesh.

Solid shading shows the active colour attribute of meshes only, so points are drawn as small meshes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import bmesh
import bpy

from .materials import COLOR, color_material

RADIUS = "radius"  # the attribute on every cloud, in the cloud's own units
POINTS, ORIGINAL, COLORS = "Point-E Points", "Point-E Original", "Point-E Colors"  # the groups
DENSE = 20_000  # points from which on a ball each would be too much for a viewport
_BALL, _GRAIN = "Point-E Ball", "Point-E Grain"
_TETRAHEDRON = [(0.83 * x, 0.83 * y, 0.83 * x * y) for x in (1, -1) for y in (1, -1)]
_GEOMETRY = "NodeSocketGeometry"


def points_group() -> bpy.types.NodeTree:
    """Draw at each point a ball of its radius, in dense clouds a tetrahedron; made when first needed.

    Its input "Radius" multiplies the radius of all points.
    """
    return _group(POINTS, _draw_points)


def original_group() -> bpy.types.NodeTree:
    """Take a copy of the mesh along as an instance, which Remesh leaves alone; made when first needed."""
    return _group(ORIGINAL, _keep_original)


def colors_group() -> bpy.types.NodeTree:
    """Give the mesh the colours of the nearest surface of its copy, and drop that; made when first needed."""
    return _group(COLORS, _take_colors)


def input_of(modifier: bpy.types.NodesModifier, name: str) -> tuple[bpy.types.bpy_struct, str] | None:
    """Where an input of a modifier is kept, as `UILayout.prop` wants it; `None` if it has no such input."""
    if modifier.node_group is None:
        return None
    for item in modifier.node_group.interface.items_tree:
        if item.item_type == "SOCKET" and item.in_out == "INPUT" and item.name == name:
            if bpy.app.version >= (5, 2):
                return getattr(modifier.properties.inputs, item.identifier), "value"
            return modifier, f'["{item.identifier}"]'
    return None


def _group(name: str, build: Callable[[bpy.types.NodeTree], None]) -> bpy.types.NodeTree:
    group = bpy.data.node_groups.get(name)
    if group is None:
        group = bpy.data.node_groups.new(name, "GeometryNodeTree")
        group.is_modifier = True
        group.interface.new_socket("Geometry", in_out="INPUT", socket_type=_GEOMETRY)
        group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type=_GEOMETRY)
        build(group)
        for i, node in enumerate(group.nodes):
            node.location = (200.0 * (i // 3), -220.0 * (i % 3))
    return group


def _draw_points(group: bpy.types.NodeTree) -> None:
    factor = group.interface.new_socket("Radius", in_out="INPUT", socket_type="NodeSocketFloat")
    factor.description = "How large the points are drawn, as a multiple of their own radius"
    factor.default_value, factor.min_value, factor.max_value = 1.0, 0.0, 100.0
    add, link = group.nodes.new, group.links.new
    source = add("NodeGroupInput")
    size = add("GeometryNodeAttributeDomainSize")
    size.component = "POINTCLOUD"
    dense = add("FunctionNodeCompare")
    dense.data_type, dense.operation = "INT", "GREATER_EQUAL"
    choose = add("GeometryNodeSwitch")
    choose.input_type = "GEOMETRY"
    ball, grain = (_solid(add("GeometryNodeObjectInfo"), name) for name in (_BALL, _GRAIN))
    radius = _attribute(add("GeometryNodeInputNamedAttribute"), RADIUS, "FLOAT")
    multiply = add("ShaderNodeMath")
    multiply.operation = "MULTIPLY"
    instance = add("GeometryNodeInstanceOnPoints")
    drop = add("GeometryNodeRemoveAttribute")  # or every vertex would carry it
    drop.inputs["Name"].default_value = RADIUS
    realize = add("GeometryNodeRealizeInstances")
    target = add("NodeGroupOutput")

    link(source.outputs["Geometry"], size.inputs["Geometry"])
    link(size.outputs["Point Count"], _shown(dense.inputs)[0])
    _shown(dense.inputs)[1].default_value = DENSE
    link(dense.outputs["Result"], _shown(choose.inputs)[0])
    link(ball.outputs["Geometry"], _shown(choose.inputs)[1])
    link(grain.outputs["Geometry"], _shown(choose.inputs)[2])
    link(_shown(radius.outputs)[0], multiply.inputs[0])
    link(source.outputs["Radius"], multiply.inputs[1])
    link(source.outputs["Geometry"], instance.inputs["Points"])
    link(_shown(choose.outputs)[0], instance.inputs["Instance"])
    link(multiply.outputs["Value"], instance.inputs["Scale"])
    link(instance.outputs["Instances"], drop.inputs["Geometry"])
    link(drop.outputs["Geometry"], realize.inputs["Geometry"])
    link(realize.outputs["Geometry"], target.inputs["Geometry"])


def _keep_original(group: bpy.types.NodeTree) -> None:
    source = group.nodes.new("NodeGroupInput")
    copy = group.nodes.new("GeometryNodeGeometryToInstance")
    join = group.nodes.new("GeometryNodeJoinGeometry")
    target = group.nodes.new("NodeGroupOutput")
    group.links.new(source.outputs["Geometry"], copy.inputs["Geometry"])
    group.links.new(copy.outputs["Instances"], join.inputs["Geometry"])
    group.links.new(source.outputs["Geometry"], join.inputs["Geometry"])
    group.links.new(join.outputs["Geometry"], target.inputs["Geometry"])


def _take_colors(group: bpy.types.NodeTree) -> None:
    add, link = group.nodes.new, group.links.new
    source = add("NodeGroupInput")
    parts = add("GeometryNodeSeparateComponents")
    original = add("GeometryNodeRealizeInstances")
    color = _attribute(add("GeometryNodeInputNamedAttribute"), COLOR, "FLOAT_COLOR")
    sample = add("GeometryNodeSampleNearestSurface")
    sample.data_type = "FLOAT_COLOR"
    store = _attribute(add("GeometryNodeStoreNamedAttribute"), COLOR, "FLOAT_COLOR")
    store.domain = "POINT"
    target = add("NodeGroupOutput")
    link(source.outputs["Geometry"], parts.inputs["Geometry"])
    link(parts.outputs["Instances"], original.inputs["Geometry"])
    link(original.outputs["Geometry"], sample.inputs["Mesh"])
    link(_shown(color.outputs)[0], _named(sample.inputs, "Value"))
    link(parts.outputs["Mesh"], store.inputs["Geometry"])
    link(_named(sample.outputs, "Value"), _named(store.inputs, "Value"))
    link(store.outputs["Geometry"], target.inputs["Geometry"])


def _attribute(node: bpy.types.Node, name: str, kind: str) -> bpy.types.Node:
    """A node that reads or stores a named attribute."""
    node.data_type = kind
    node.inputs["Name"].default_value = name
    return node


def _shown(sockets: Iterable[bpy.types.NodeSocket]) -> list[bpy.types.NodeSocket]:
    """Those of the chosen data type: nodes keep a socket of each."""
    return [socket for socket in sockets if socket.enabled]


def _named(sockets: Iterable[bpy.types.NodeSocket], name: str) -> bpy.types.NodeSocket:
    return next(socket for socket in _shown(sockets) if socket.name == name)


def _solid(node: bpy.types.Node, name: str) -> bpy.types.Node:
    """A node that gives the mesh drawn for a point.

    Realised instances take from it the name of the active colour attribute, without which Solid shading stays
    grey, while the values come from the points: it has no such attribute of its own. No node can name it, so
    it is an object: in no scene, and without extent where appending a cloud to another file puts it into one.
    """
    thing = bpy.data.objects.get(name)
    if thing is None:
        mesh = bpy.data.meshes.new(name)
        shape = bmesh.new()
        if name == _BALL:
            bmesh.ops.create_icosphere(shape, subdivisions=1, radius=1.0)
        else:  # as wide to the eye, on average, as the ball
            corners = [shape.verts.new(corner) for corner in _TETRAHEDRON]
            for three in ((0, 1, 2), (0, 3, 1), (0, 2, 3), (1, 3, 2)):
                shape.faces.new([corners[i] for i in three])
        shape.to_mesh(mesh)
        shape.free()
        if name == _BALL:
            mesh.shade_smooth()  # a tetrahedron would be dark in its own shadow
        else:
            mesh.shade_flat()
        mesh.attributes.active_color_name = mesh.attributes.default_color_name = COLOR
        mesh.materials.append(color_material())
        thing = bpy.data.objects.new(name, mesh)
        thing.scale = (0.0, 0.0, 0.0)  # which the node leaves out
        thing.hide_render = True
    node.inputs["Object"].default_value = thing
    return node
