"""Arrays into Blender and back: positions and colours exact, one material and one node group for all."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

import pointe_blender
from pointe_blender import materials, objects
from pointe_blender.pipeline.errors import InvalidRequest
from tests.blender.stand_in import RED, Pipeline, red_cloud, red_mesh, sphere

LINEAR_RED = (0.6038273, 0.0331048, 0.0100228)  # IEC 61966-2-1 of (0.8, 0.2, 0.1)
NATIVE = bpy.app.version >= (5, 1)


def read(data: bpy.types.ID, name: str, field: str, width: int) -> np.ndarray:
    values = np.empty((len(data.attributes[name].data), width), np.float32)
    data.attributes[name].data.foreach_get(field, values.ravel())
    return values


def mesh_object(vertices: np.ndarray, name: str = "thing") -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], [])
    return bpy.data.objects.new(name, mesh)


def test_the_mesh_is_the_arrays(pipeline: Pipeline) -> None:
    (thing,) = pointe_blender.generate("a red ball", output="mesh")
    mesh, expected = thing.data, red_mesh()
    triangles = np.array([list(polygon.vertices) for polygon in mesh.polygons])
    np.testing.assert_array_equal(read(mesh, "position", "vector", 3), expected.vertices)
    np.testing.assert_array_equal(triangles, expected.triangles)
    assert not mesh.validate(), "Blender finds nothing to repair"
    assert all(polygon.normal.dot(polygon.center) > 0 for polygon in mesh.polygons)
    assert all(polygon.use_smooth for polygon in mesh.polygons)


def test_the_cloud_is_the_arrays_native_where_blender_can(pipeline: Pipeline) -> None:
    (thing,) = pointe_blender.generate("a red ball", output="cloud")
    assert thing.type == ("POINTCLOUD" if NATIVE else "MESH")
    np.testing.assert_array_equal(read(thing.data, "position", "vector", 3), sphere())
    radius = read(thing.data, "radius", "value", 1)
    assert radius.min() == radius.max() == pytest.approx(0.8 / 800**0.5)


def test_colour_is_stored_linear_and_active(pipeline: Pipeline) -> None:
    for thing in pointe_blender.generate("a red ball"):
        attribute = thing.data.attributes["Color"]
        assert (attribute.data_type, attribute.domain) == ("FLOAT_COLOR", "POINT")
        colors = read(thing.data, "Color", "color", 4)
        np.testing.assert_allclose(colors, np.tile([*LINEAR_RED, 1.0], (len(colors), 1)), atol=1e-6)
        if thing.type == "MESH":
            assert thing.data.color_attributes.active_color == attribute
            assert thing.data.attributes.default_color_name == "Color"


def test_every_8_bit_colour_survives_the_way_to_linear_and_back() -> None:
    shades = np.arange(256, dtype=np.float32) / 255
    np.testing.assert_allclose(objects.srgb(objects.linear(shades)), shades, atol=1e-6)
    assert objects.linear(np.float32([0.0, 0.5, 1.0])).tolist() == pytest.approx([0.0, 0.2140411, 1.0])


def test_what_shows_colour_is_made_once(pipeline: Pipeline) -> None:
    made = [*pointe_blender.generate("one"), *pointe_blender.generate("two", count=2)]
    assert [material.name for material in bpy.data.materials] == ["Point-E Color"]
    assert [group.name for group in bpy.data.node_groups] == ["Point-E Points"]
    assert {thing.data.materials[0] for thing in made} == {bpy.data.materials["Point-E Color"]}
    clouds = [thing for thing in made if thing.modifiers]
    assert [cloud.modifiers[0].node_group for cloud in clouds] == [bpy.data.node_groups["Point-E Points"]] * 3


def test_making_the_material_warns_of_nothing(extension: None, recwarn: pytest.WarningsRecorder) -> None:
    materials.color_material()
    assert [warning.message for warning in recwarn] == []


def test_variants_stand_in_a_row(pipeline: Pipeline) -> None:
    made = pointe_blender.generate("one", count=2)
    assert [thing.location.x for thing in made] == pytest.approx([0.0, 1.2, 2.4, 3.6])


def test_solid_views_show_colours_unless_the_user_chose_otherwise(pipeline: Pipeline) -> None:
    views = [
        space.shading
        for screen in bpy.data.screens
        for area in screen.areas
        for space in area.spaces
        if space.type == "VIEW_3D"
    ]
    for view in views:
        view.color_type = "MATERIAL"
    views[0].color_type = "RANDOM"
    pointe_blender.generate("one")
    assert {view.color_type for view in views[1:]} == {"VERTEX"} and views[0].color_type == "RANDOM"


def test_a_generated_cloud_comes_back_as_it_was(pipeline: Pipeline) -> None:
    (thing,) = pointe_blender.generate("a red ball", output="cloud")
    cloud, back = objects.to_cloud(thing)
    np.testing.assert_array_equal(cloud.points, red_cloud().points)
    np.testing.assert_allclose(cloud.colors, np.tile(RED, (800, 1)), atol=1e-6)
    assert back.is_identity


def test_any_other_mesh_is_brought_into_the_cube_and_can_go_back(extension: None) -> None:
    vertices = np.float32([[10, 0, 0], [14, 0, 0], [10, 2, 0], [10, 0, 1]])
    cloud, back = objects.to_cloud(mesh_object(vertices))
    assert np.abs(cloud.points).max() == 0.5
    returned = [tuple(back @ objects.Vector(point.tolist())) for point in cloud.points]
    np.testing.assert_allclose(returned, vertices, atol=1e-5)
    np.testing.assert_array_equal(cloud.colors, np.full((4, 3), 0.5))


@pytest.mark.parametrize("kind", ["FLOAT_COLOR", "BYTE_COLOR"])
@pytest.mark.parametrize("domain", ["POINT", "CORNER"])
def test_painted_colours_are_read_whatever_their_kind(extension: None, kind: str, domain: str) -> None:
    mesh = bpy.data.meshes.new("painted")
    mesh.from_pydata(red_mesh().vertices.tolist(), [], red_mesh().triangles.tolist())
    paint = mesh.color_attributes.new("Paint", kind, domain)
    paint.data.foreach_set("color", np.tile(np.float32([*LINEAR_RED, 1]), (len(paint.data), 1)).ravel())
    mesh.color_attributes.active_color = paint
    cloud, _ = objects.to_cloud(bpy.data.objects.new("painted", mesh))
    np.testing.assert_allclose(cloud.colors, np.tile(RED, (6, 1)), atol=0.003)


@pytest.mark.parametrize(
    ("vertices", "words"),
    [
        (np.empty((0, 3)), "no points"),
        (np.ones((5, 3)), "in one place"),
        (np.full((5, 3), np.nan), "not numbers"),
    ],
)
def test_objects_without_usable_points_are_refused(extension: None, vertices: np.ndarray, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        objects.to_cloud(mesh_object(vertices))


def test_a_light_has_no_points(extension: None) -> None:
    with pytest.raises(InvalidRequest, match="no points"):
        objects.to_cloud(bpy.data.objects.new("light", bpy.data.lights.new("light", "SUN")))
