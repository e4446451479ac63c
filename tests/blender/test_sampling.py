"""Any object becomes coloured points on its surface, in the pipeline's cube, and a way back to its place."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector

import pointe_blender
from pointe_blender.pipeline import InvalidRequest, PointCloud
from pointe_blender.pipeline.colors import linear, srgb
from pointe_blender.scene import sampling
from tests.blender.stand_in import RED as BALL
from tests.blender.stand_in import Pipeline, sphere

pytestmark = pytest.mark.usefixtures("extension")
RED, GREEN, BLUE = (0.8, 0.1, 0.1), (0.1, 0.7, 0.2), (0.1, 0.2, 0.9)  # sRGB


def cloud_of(thing: bpy.types.Object) -> tuple[PointCloud, Matrix]:
    return sampling.cloud_of(thing, bpy.context.evaluated_depsgraph_get())


def in_world(thing: bpy.types.Object) -> np.ndarray:
    """(N, 3) where its points are in the world; what is in the cube is checked on the way."""
    cloud, matrix = cloud_of(thing)
    low, high = cloud.points.min(axis=0), cloud.points.max(axis=0)
    assert (high - low).max() == pytest.approx(0.96, abs=1e-4) and np.allclose(low, -high, atol=1e-4)
    matrix = np.array(matrix)
    return cloud.points @ matrix[:3, :3].T + matrix[:3, 3]


def material(color: tuple[float, float, float] | None = None) -> bpy.types.Material:
    made = bpy.data.materials.new("material")
    if not made.node_tree:
        made.use_nodes = True
    if color:
        principled(made).inputs["Base Color"].default_value = (*linear(np.array(color)), 1.0)
    return made


def principled(of: bpy.types.Material) -> bpy.types.Node:
    return next(node for node in of.node_tree.nodes if node.type == "BSDF_PRINCIPLED")


def cube(*materials: bpy.types.Material) -> bpy.types.Object:
    """Blender's default cube."""
    bpy.ops.mesh.primitive_cube_add()
    for some in materials:
        bpy.context.object.data.materials.append(some)
    return bpy.context.object


def shares(cloud: PointCloud, *colors: tuple[float, float, float]) -> list[float]:
    """How many of the points have each colour; none has another one."""
    counts = [np.isclose(cloud.colors, color, atol=0.01).all(axis=1).sum() for color in colors]
    assert sum(counts) == len(cloud)
    return [count / len(cloud) for count in counts]


def test_a_default_cube_gives_4096_red_points_evenly_on_its_six_faces() -> None:
    cloud, _ = cloud_of(cube(material(RED)))
    assert cloud.points.dtype == cloud.colors.dtype == np.float32 and len(cloud) == 4096
    assert shares(cloud, RED) == [1.0]
    sides = [np.isclose(cloud.points[:, axis], end, atol=1e-4) for axis in range(3) for end in (-0.48, 0.48)]
    assert np.any(sides, axis=0).all()
    assert all(abs(side.sum() - 4096 / 6) < 4 for side in sides)


def test_an_object_always_gives_the_same_points() -> None:
    thing = cube()
    np.testing.assert_array_equal(cloud_of(thing)[0].points, cloud_of(thing)[0].points)


def test_without_a_material_it_has_the_grey_that_blender_shows() -> None:
    assert shares(cloud_of(cube())[0], tuple(srgb(np.full(3, 0.8)))) == [1.0]


# --- where it is in the world


def corners(of: bpy.types.Object) -> np.ndarray:
    bpy.context.view_layer.update()
    return np.array([of.matrix_world @ vertex.co for vertex in of.data.vertices])


