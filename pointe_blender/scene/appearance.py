"""What colour a mesh has where: painted, or from its materials' Base Color, a value or a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import bpy
import numpy as np
from mathutils import Euler, Matrix

from ..pipeline.colors import linear
from . import materials

UNPAINTED = (0.8, 0.8, 0.8)  # linear, what Blender shows without a material


@dataclass(frozen=True, eq=False)
class Look:
    """The colour of a material.

    Attributes
    ----------
    color
        Linear, where there is no picture or no UV map to lay it on by.
    picture
        (H, W, C) float32 in [0, 1], the bottom row first, as Blender stores it.
    encoded
        Whether the picture is sRGB, not linear.
    uv_map
        The UV map it is laid on by; the active one if empty.
    mapping
        Moves, turns and scales the UV coordinates.
    """

    color: tuple[float, float, float] = UNPAINTED
    picture: np.ndarray | None = None
    encoded: bool = False
    uv_map: str = ""
    mapping: Matrix = field(default_factory=Matrix)


@dataclass(frozen=True, eq=False)
class Paint:
    """The colour of every triangle of a mesh, kept without reference to it.

    Attributes
    ----------
    painted
        (F, 3, 3) linear colours of the corners; the materials do not count then.
    looks
        Of each material slot.
    slots
        (F,) int: the material slot of each triangle.
    uvs
        Of each slot (F, 3, 2) float32 UV coordinates of the corners, or `None` where they are not needed.
    """

    painted: np.ndarray | None
    looks: tuple[Look, ...]
    slots: np.ndarray
    uvs: tuple[np.ndarray | None, ...]

    def at(self, triangle: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
        """(N, 3) linear colours of points on (N,) triangles with (N, 3) weights of the corners."""
        if self.painted is not None:
            return np.einsum("nk,nkd->nd", barycentric, self.painted[triangle])
        colors = np.empty((len(triangle), 3))
        for slot, (look, uvs) in enumerate(zip(self.looks, self.uvs, strict=True)):
            here = self.slots[triangle] == slot
            if look.picture is None or uvs is None:
                colors[here] = look.color
            elif here.any():
                places = np.einsum("nk,nkd->nd", barycentric[here], uvs[triangle[here]])
                colors[here] = _texels(look, places)
        return colors


def paint_of(
    mesh: bpy.types.Mesh,
    slots: Sequence[bpy.types.Material | None],
    look_of: Callable[[bpy.types.Material], Look],
) -> Paint:
    """How a mesh is coloured; its loop triangles are calculated.

    Parameters
    ----------
    slots
        The object's materials, which may stand in for the mesh's own.
    look_of
        `look`, which the caller may remember the answers of: a picture takes long to read.
    """
    triangles = len(mesh.loop_triangles)
    corners = np.empty(triangles * 3, np.int32)
    mesh.loop_triangles.foreach_get("loops", corners)
    looks = tuple(Look() if material is None else look_of(material) for material in slots) or (Look(),)
    indices = np.empty(triangles, np.int32)
    mesh.loop_triangles.foreach_get("material_index", indices)
    return Paint(
        _painted(mesh, corners),
        looks,
        indices.clip(0, len(looks) - 1),  # what Blender does with a slot that is not there
        tuple(None if look.picture is None else _uvs(mesh, look.uv_map, corners) for look in looks),
    )


def color_attribute(data: bpy.types.ID) -> bpy.types.Attribute | None:
    """The attribute that colours a mesh or a cloud: "Color", else of a mesh the active one."""
    attribute = data.attributes.get(materials.COLOR)
    if attribute is None and isinstance(data, bpy.types.Mesh):
        attribute = data.color_attributes.active_color
    return attribute if attribute and attribute.data_type in ("FLOAT_COLOR", "BYTE_COLOR") else None


def read_colors(attribute: bpy.types.Attribute) -> np.ndarray:
    """(N, 3) linear."""
    values = np.empty((len(attribute.data), 4), np.float32)
    attribute.data.foreach_get("color", values.ravel())
    return values[:, :3]


def look(material: bpy.types.Material) -> Look:
    """The Base Color of what the material's output shows; its viewport colour where that is not plain."""
    plain = Look(tuple(material.diffuse_color[:3]))
    if not material.node_tree or (bpy.app.version < (5, 0) and not material.use_nodes):
        return plain
    output = material.node_tree.get_output_node("ALL")
    base = output and shader_color(output.inputs["Surface"])
    found = (base and _look_of_socket(base)) or plain
    return found if found.picture is None else replace(found, color=plain.color)


