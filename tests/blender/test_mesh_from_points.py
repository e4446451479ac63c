"""A mesh, or more points, of whatever is selected, in its place."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np
import pytest

import pointe_blender
from pointe_blender.operators import running, selection
from tests.blender.stand_in import Layout, Pipeline


def corners(thing: bpy.types.Object) -> np.ndarray:
    """(N, 3) its vertices or points in the world."""
    bpy.context.view_layer.update()
    position = thing.data.attributes["position"].data
    points = np.empty((len(position), 3), np.float32)
    position.foreach_get("vector", points.ravel())
    matrix = np.array(thing.matrix_world)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def select(*things: bpy.types.Object) -> None:
    bpy.ops.object.select_all(action="DESELECT")
    for thing in things:
        thing.select_set(True)
    bpy.context.view_layer.objects.active = things[0] if things else None


def stretched_cube() -> bpy.types.Object:
    bpy.ops.mesh.primitive_cube_add(location=(5.0, 6.0, 7.0), rotation=(0.1, 0.2, 0.3))
    bpy.context.object.scale = (1.0, 1.0, 2.0)
    bpy.context.view_layer.update()
    return bpy.context.object


def test_the_mesh_lies_on_a_default_cube(pipeline: Pipeline) -> None:
    cube = stretched_cube()
    assert bpy.ops.pointe.mesh_from_points() == {"FINISHED"}
    (request,) = pipeline.requests
    assert len(request.cloud) == 4096 and request.output == "mesh"
    (mesh,) = bpy.context.selected_objects
    assert mesh == bpy.context.active_object and mesh.name == "Cube mesh"
    # The stand-in's mesh reaches to the middle of each side of the pipeline's cube; a cloud fills 0.96 of it.
    across = [np.array(cube.matrix_world.to_3x3().col[axis].normalized()) for axis in range(3)]
    ends = [
        np.array(cube.matrix_world.translation) + sign * 2 / 0.96 * end for end in across for sign in (1, -1)
    ]
    made = corners(mesh)
    assert all(np.linalg.norm(made - end, axis=1).min() < 0.02 for end in ends)
    assert list(mesh.scale) == pytest.approx([1.0] * 3), "its faces are as large as they look"


def test_every_selected_object_gets_one(pipeline: Pipeline) -> None:
    cube = stretched_cube()
    bpy.ops.object.text_add()
    text = bpy.context.object
    bpy.ops.object.light_add()
    select(cube, text, bpy.context.object)
    assert bpy.ops.pointe.mesh_from_points() == {"FINISHED"}
    assert {"Cube mesh", "Text mesh"} <= {thing.name for thing in bpy.data.objects}
    assert len(pipeline.requests) == 2


def test_one_that_fails_does_not_keep_the_others_from_it(pipeline: Pipeline) -> None:
    empty = bpy.data.objects.new("nothing", bpy.data.meshes.new("nothing"))
    bpy.context.collection.objects.link(empty)
    select(empty, stretched_cube())
    with pytest.raises(RuntimeError, match="nothing has neither faces nor points"):
        bpy.ops.pointe.mesh_from_points()
    assert "Cube mesh" in bpy.data.objects


def test_it_is_one_step_to_undo(pipeline: Pipeline) -> None:
    stretched_cube()
    bpy.ops.ed.undo_push(message="cube")
    bpy.ops.pointe.mesh_from_points()
    bpy.ops.ed.undo()
    assert [thing.name for thing in bpy.data.objects if thing.users_scene] == ["Cube"]


@pytest.mark.parametrize("operator", ["mesh_from_points", "densify"])
def test_without_a_usable_selection_the_buttons_are_off(extension: None, operator: str) -> None:
    poll = getattr(bpy.ops.pointe, operator).poll
    assert not poll()
    bpy.ops.object.light_add()
    assert not poll()
    with pytest.raises(RuntimeError, match="Select a mesh, point cloud, curve"):
        getattr(bpy.ops.pointe, operator)()
    bpy.ops.mesh.primitive_cube_add()
    assert poll()
    select()
    assert not poll()


def test_the_settings_of_the_panel_count(pipeline: Pipeline) -> None:
    settings = bpy.context.scene.pointe
    settings.models, settings.resolution, settings.quality = "official-40M", 32, "exact"
    stretched_cube()
    bpy.ops.pointe.mesh_from_points()
    bpy.ops.pointe.densify("EXEC_DEFAULT", points=5000)
    mesh, cloud = pipeline.requests
    assert (mesh.models, mesh.resolution, mesh.quality) == ("official-40M", 32, "exact")
    assert (cloud.models, cloud.points, cloud.quality) == ("official-40M", 5000, "exact")


def test_the_mesh_of_a_generated_cloud_belongs_to_its_variant(pipeline: Pipeline) -> None:
    (cloud,) = pointe_blender.generate("a red ball", seed=7, output="cloud")
    cloud.location, cloud.rotation_euler.z = (1.0, 2.0, 3.0), math.pi / 3
    bpy.context.view_layer.update()
    bpy.ops.pointe.mesh_from_points()
    mesh = bpy.context.active_object
    assert [mesh[key] for key in ("pointe_prompt", "pointe_seed")] == ["a red ball", 7]
    assert mesh["pointe_run"] == cloud["pointe_run"] and mesh["pointe_variant"] == cloud["pointe_variant"]
    # Cloud and mesh of the stand-in are equally wide and have the same middle.
    wide = [np.ptp(corners(thing) @ np.array([0.5, 3**0.5 / 2, 0.0])) for thing in (mesh, cloud)]
    assert wide[0] == pytest.approx(wide[1], rel=0.01)
    assert (corners(mesh).mean(axis=0) - corners(cloud).mean(axis=0)) == pytest.approx([0, 0, 0], abs=0.01)


def test_a_denser_cloud_takes_the_place_of_the_one_it_was_made_of(pipeline: Pipeline) -> None:
    (cloud,) = pointe_blender.generate("a red ball", output="cloud")
    cloud.location, cloud.scale, cloud.name = (1.0, 2.0, 3.0), (2.0, 2.0, 2.0), "mine"
    cloud.modifiers.new("Wave", "NODES")
    before = corners(cloud)
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.pointe.densify(points=5000) == {"FINISHED"}
    assert bpy.context.active_object == cloud and bpy.context.selected_objects == [cloud]
    assert cloud.name == "mine" and "Wave" in cloud.modifiers
    assert [thing for thing in bpy.data.objects if thing.users_scene] == [cloud]
    after = corners(cloud)
    assert len(after) == 5000 and pipeline.requests[-1].points == 5000
    np.testing.assert_allclose(after.max(axis=0), before.max(axis=0), atol=0.01)
    np.testing.assert_allclose(after.min(axis=0), before.min(axis=0), atol=0.01)
    assert cloud["pointe_settings"].to_dict()["points"] == 5000 and cloud["pointe_prompt"] == "a red ball"
    bpy.ops.ed.undo()
    assert len(corners(bpy.data.objects["mine"])) == 800, "one step brings the old points back"


def test_a_denser_cloud_can_be_an_object_of_its_own(pipeline: Pipeline) -> None:
    (cloud,) = pointe_blender.generate("a red ball", output="cloud")
    bpy.ops.pointe.densify(points=5000, replace=False)
    assert len(corners(cloud)) == 800
    dense = bpy.context.active_object
    assert dense != cloud and len(corners(dense)) == 5000
    np.testing.assert_allclose(corners(dense).max(axis=0), corners(cloud).max(axis=0), atol=0.01)


def test_a_linked_cloud_stays_as_its_library_has_it(pipeline: Pipeline, tmp_path: Path) -> None:
    pointe_blender.generate("a red ball", output="cloud")
    library = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=library)
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(library, link=True) as (_, wanted):
        wanted.objects = ["a red ball points"]
    (linked,) = wanted.objects
    bpy.context.collection.objects.link(linked)
    linked.select_set(True)
    assert bpy.ops.pointe.densify(points=5000) == {"FINISHED"}
    assert len(linked.data.points) == 800
    (made,) = bpy.context.selected_objects
    assert made.is_editable and len(made.data.points) == 5000


def test_other_objects_are_never_replaced_by_a_cloud(pipeline: Pipeline) -> None:
    cube = stretched_cube()
    bpy.ops.pointe.densify(points=5000)
    assert len(cube.data.polygons) == 6
    assert bpy.context.active_object.type == "POINTCLOUD"


def test_the_cloud_that_was_deleted_meanwhile_comes_back_denser(
    pipeline: Pipeline, until_idle: object
) -> None:
    from pointe_blender.operators import densify

    (cloud,) = pointe_blender.generate("a red ball", output="cloud")
    cloud.location.x = 4.0
    before = corners(cloud)
    running.submit(lambda: densify.prepare(cloud, 5000, in_place=True))
    bpy.data.objects.remove(cloud)
    until_idle()
    np.testing.assert_allclose(corners(bpy.context.active_object).max(axis=0), before.max(axis=0), atol=0.01)


def test_the_hint_fits_the_sidebar() -> None:
    layout = Layout()
    from pointe_blender.panels.text import draw_sentence

    draw_sentence(layout, selection.HINT, "INFO")
    assert layout.text.replace("  ", " ") == selection.HINT