@pytest.mark.parametrize(
    "matrix",
    [
        Matrix.Translation((3, -4, 5)),
        Matrix.LocRotScale((3, -4, 5), Euler((0.3, 0.4, 0.5)), (1, 2, 7)),
        Matrix.LocRotScale((0, 0, 0), None, (-2, 1, 1)),
        Matrix.Scale(0.001, 4) @ Matrix.Shear("XY", 4, (0.5, 0.2)),
        Matrix.Translation((1000, 0, 0)) @ Matrix.Scale(100, 4),
    ],
    ids=["moved", "turned and stretched", "mirrored", "sheared", "large"],
)
def test_the_points_are_where_the_object_is(matrix: Matrix) -> None:
    thing = cube()
    parent = bpy.data.objects.new("parent", None)
    bpy.context.collection.objects.link(parent)
    parent.matrix_world = matrix  # a parent can shear
    thing.parent = parent
    ends, points = corners(thing), in_world(thing)
    size = np.ptp(ends, axis=0).max()
    into = np.linalg.inv(np.array(thing.matrix_world))
    local = points @ into[:3, :3].T + into[:3, 3]
    assert np.abs(local).max() < 1.001
    np.testing.assert_allclose(np.abs(local).max(axis=1), 1.0, atol=2e-3)  # on a side of the cube
    np.testing.assert_allclose(points.max(axis=0), ends.max(axis=0), atol=0.05 * size)


def test_the_result_stands_upright_and_evenly_scaled_on_a_stretched_object() -> None:
    thing = cube()
    thing.rotation_euler, thing.scale = (0.0, 0.0, math.pi / 4), (1.0, 1.0, 3.0)
    bpy.context.view_layer.update()
    cloud, matrix = cloud_of(thing)
    assert np.ptp(cloud.points, axis=0) == pytest.approx([0.32, 0.32, 0.96], abs=1e-3)
    assert list(matrix.to_scale()) == pytest.approx([6.25] * 3)
    assert matrix.to_euler().z == pytest.approx(math.pi / 4)


# --- what kinds of objects


def add_text() -> None:
    bpy.ops.object.text_add()
    bpy.context.object.data.extrude = 0.1


def add_pipe() -> None:
    bpy.ops.curve.primitive_bezier_circle_add()
    bpy.context.object.data.bevel_depth = 0.2


@pytest.mark.parametrize(
    ("add", "size"),
    [
        (add_text, None),
        (add_pipe, (2.4, 2.4, 0.4)),
        (lambda: bpy.ops.object.metaball_add(type="BALL"), None),
        (lambda: bpy.ops.surface.primitive_nurbs_surface_sphere_add(), None),
        (lambda: bpy.ops.mesh.primitive_monkey_add(), (2.73, 1.7, 1.97)),
    ],
    ids=["text", "curve", "metaball", "surface", "mesh"],
)
def test_any_kind_of_surface(add: Callable[[], object], size: tuple[float, float, float] | None) -> None:
    add()
    thing = bpy.context.object
    bpy.context.view_layer.update()
    points = in_world(thing)
    assert len(points) == 4096
    assert np.ptp(points, axis=0) == pytest.approx(np.array(size or thing.dimensions), rel=0.05, abs=0.02)


def test_modifiers_count() -> None:
    thing = cube()
    thing.modifiers.new("Array", "ARRAY").count = 3
    bpy.context.view_layer.update()
    assert np.ptp(in_world(thing), axis=0) == pytest.approx([6.0, 2.0, 2.0], abs=0.02)


def test_an_object_in_edit_mode_is_seen_as_it_is_now() -> None:
    thing = cube()
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.transform.resize(value=(1.0, 1.0, 2.0))
    points = in_world(thing)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert np.ptp(points, axis=0) == pytest.approx([2.0, 2.0, 4.0], abs=0.02)


def test_what_was_made_here_can_be_sampled_while_it_is_edited(pipeline: Pipeline) -> None:
    (ball,) = pointe_blender.generate("a red ball", output="mesh")
    bpy.ops.object.mode_set(mode="EDIT")
    edited = in_world(ball)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert len(edited) == 4096
    np.testing.assert_allclose(edited.min(axis=0), corners(ball).min(axis=0), atol=0.05)
    np.testing.assert_allclose(edited.max(axis=0), corners(ball).max(axis=0), atol=0.05)