def _painted(mesh: bpy.types.Mesh, corners: np.ndarray) -> np.ndarray | None:
    """(F, 3, 3) linear colours at the corners of triangles, if it has an attribute for them."""
    attribute = color_attribute(mesh)
    if attribute is None or attribute.domain not in ("POINT", "CORNER", "FACE"):
        return None
    colors = read_colors(attribute)
    if attribute.domain == "CORNER":
        return colors[corners].reshape(-1, 3, 3)
    if attribute.domain == "POINT":
        vertices = np.empty(len(mesh.loops), np.int32)
        mesh.loops.foreach_get("vertex_index", vertices)
        return colors[vertices[corners]].reshape(-1, 3, 3)
    faces = np.empty(len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("polygon_index", faces)
    return np.repeat(colors[faces, None], 3, axis=1)


def _uvs(mesh: bpy.types.Mesh, name: str, corners: np.ndarray) -> np.ndarray | None:
    """(F, 3, 2) of a UV map, by default the one that is rendered with."""
    layers = mesh.uv_layers
    layer = layers.get(name) or next((layer for layer in layers if layer.active_render), layers.active)
    if layer is None:
        return None
    values = np.empty((len(mesh.loops), 2), np.float32)
    layer.uv.foreach_get("vector", values.ravel())
    return values[corners].reshape(-1, 3, 2)


def _texels(look: Look, uvs: np.ndarray) -> np.ndarray:
    """(N, 3) linear colours of the nearest pixels; the picture repeats."""
    picture = look.picture
    assert picture is not None
    matrix = np.array(look.mapping)
    uvs = uvs @ matrix[:2, :2].T + matrix[:2, 3]
    size = np.array(picture.shape[1::-1])
    columns, rows = np.minimum((uvs % 1.0 * size).astype(np.int64), size - 1).T
    texels = picture[rows, columns]
    # A picture of one channel is grey, and a second one would be its alpha.
    texels = texels[:, :3] if texels.shape[1] >= 3 else np.repeat(texels[:, :1], 3, axis=1)
    return linear(texels) if look.encoded else texels


def _links(socket: bpy.types.NodeSocket) -> list[bpy.types.NodeLink]:
    """What counts of what is plugged in; a circle of links is not valid."""
    return [link for link in socket.links if link.is_valid and not link.is_muted]


def shader_color(socket: bpy.types.NodeSocket) -> bpy.types.NodeSocket | None:
    """The colour input of the nearest shader upstream of a socket."""
    for link in _links(socket):
        inputs = link.from_node.inputs
        for name in ("Base Color", "Color"):
            if name in inputs and inputs[name].type == "RGBA" and link.from_node.type != "BSDF_TRANSPARENT":
                return inputs[name]
        for shader in inputs:
            if shader.type == "SHADER" and (found := shader_color(shader)):
                return found
    return None


def _look_of_socket(socket: bpy.types.NodeSocket) -> Look | None:
    """The value of a colour socket, or the nearest picture or value upstream of it; else `None`."""
    links = _links(socket)
    if not links:
        return Look(tuple(socket.default_value[:3]))
    node = links[0].from_node
    if node.type == "TEX_IMAGE":
        return _textured(node)
    if node.type == "RGB":
        return Look(tuple(links[0].from_socket.default_value[:3]))
    for further in node.inputs:
        if further.type == "RGBA" and _links(further) and (found := _look_of_socket(further)):
            return found
    return None


def _textured(node: bpy.types.ShaderNodeTexImage) -> Look | None:
    """The picture of a node, if it can be read and is laid on by UV coordinates."""
    image, vector, mapping, uv_map = node.image, node.inputs["Vector"], Matrix(), ""
    while links := _links(vector):
        upstream = links[0].from_node
        if upstream.type == "MAPPING":
            location, rotation, scale = (
                upstream.inputs[name].default_value for name in ("Location", "Rotation", "Scale")
            )
            mapping = mapping @ Matrix.LocRotScale(location, Euler(rotation), scale)
        elif upstream.type == "UVMAP":
            uv_map = upstream.uv_map
        elif upstream.type != "REROUTE" and links[0].from_socket.name != "UV":
            return None  # laid on in some other way
        if not upstream.inputs:
            break
        vector = upstream.inputs[0]
    if image is None or 0 in image.size:  # the file is missing
        return None
    width, height = image.size
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    # Pixels of floats are linear once loaded; a picture of data is used as it is.
    space = image.colorspace_settings
    encoded = not (image.is_float or space.is_data or space.name.startswith("Linear"))
    return Look(picture=pixels.reshape(height, width, -1), encoded=encoded, uv_map=uv_map, mapping=mapping)
