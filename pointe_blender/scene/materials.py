"""How colour is shown: one matte material of the colour attribute for all, or one of a picture of its own."""

from __future__ import annotations

import bpy

COLOR = "Color"  # the attribute on every cloud and mesh, linear
_MATERIAL = "Point-E Color"


def color_material() -> bpy.types.Material:
    """The material of the colour attribute; made when first needed."""
    material = bpy.data.materials.get(_MATERIAL)
    if material is None:
        material, color = _matte(_MATERIAL, "ShaderNodeAttribute")
        color.attribute_name = COLOR
    return material


def texture_material(image: bpy.types.Image) -> bpy.types.Material:
    """A new material of a picture, laid on by the UV map."""
    material, color = _matte(image.name, "ShaderNodeTexImage")
    color.image = image
    return material


def texture_of(thing: bpy.types.Object) -> bpy.types.Image | None:
    """The picture that an object's first material lays on, if it does."""
    material = thing.data.materials[0] if thing.data.materials else None
    nodes = material.node_tree.nodes if material and material.node_tree else ()
    return next((node.image for node in nodes if node.type == "TEX_IMAGE"), None)


def _matte(name: str, kind: str) -> tuple[bpy.types.Material, bpy.types.Node]:
    """A new material without highlights, and the node of that kind that gives its colour."""
    material = bpy.data.materials.new(name)
    if not material.node_tree:  # Blender 5.0 and later come with one and warn of this switch
        material.use_nodes = True
    nodes = material.node_tree.nodes
    surface = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    surface.inputs["Roughness"].default_value = 1.0
    surface.inputs["Specular IOR Level"].default_value = 0.0
    color = nodes.new(kind)
    color.location = (surface.location.x - 300.0, surface.location.y)
    material.node_tree.links.new(color.outputs["Color"], surface.inputs["Base Color"])
    return material, color