def test_a_collection_instance_is_all_that_it_shows() -> None:
    collection = bpy.data.collections.new("two")
    for x, color in ((-2.0, RED), (2.0, BLUE)):
        thing = cube(material(color))
        thing.location.x = x
        bpy.context.collection.objects.unlink(thing)
        collection.objects.link(thing)
    empty = bpy.data.objects.new("instance", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", collection
    empty.location.z = 10.0
    bpy.context.collection.objects.link(empty)
    points, (cloud, _) = in_world(empty), cloud_of(empty)
    assert points.min(axis=0) == pytest.approx([-3, -1, 9], abs=0.01)
    assert points.max(axis=0) == pytest.approx([3, 1, 11], abs=0.01)
    assert shares(cloud, RED, BLUE) == pytest.approx([0.5, 0.5], abs=0.001)
    np.testing.assert_array_equal(np.isclose(cloud.colors, RED, atol=0.01).all(axis=1), points[:, 0] < 0)


def nodes_modifier(
    thing: bpy.types.Object, build: Callable[[bpy.types.NodeTree], bpy.types.NodeSocket]
) -> None:
    """Geometry nodes on an object, which give what `build` returns."""
    group = bpy.data.node_groups.new("nodes", "GeometryNodeTree")
    for direction in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=direction, socket_type="NodeSocketGeometry")
    output = group.nodes.new("NodeGroupOutput")
    group.links.new(build(group), output.inputs[0])
    thing.modifiers.new("Nodes", "NODES").node_group = group


def test_instances_of_geometry_nodes_count() -> None:
    """A small ball on each corner of a cube, which is not itself shown."""
    blue = material(BLUE)

    def build(group: bpy.types.NodeTree) -> bpy.types.NodeSocket:
        source = group.nodes.new("NodeGroupInput")
        ball = group.nodes.new("GeometryNodeMeshIcoSphere")
        ball.inputs["Radius"].default_value = 0.25
        paint = group.nodes.new("GeometryNodeSetMaterial")
        paint.inputs["Material"].default_value = blue
        instance = group.nodes.new("GeometryNodeInstanceOnPoints")
        group.links.new(source.outputs[0], instance.inputs["Points"])
        group.links.new(ball.outputs[0], paint.inputs["Geometry"])
        group.links.new(paint.outputs[0], instance.inputs["Instance"])
        return instance.outputs[0]

    thing = cube()
    thing.location.x = 5.0
    nodes_modifier(thing, build)
    points, (cloud, _) = in_world(thing), cloud_of(thing)
    offsets = np.abs(points - [5.0, 0.0, 0.0]) - 1.0
    assert np.linalg.norm(offsets, axis=1).max() < 0.26
    signs = np.unique(points > [5.0, 0.0, 0.0], axis=0, return_counts=True)[1]
    assert signs.tolist() == pytest.approx([512] * 8, abs=2)
    assert shares(cloud, BLUE) == [1.0]


def test_points_of_geometry_nodes_count_where_there_are_no_faces() -> None:
    def build(group: bpy.types.NodeTree) -> bpy.types.NodeSocket:
        source, points = group.nodes.new("NodeGroupInput"), group.nodes.new("GeometryNodeMeshToPoints")
        group.links.new(source.outputs[0], points.inputs[0])
        return points.outputs[0]

    thing = cube()
    nodes_modifier(thing, build)
    points = in_world(thing)
    assert len(points) == 8
    np.testing.assert_allclose(np.sort(points, axis=0), np.sort(corners(thing), axis=0), atol=1e-5)


def vertices_only(points: np.ndarray) -> bpy.types.Object:
    mesh = bpy.data.meshes.new("points")
    mesh.from_pydata(points.tolist(), [], [])
    thing = bpy.data.objects.new("points", mesh)
    bpy.context.collection.objects.link(thing)
    return thing


def test_vertices_without_faces_are_points_with_their_colours() -> None:
    thing = vertices_only(sphere(500) * 30.0)
    paint = thing.data.color_attributes.new("Scan", "BYTE_COLOR", "POINT")
    paint.data.foreach_set("color", np.tile([*linear(np.array(GREEN)), 1.0], 500).astype(np.float32))
    cloud, _ = cloud_of(thing)
    np.testing.assert_allclose(in_world(thing), sphere(500) * 30.0, atol=1e-4)
    assert shares(cloud, GREEN) == [1.0]


def test_any_native_point_cloud_keeps_its_points_and_colours(pipeline: Pipeline) -> None:
    (thing,) = pointe_blender.generate("a ball", output="cloud")
    for key in list(thing.keys()):
        del thing[key]
    thing.modifiers.clear()
    bpy.context.view_layer.update()
    assert thing.type == "POINTCLOUD"
    assert shares(cloud_of(thing)[0], tuple(BALL)) == [1.0]
    assert len(in_world(thing)) == 800
    thing.data.attributes.remove(thing.data.attributes["Color"])
    thing.data.materials[0] = material(GREEN)
    assert shares(cloud_of(thing)[0], GREEN) == [1.0]


