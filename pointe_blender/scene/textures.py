"""The colours of a mesh as a picture: unwrapped and baked by Blender, shown by a material of its own."""

from __future__ import annotations

import math

import bpy

from ..pipeline.errors import InvalidRequest
from .materials import COLOR, texture_material
from .staging import evaluated, staged

ANGLE = math.radians(66.0)  # between faces of one island, as Blender's own menu has it
MARGIN = 1 / 64  # of the picture: how far colours reach beyond their island, so that no seam shows from afar


def check() -> None:
    """Raise unless textures can be baked.

    Raises
    ------
    InvalidRequest
        Blender's Cycles is switched off.
    """
    if "cycles" not in bpy.context.preferences.addons:
        raise InvalidRequest(
            "Textures are baked by Cycles, which is switched off: "
            "enable the add-on Cycles Render Engine in the preferences, or choose no texture."
        )


def bake(thing: bpy.types.Object, pixels: int) -> bpy.types.Image:
    """Unwrap a mesh object and lay its colours on as a picture of pixels × pixels, packed into the file.

    Its modifiers are applied first: a UV map needs faces that stay.

    Raises
    ------
    InvalidRequest
        Blender's Cycles is switched off.
    """
    check()
    _apply_modifiers(thing)
    mesh = thing.data
    if not mesh.polygons:
        raise InvalidRequest(f"{thing.name} has no faces: choose another object.")
    usual = list(mesh.materials)
    name = bpy.path.clean_name(f"{thing.name} colors")  # exporters make a file name of it
    image = bpy.data.images.new(name, pixels, pixels)
    try:
        _unwrap_and_bake(mesh, image)
    except Exception:
        bpy.data.images.remove(image)
        mesh.materials.clear()
        for material in usual:
            mesh.materials.append(material)
        raise
    image.pack()
    image.filepath_raw = f"//{bpy.path.clean_name(image.name)}.png"  # where it goes when it is unpacked
    mesh.materials.clear()
    mesh.materials.append(texture_material(image))
    return image


def _apply_modifiers(thing: bpy.types.Object) -> None:
    """Put what the modifiers make in the place of the mesh, with its name and what is kept on it."""
    if not thing.modifiers:
        return
    before = thing.data
    after = evaluated(thing)
    thing.modifiers.clear()
    for key, value in before.items():
        after[key] = value
    thing.data = after
    name = before.name
    if not before.users:
        bpy.data.meshes.remove(before)
    after.name = name


def _unwrap_and_bake(mesh: bpy.types.Mesh, image: bpy.types.Image) -> None:
    """On a stand-in for the object: the artist's mode, selection and render engine stay as they are."""
    stand_in = bpy.data.objects.new(image.name, mesh)
    paint = _paint(image)
    mesh.materials.clear()
    mesh.materials.append(paint)
    try:
        with staged([stand_in]) as layer:
            bpy.ops.object.mode_set(mode="EDIT")
            bpy.ops.mesh.select_all(action="SELECT")
            bpy.ops.uv.smart_project(angle_limit=ANGLE, island_margin=MARGIN / 2)
            bpy.ops.object.mode_set(mode="OBJECT")
            scene = layer.id_data
            scene.render.engine = "CYCLES"
            scene.cycles.device, scene.cycles.samples = "CPU", 1
            bpy.ops.object.bake(
                type="EMIT",
                margin=max(2, int(MARGIN * image.size[0])),
                use_clear=True,
                target="IMAGE_TEXTURES",
            )
    finally:
        bpy.data.objects.remove(stand_in)
        bpy.data.materials.remove(paint)


def _paint(image: bpy.types.Image) -> bpy.types.Material:
    """A material that emits the colour attribute, and whose active node is where the bake goes."""
    material = bpy.data.materials.new("Point-E Bake")
    if not material.node_tree:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    output = next(node for node in nodes if node.type == "OUTPUT_MATERIAL")
    color, light = nodes.new("ShaderNodeAttribute"), nodes.new("ShaderNodeEmission")
    color.attribute_name = COLOR
    links.new(color.outputs["Color"], light.inputs["Color"])
    links.new(light.outputs["Emission"], output.inputs["Surface"])
    nodes.active = target = nodes.new("ShaderNodeTexImage")
    target.image = image
    return material
