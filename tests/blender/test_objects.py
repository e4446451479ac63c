"""Arrays into Blender and back: positions and colours exact, one material and one node group for all."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Matrix, Vector

import pointe_blender
from pointe_blender.pipeline import PointCloud, Request, Result
from pointe_blender.pipeline.errors import InvalidRequest
from pointe_blender.scene import nodes, objects
from pointe_blender.scene.finishing import Finish
from tests.blender.stand_in import RED, Pipeline, red_cloud, red_mesh

LINEAR_RED = (0.6038273, 0.0331048, 0.0100228)  # IEC 61966-2-1 of (0.8, 0.2, 0.1)
AS_MADE = Finish(size=0.0, origin="CENTER")
CENTRE = (red_cloud().points.min(axis=0) + red_cloud().points.max(axis=0)) / 2  # not quite the origin


def insert(
    *, finish: Finish = AS_MADE, count: int = 1, matrix: Matrix | None = None, **request: object
) -> list:
    """Insert what a run with these settings would have made."""
    seeds = tuple(range(count))
    clouds, meshes = tuple(map(red_cloud, seeds)), tuple(map(red_mesh, seeds))
    if request.get("output") == "cloud":
        meshes = ()
    scores = (0.3,) * count if count > 1 else ()
    result = Result(clouds, meshes, seeds, scores, "starter", "cpu", {"total": 0.1})
    asked = Request(prompt="a red ball", count=count, **request)
    return objects.insert(result, asked, "a red ball", bpy.context.scene.name, finish, matrix)


def read(data: bpy.types.ID, name: str, field: str, width: int) -> np.ndarray:
    values = np.empty((len(data.attributes[name].data), width), np.float32)
    data.attributes[name].data.foreach_get(field, values.ravel())
    return values


def positions(thing: bpy.types.Object) -> np.ndarray:
    return read(thing.data, "position", "vector", 3)


def in_world(thing: bpy.types.Object) -> np.ndarray:
    matrix = np.array(thing.matrix_world)
    return positions(thing) @ matrix[:3, :3].T + matrix[:3, 3]


def drawn(thing: bpy.types.Object) -> bpy.types.Mesh:
    """What Blender draws of a cloud."""
    bpy.context.view_layer.update()
    found = bpy.context.evaluated_depsgraph_get().object_instances
    (mesh,) = [i.object.data for i in found if i.object.original == thing and i.object.type == "MESH"]
    return mesh


def test_the_mesh_is_the_arrays(extension: None) -> None:
    (thing,) = insert(output="mesh")
    mesh, expected = thing.data, red_mesh()
    triangles = np.array([list(polygon.vertices) for polygon in mesh.polygons])
    np.testing.assert_array_equal(positions(thing), expected.vertices)
    np.testing.assert_array_equal(triangles, expected.triangles)
    assert not mesh.validate(), "Blender finds nothing to repair"
    assert all(polygon.normal.dot(polygon.center) > 0 for polygon in mesh.polygons)


def test_the_cloud_is_the_arrays_and_native_in_every_blender(extension: None, tmp_path: Path) -> None:
    (thing,) = insert(output="cloud")
    assert thing.type == "POINTCLOUD" and len(thing.data.points) == 800
    np.testing.assert_allclose(positions(thing), red_cloud().points - CENTRE, atol=1e-7)
    radius = read(thing.data, "radius", "value", 1)
    assert radius.min() == radius.max() == pytest.approx(0.8 / 800**0.5)
    path = str(tmp_path / "cloud.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    again = bpy.data.objects["a red ball points"]
    np.testing.assert_allclose(positions(again), red_cloud().points - CENTRE, atol=1e-7)
    assert again.modifiers["Points"].node_group.name == "Point-E Points"


def test_undo_and_redo_keep_a_cloud_whole(extension: None) -> None:
    (thing,) = insert(output="cloud")
    bpy.ops.ed.undo_push(message="insert")
    thing.location.x = 5.0
    bpy.ops.ed.undo_push(message="move")
    bpy.ops.ed.undo()
    again = bpy.data.objects["a red ball points"]
    assert again.location.x == 0.0
    np.testing.assert_allclose(positions(again), red_cloud().points - CENTRE, atol=1e-7)
    bpy.ops.ed.undo()
    assert not bpy.data.objects
    bpy.ops.ed.redo()
    again = bpy.data.objects["a red ball points"]
    np.testing.assert_allclose(positions(again), red_cloud().points - CENTRE, atol=1e-7)


def test_nothing_is_left_over(extension: None) -> None:
    insert()
    assert [scene.name for scene in bpy.data.scenes] == ["Scene"]
    assert {mesh.name for mesh in bpy.data.meshes} == {"a red ball", "Point-E Ball", "Point-E Grain"}
    assert [group.name for group in bpy.data.node_groups] == ["Point-E Points"]
    assert [cloud.name for cloud in bpy.data.pointclouds] == ["a red ball points"]


def test_colour_is_stored_linear_and_active(extension: None) -> None:
    for thing in insert():
        attribute = thing.data.attributes["Color"]
        assert (attribute.data_type, attribute.domain) == ("FLOAT_COLOR", "POINT")
        colors = read(thing.data, "Color", "color", 4)
        np.testing.assert_allclose(colors, np.tile([*LINEAR_RED, 1.0], (len(colors), 1)), atol=1e-6)
        if thing.type == "MESH":
            assert thing.data.color_attributes.active_color == attribute
            assert thing.data.attributes.default_color_name == "Color"


def test_what_shows_colour_is_made_once(extension: None) -> None:
    made = [*insert(), *insert(count=2)]
    assert [material.name for material in bpy.data.materials] == ["Point-E Color"]
    assert [group.name for group in bpy.data.node_groups] == ["Point-E Points"]
    assert {thing.data.materials[0] for thing in made} == {bpy.data.materials["Point-E Color"]}


def test_making_the_material_warns_of_nothing(extension: None, recwarn: pytest.WarningsRecorder) -> None:
    insert()
    assert [warning.message for warning in recwarn] == []


def test_objects_say_what_they_were_made_from(extension: None) -> None:
    made = insert(count=2, steps=8, points=5000, models="starter", quality="high")
    assert [thing["pointe_seed"] for thing in made] == [0, 0, 1, 1]
    assert [thing["pointe_variant"] for thing in made] == [0, 0, 1, 1]
    assert {thing["pointe_prompt"] for thing in made} == {"a red ball"}
    assert {thing["pointe_models"] for thing in made} == {"starter"}
    settings = made[0]["pointe_settings"].to_dict()
    assert settings == {"quality": "high", "steps": 8, "points": 5000}, "what is not the models' own"
    assert made[0]["pointe_score"] == pytest.approx(0.3)
    assert len({thing["pointe_run"] for thing in made}) == 1
    assert insert()[0]["pointe_run"] != made[0]["pointe_run"]
    assert "pointe_score" not in insert()[0], "a single variant is not ranked"


def test_the_picture_it_was_made_from_stays_in_the_file(extension: None, tmp_path: Path) -> None:
    image = bpy.data.images.new("photo", 4, 4)
    result = Result((red_cloud(),), (), (0,), (), "starter", "cpu", {"total": 0.1})
    asked = Request(image=np.zeros((4, 4, 3), np.uint8), output="cloud")
    (thing,) = objects.insert(result, asked, "photo", "Scene", AS_MADE, picture="photo")
    assert thing["pointe_picture"] == image and image.users == 1
    assert thing["pointe_prompt"] == ""


def test_variants_stand_in_a_row_as_wide_as_they_are(extension: None) -> None:
    assert [thing.location.x for thing in insert(count=2)] == pytest.approx([0.0, 1.2, 2.4, 3.6])
    made = insert(count=2, finish=Finish(size=5.0))
    assert [thing.location.x for thing in made] == pytest.approx([0.0, 6.0, 12.0, 18.0])


@pytest.mark.parametrize("origin", ["BASE", "CENTER"])
@pytest.mark.parametrize("size", [0.0, 0.02, 1.0, 250.0])
def test_size_and_origin_are_exact_and_the_scale_applied(extension: None, size: float, origin: str) -> None:
    for thing in insert(finish=Finish(size=size, origin=origin)):
        points = positions(thing)
        low, high = points.min(axis=0), points.max(axis=0)
        made = red_mesh().vertices if thing.type == "MESH" else red_cloud().points
        assert (high - low).max() == pytest.approx(size or np.ptp(made, axis=0).max(), rel=1e-6)
        assert tuple(thing.scale) == (1.0, 1.0, 1.0)
        np.testing.assert_allclose((low + high)[:2] / 2, 0.0, atol=1e-6 * (size or 1.0))
        assert (low[2] if origin == "BASE" else low[2] + high[2]) == pytest.approx(
            0.0, abs=1e-6 * (size or 1.0)
        )


@pytest.mark.parametrize("origin", ["BASE", "CENTER"])
def test_on_the_ground_and_at_the_cursor(extension: None, origin: str) -> None:
    bpy.context.scene.cursor.location = (3.0, 4.0, 5.0)
    for thing in insert(finish=Finish(size=2.0, origin=origin, place="GROUND")):
        assert in_world(thing)[:, 2].min() == pytest.approx(0.0, abs=1e-6), "standing"
        assert thing.location.y == 0.0
    first = insert(finish=Finish(size=2.0, origin=origin))[0]
    assert tuple(first.location) == (3.0, 4.0, 5.0)


def test_a_chosen_collection_is_used_and_made_when_missing(extension: None) -> None:
    for _ in range(2):
        for thing in insert(finish=Finish(collection="Chairs")):
            assert [home.name for home in thing.users_collection] == ["Chairs"]
            assert thing.select_get()
    assert bpy.context.scene.collection.children.keys() == ["Chairs"]


def test_a_collection_that_is_not_shown_gets_them_all_the_same(extension: None) -> None:
    home = bpy.data.collections.new("Hidden")
    bpy.context.scene.collection.children.link(home)
    bpy.context.view_layer.layer_collection.children["Hidden"].exclude = True
    insert(finish=Finish(collection="Hidden"))
    assert len(home.objects) == 2


def test_solid_views_show_colours_unless_the_user_chose_otherwise(extension: None) -> None:
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
    insert()
    assert {view.color_type for view in views[1:]} == {"VERTEX"} and views[0].color_type == "RANDOM"


def test_every_point_is_a_ball_that_can_be_made_larger(extension: None) -> None:
    (thing,) = insert(output="cloud")
    mesh = drawn(thing)
    assert len(mesh.vertices) == 800 * 12
    assert mesh.color_attributes.active_color.name == "Color"
    assert mesh.materials[0].name == "Point-E Color"
    assert "radius" not in mesh.attributes
    owner, path = nodes.input_of(thing.modifiers["Points"], "Radius")
    before = thing.dimensions.x
    if bpy.app.version >= (5, 2):
        setattr(owner, path, 3.0)
    else:
        owner[path[2:-2]] = 3.0
    thing.update_tag()
    drawn(thing)
    # Beyond the sphere of diameter 1, three times as much as before, as Blender measures it or by the balls.
    assert thing.dimensions.x - 1.0 > 1.5 * (before - 1.0) > 0.0


def test_a_dense_cloud_is_drawn_with_fewer_faces(extension: None) -> None:
    count = nodes.DENSE
    cloud = PointCloud(
        np.random.default_rng(0).random((count, 3), np.float32) - 0.5, np.ones((count, 3), np.float32)
    )
    result = Result((cloud,), (), (0,), (), "starter", "cpu", {"total": 0.1})
    (thing,) = objects.insert(result, Request(prompt="a", output="cloud"), "a", "Scene", AS_MADE)
    mesh = drawn(thing)
    assert (len(mesh.vertices), len(mesh.polygons)) == (4 * count, 4 * count)
    assert mesh.color_attributes.active_color.name == "Color"
    assert all(polygon.normal.dot(polygon.center - Vector(cloud.points[i // 4])) > 0
               for i, polygon in enumerate(mesh.polygons[:4]))  # fmt: skip


@pytest.mark.parametrize("size", [0.0, 0.37, 12.0])
@pytest.mark.parametrize("origin", ["BASE", "CENTER"])
def test_what_was_made_comes_back_as_it_was(extension: None, size: float, origin: str) -> None:
    for thing in insert(finish=Finish(size=size, origin=origin, place="GROUND")):
        made = red_mesh().vertices if thing.type == "MESH" else red_cloud().points
        cloud, back = objects.to_cloud(thing)
        np.testing.assert_allclose(cloud.points, made, atol=1e-7)
        np.testing.assert_allclose(cloud.colors, np.tile(RED, (len(made), 1)), atol=1e-6)
        there = np.array([back @ Vector(point) for point in cloud.points.tolist()])
        np.testing.assert_allclose(there, positions(thing), atol=1e-6 * max(size, 1.0))


def test_what_was_moved_out_of_the_cube_is_brought_back_into_it(extension: None) -> None:
    (thing,) = insert(output="cloud")
    moved = positions(thing) * 8 + 20
    thing.data.attributes["position"].data.foreach_set("vector", moved.ravel())
    cloud, back = objects.to_cloud(thing)
    assert np.ptp(cloud.points, axis=0).max() == pytest.approx(1.0, abs=1e-6)
    assert np.abs(cloud.points).max() == pytest.approx(0.5, abs=1e-6)
    there = np.array([back @ Vector(point) for point in cloud.points.tolist()])
    np.testing.assert_allclose(there, moved, atol=1e-4)


@pytest.mark.parametrize("origin", ["BASE", "CENTER"])
def test_in_the_place_of_another_object_it_lies_where_that_one_is(extension: None, origin: str) -> None:
    matrix = Matrix.LocRotScale((1.0, 2.0, 3.0), Matrix.Rotation(0.7, 3, "X"), (2.0, 3.0, 4.0))
    (thing,) = insert(output="cloud", finish=Finish(size=9.0, origin=origin), matrix=matrix)
    expected = np.array([matrix @ Vector(point) for point in red_cloud().points.tolist()])
    np.testing.assert_allclose(in_world(thing), expected, atol=1e-5)
    assert tuple(thing.scale) == pytest.approx((1.0, 1.0, 1.0)), "applied"
    cloud, back = objects.to_cloud(thing)
    np.testing.assert_allclose(cloud.points, red_cloud().points, atol=1e-6)
    np.testing.assert_allclose(np.array(thing.matrix_world @ back), np.array(matrix), atol=1e-5)


def test_in_a_mirrored_place_the_faces_still_look_outward(extension: None) -> None:
    (thing,) = insert(output="mesh", matrix=Matrix.Diagonal((-1.0, 1.0, 1.0, 1.0)))
    assert all(polygon.normal.dot(polygon.center) > 0 for polygon in thing.data.polygons)


@pytest.mark.parametrize("origin", ["BASE", "CENTER"])
def test_another_size_and_origin_leave_it_on_its_base(extension: None, origin: str) -> None:
    for thing in insert(finish=Finish(size=2.0, origin="CENTER", place="GROUND")):
        thing.location.x += 7.0
        bpy.context.view_layer.update()
        objects.refit(thing, Finish(size=3.0, origin=origin))
        bpy.context.view_layer.update()
        points = in_world(thing)
        assert np.ptp(points, axis=0).max() == pytest.approx(3.0, rel=1e-6)
        assert points[:, 2].min() == pytest.approx(0.0, abs=1e-6)
        assert (points[:, 0].min() + points[:, 0].max()) / 2 == pytest.approx(thing.location.x, abs=1e-6)
        made = red_mesh().vertices if thing.type == "MESH" else red_cloud().points
        np.testing.assert_allclose(objects.to_cloud(thing)[0].points, made, atol=1e-6)
        if thing.type == "POINTCLOUD":
            assert read(thing.data, "radius", "value", 1).max() == pytest.approx(
                3.0 / np.ptp(made, axis=0).max() * 0.8 / 800**0.5
            )
        objects.refit(thing, Finish(size=0.0, origin=origin))
        assert np.ptp(positions(thing), axis=0) == pytest.approx(np.ptp(made, axis=0)), "as it was made"


@pytest.mark.parametrize(
    ("points", "words"),
    [(np.ones((800, 3)), "in one place"), (np.full((800, 3), np.nan), "not numbers")],
)
def test_objects_without_usable_points_are_refused(extension: None, points: np.ndarray, words: str) -> None:
    (thing,) = insert(output="cloud")
    thing.data.attributes["position"].data.foreach_set("vector", points.astype(np.float32).ravel())
    with pytest.raises(InvalidRequest, match=words):
        objects.to_cloud(thing)


def test_a_light_has_no_points(extension: None) -> None:
    with pytest.raises(InvalidRequest, match="no points"):
        objects.to_cloud(bpy.data.objects.new("light", bpy.data.lights.new("light", "SUN")))


def test_a_click_goes_the_same_way(pipeline: Pipeline) -> None:
    bpy.context.scene.pointe.size = 3.0
    mesh, cloud = pointe_blender.generate("a red ball")
    assert (mesh.type, cloud.type) == ("MESH", "POINTCLOUD")
    assert np.ptp(positions(mesh), axis=0).max() == pytest.approx(3.0)
