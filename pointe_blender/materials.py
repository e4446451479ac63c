"""How colour is shown: one material, and one node group that draws a point at each vertex, for every object.

Solid shading shows the active colour attribute of meshes only, so points are drawn as small meshes.
"""

from __future__ import annotations

import bmesh
import bpy

COLOR = "Color"  # the attribute on every cloud and mesh, linear
RADIUS = "radius"  # the attribute on every cloud, in the cloud's own units
_MATERIAL, _POINTS, _POINT = "Point-E Color", "Point-E Points", "Point-E Point"


def color_material() -> bpy.types.Material:
    """A matte material of the colour attribute, without highlights; made when first needed."""
    material = bpy.data.materials.get(_MATERIAL)
    if material:
        return material
    material = bpy.data.materials.new(_MATERIAL)
    if not material.node_tree:  # Blender 5.0 and later come with one and warn of this switch
        material.use_nodes = True
    nodes = material.node_tree.nodes
    surface = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    surface.inputs["Roughness"].default_value = 1.0
    surface.inputs["Specular IOR Level"].default_value = 0.0
    color = nodes.new("ShaderNodeAttribute")
    color.attribute_name = COLOR
    color.location = (surface.location.x - 220.0, surface.location.y)
    material.node_tree.links.new(color.outputs["Color"], surface.inputs["Base Color"])
    return material


def points_group() -> bpy.types.NodeTree:
    """Geometry nodes that put a ball of its radius at each vertex or point; made when first needed."""
    group = bpy.data.node_groups.get(_POINTS)
    if group:
        return group
    group = bpy.data.node_groups.new(_POINTS, "GeometryNodeTree")
    group.is_modifier = True
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    source = group.nodes.new("NodeGroupInput")
    instance = group.nodes.new("GeometryNodeInstanceOnPoints")
    realize = group.nodes.new("GeometryNodeRealizeInstances")
    target = group.nodes.new("NodeGroupOutput")
    ball = group.nodes.new("GeometryNodeObjectInfo")
    ball.inputs["Object"].default_value = _ball()
    radius = group.nodes.new("GeometryNodeInputNamedAttribute")
    radius.data_type = "FLOAT"
    radius.inputs["Name"].default_value = RADIUS
    group.links.new(source.outputs["Geometry"], instance.inputs["Points"])
    group.links.new(ball.outputs["Geometry"], instance.inputs["Instance"])
    group.links.new(radius.outputs["Attribute"], instance.inputs["Scale"])
    group.links.new(instance.outputs["Instances"], realize.inputs["Geometry"])
    group.links.new(realize.outputs["Geometry"], target.inputs["Geometry"])
    for i, node in enumerate((source, instance, realize, target)):
        node.location = (200.0 * i, 0.0)
    ball.location, radius.location = (0.0, -120.0), (0.0, -380.0)
    return group


def _ball() -> bpy.types.Object:
    """The mesh drawn for a point, in no scene.

    Realised instances take from it the name of the active colour attribute, without which Solid shading stays
    grey, while the values come from the points: it has no such attribute of its own.
    """
    mesh = bpy.data.meshes.new(_POINT)
    shape = bmesh.new()
    bmesh.ops.create_icosphere(shape, subdivisions=1, radius=1.0)
    shape.to_mesh(mesh)
    shape.free()
    mesh.shade_smooth()
    mesh.attributes.active_color_name = mesh.attributes.default_color_name = COLOR
    mesh.materials.append(color_material())
    return bpy.data.objects.new(_POINT, mesh)