def test_of_a_huge_scan_a_part_is_kept() -> None:
    cloud, _ = cloud_of(vertices_only(np.random.default_rng(0).random((100_000, 3))))
    assert len(cloud) == sampling.MOST and len(np.unique(cloud.points, axis=0)) == sampling.MOST


# --- what colour it has


@pytest.mark.parametrize("kind", ["FLOAT_COLOR", "BYTE_COLOR"])
@pytest.mark.parametrize("domain", ["POINT", "CORNER"])
def test_painted_colours_come_first_and_run_into_one_another(kind: str, domain: str) -> None:
    """Black at the bottom and white on top; between them light is mixed, as Blender does."""
    thing = cube(material(RED))
    paint = thing.data.color_attributes.new("Paint", kind, domain)
    thing.data.color_attributes.active_color = paint
    places = range(8) if domain == "POINT" else [loop.vertex_index for loop in thing.data.loops]
    for entry, vertex in zip(paint.data, places, strict=True):
        entry.color = [float(thing.data.vertices[vertex].co.z > 0)] * 3 + [1.0]
    cloud, _ = cloud_of(thing)
    heights = cloud.points[:, 2:] / 0.96 + 0.5
    np.testing.assert_allclose(cloud.colors, srgb(np.repeat(heights, 3, axis=1)), atol=0.02)


def test_corner_colours_keep_faces_apart() -> None:
    thing = cube()
    paint = thing.data.color_attributes.new("Color", "BYTE_COLOR", "CORNER")
    for polygon in thing.data.polygons:
        for loop in polygon.loop_indices:
            paint.data[loop].color_srgb = (*(RED if polygon.normal.z > 0.5 else BLUE), 1.0)
    cloud, _ = cloud_of(thing)
    red = np.isclose(cloud.colors, RED, atol=0.01).all(axis=1)
    np.testing.assert_array_equal(red, cloud.points[:, 2] > 0.4799)
    assert shares(cloud, RED, BLUE) == pytest.approx([1 / 6, 5 / 6], abs=0.001)


def test_every_face_has_its_own_material() -> None:
    thing = cube(material(RED), material(GREEN), None)
    thing.data.materials[2] = bpy.data.materials.new("plain")
    thing.data.materials[2].diffuse_color = (*linear(np.array(BLUE)), 1.0)
    if thing.data.materials[
        2
    ].node_tree:  # 5.0 and later always have nodes; without a shader they say nothing
        thing.data.materials[2].node_tree.nodes.clear()
    for polygon in thing.data.polygons:
        polygon.material_index = (0, 1, 1, 2, 2, 2)[polygon.index]
    assert shares(cloud_of(thing)[0], RED, GREEN, BLUE) == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=0.001)


def test_a_material_of_the_object_stands_in_for_the_one_of_its_mesh() -> None:
    thing = cube(material(RED))
    thing.material_slots[0].link, thing.material_slots[0].material = "OBJECT", material(GREEN)
    assert shares(cloud_of(thing)[0], GREEN) == [1.0]


def test_text_has_the_colour_of_its_material() -> None:
    add_text()
    bpy.context.object.data.materials.append(material(GREEN))
    assert shares(cloud_of(bpy.context.object)[0], GREEN) == [1.0]


def picture(space: str = "sRGB", floats: bool = False) -> bpy.types.Image:
    """Red on the left, blue on the right."""
    image = bpy.data.images.new("picture", 64, 32, float_buffer=floats)
    if not floats:
        image.colorspace_settings.name = space  # which clears it
    pixels = np.ones((32, 64, 4), np.float32)
    pixels[:, :32, :3], pixels[:, 32:, :3] = RED, BLUE
    if floats:
        pixels[..., :3] = linear(pixels[..., :3])
    image.pixels.foreach_set(pixels.ravel())
    return image


def textured(image: bpy.types.Image | None, *between: str) -> bpy.types.Material:
    """A picture as Base Color, through further nodes."""
    made = material()
    tree = made.node_tree
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image = image
    color = texture.outputs["Color"]
    for kind in between:
        node = tree.nodes.new(kind)
        if kind == "ShaderNodeMix":
            node.data_type, node.blend_type = "RGBA", "MULTIPLY"
        entry = next(socket for socket in node.inputs if socket.type == "RGBA" and socket.enabled)
        tree.links.new(color, entry)
        color = next(socket for socket in node.outputs if socket.type == "RGBA" and socket.enabled)
    tree.links.new(color, principled(made).inputs["Base Color"])
    return made


def plane(some: bpy.types.Material) -> bpy.types.Object:
    bpy.ops.mesh.primitive_plane_add()
    bpy.context.object.data.materials.append(some)
    return bpy.context.object


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("between", [(), ("ShaderNodeMix",), ("NodeReroute", "ShaderNodeHueSaturation")])
def test_a_texture_lies_on_it_by_its_uv_map(floats: bool, between: tuple[str, ...]) -> None:
    cloud, _ = cloud_of(plane(textured(picture(floats=floats), *between)))
    red = np.isclose(cloud.colors, RED, atol=0.01).all(axis=1)
    np.testing.assert_array_equal(red, cloud.points[:, 0] < 0)
    assert shares(cloud, RED, BLUE) == pytest.approx([0.5, 0.5], abs=0.02)


def test_uv_maps_survive_modifiers() -> None:
    thing = plane(textured(picture()))
    thing.modifiers.new("Subdivision", "SUBSURF").subdivision_type = "SIMPLE"
    thing.modifiers.new("Solidify", "SOLIDIFY").thickness = 0.01
    assert shares(cloud_of(thing)[0], RED, BLUE) == pytest.approx([0.5, 0.5], abs=0.02)


def test_a_picture_of_data_is_not_decoded() -> None:
    cloud, _ = cloud_of(plane(textured(picture("Non-Color"))))
    shares(cloud, *(tuple(srgb(np.round(np.array(color) * 255) / 255)) for color in (RED, BLUE)))


def test_a_picture_from_disk_is_read(tmp_path: Path) -> None:
    image = picture()
    image.filepath_raw, image.file_format = str(tmp_path / "picture.png"), "PNG"
    image.save()
    bpy.data.images.remove(image)
    loaded = bpy.data.images.load(str(tmp_path / "picture.png"))
    assert shares(cloud_of(plane(textured(loaded)))[0], RED, BLUE) == pytest.approx([0.5, 0.5], abs=0.02)


def test_mapping_and_uv_map_nodes_count() -> None:
    """Turned by a quarter and on a second UV map of half the size: red below, blue above, each twice."""
    some = textured(picture())
    thing = plane(some)
    thing.data.uv_layers.new(name="Second")
    for entry in thing.data.uv_layers["Second"].uv:
        entry.vector *= 2.0
    thing.data.uv_layers["UVMap"].active_render = True
    nodes, links = some.node_tree.nodes, some.node_tree.links
    mapping, uv_map = nodes.new("ShaderNodeMapping"), nodes.new("ShaderNodeUVMap")
    uv_map.uv_map = "Second"
    mapping.inputs["Rotation"].default_value = (0.0, 0.0, -math.pi / 2)
    links.new(uv_map.outputs["UV"], mapping.inputs["Vector"])
    texture = next(node for node in nodes if node.type == "TEX_IMAGE")
    links.new(mapping.outputs["Vector"], texture.inputs["Vector"])
    cloud, _ = cloud_of(thing)
    red = np.isclose(cloud.colors, RED, atol=0.01).all(axis=1)
    expected = (cloud.points[:, 1] / 0.96 + 0.5) * 2.0 % 1.0 < 0.5
    assert (red == expected).mean() > 0.995  # but for the border


@pytest.mark.parametrize(
    "what", ["no file", "no image", "no uv map", "by position", "procedural", "no shader"]
)
def test_where_the_base_colour_cannot_be_read_the_viewport_colour_counts(what: str) -> None:
    some = textured(picture())
    thing = plane(some)
    nodes, links = some.node_tree.nodes, some.node_tree.links
    texture = next(node for node in nodes if node.type == "TEX_IMAGE")
    match what:
        case "no file":
            texture.image.source, texture.image.filepath = "FILE", "/there/is/none.png"
        case "no image":
            texture.image = None
        case "no uv map":
            thing.data.uv_layers.remove(thing.data.uv_layers[0])
        case "by position":
            position = nodes.new("ShaderNodeTexCoord").outputs["Object"]
            links.new(position, texture.inputs["Vector"])
        case "procedural":
            links.new(nodes.new("ShaderNodeTexNoise").outputs["Color"], principled(some).inputs["Base Color"])
        case "no shader":
            nodes.remove(principled(some))
    some.diffuse_color = (*linear(np.array(GREEN)), 1.0)
    assert shares(cloud_of(thing)[0], GREEN) == [1.0]


def test_the_shader_is_found_behind_others() -> None:
    some = material(RED)
    nodes, links = some.node_tree.nodes, some.node_tree.links
    mix, output = nodes.new("ShaderNodeMixShader"), some.node_tree.get_output_node("ALL")
    links.new(nodes.new("ShaderNodeBsdfTransparent").outputs[0], mix.inputs[1])
    next(node for node in nodes if node.type == "BSDF_TRANSPARENT").inputs[0].default_value = (0, 1, 0, 1)
    links.new(principled(some).outputs[0], mix.inputs[2])
    links.new(mix.outputs[0], output.inputs["Surface"])
    assert shares(cloud_of(cube(some))[0], RED) == [1.0]


# --- what was made here, and what cannot be used


@pytest.mark.parametrize("size", [0.0, 2.0])
def test_a_cloud_that_was_made_here_comes_back_as_it_was(pipeline: Pipeline, size: float) -> None:
    bpy.context.scene.pointe.size = size
    (thing,) = pointe_blender.generate("a ball", output="cloud")
    thing.location = (1.0, 2.0, 3.0)
    bpy.context.view_layer.update()
    cloud, matrix = cloud_of(thing)
    np.testing.assert_allclose(cloud.points, sphere(), atol=1e-6)
    np.testing.assert_allclose(matrix @ Vector((0, 0, -0.5)), (1.0, 2.0, 3.0), atol=2e-3)


def test_the_surface_of_a_mesh_that_was_made_here_is_where_it_was_in_the_cube(pipeline: Pipeline) -> None:
    bpy.context.scene.pointe.size = 3.0
    (thing,) = pointe_blender.generate("a ball", output="mesh")
    thing.location, thing.scale = (1.0, 2.0, 3.0), (2.0, 1.0, 1.0)
    bpy.context.view_layer.update()
    cloud, matrix = cloud_of(thing)
    assert len(cloud) == 4096
    np.testing.assert_allclose(np.abs(cloud.points).sum(axis=1), 0.5, atol=1e-5)  # of an octahedron
    np.testing.assert_allclose(matrix @ Vector((0.5, 0, -0.5)), (4.0, 2.0, 3.0), atol=1e-5)

    thing.modifiers.new("Array", "ARRAY").count = 3
    cloud, _ = cloud_of(thing)
    assert np.ptp(cloud.points, axis=0).max() == pytest.approx(0.96, abs=1e-3), "all three are in the cube"


def add_mesh(vertices: object, faces: object) -> bpy.types.Object:
    mesh = bpy.data.meshes.new("thing")
    mesh.from_pydata(vertices, [], faces)
    thing = bpy.data.objects.new("thing", mesh)
    bpy.context.collection.objects.link(thing)
    return thing


@pytest.mark.parametrize(
    ("vertices", "faces", "words"),
    [
        ([], [], "thing has neither faces nor points"),
        ([(1, 1, 1)] * 5, [], "in one place"),
        ([(0, 0, 0), (0, 0, math.nan), (1, 0, 0)], [(0, 1, 2)], "not numbers"),
        ([(0, 0, 0), (1, 1, 1), (2, 2, 2)], [(0, 1, 2)], "no area"),
    ],
    ids=["empty", "one place", "not numbers", "no area"],
)
def test_what_cannot_be_sampled_is_refused(vertices: object, faces: object, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        cloud_of(add_mesh(vertices, faces))


@pytest.mark.parametrize("add", [bpy.ops.object.light_add, bpy.ops.curve.primitive_bezier_circle_add])
def test_what_shows_no_surface_is_refused(add: Callable[[], object]) -> None:
    add()
    with pytest.raises(InvalidRequest, match="neither faces nor points"):
        cloud_of(bpy.context.object)
