"""An object of Blender's, through the real networks, becomes a closed mesh or a denser cloud around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import bpy
import numpy as np
import pytest

import pointe_blender
from pointe_blender.pipeline.geometry import is_closed


@pytest.fixture(autouse=True)
def extension() -> Iterator[None]:
    bpy.ops.wm.read_homefile(use_empty=True)
    pointe_blender.register()
    yield
    pointe_blender.unregister()


def in_world(thing: bpy.types.Object) -> np.ndarray:
    position = thing.data.attributes["position"].data
    points = np.empty((len(position), 3), np.float32)
    position.foreach_get("vector", points.ravel())
    matrix = np.array(thing.matrix_world)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


@pytest.mark.parametrize(
    ("add", "error"),
    [(bpy.ops.mesh.primitive_cube_add, 0.06), (bpy.ops.mesh.primitive_monkey_add, 0.12)],
    ids=["cube", "monkey"],
)
def test_the_mesh_of_an_object_is_closed_and_around_it(add: Callable[..., object], error: float) -> None:
    add(location=(3.0, 4.0, 5.0), rotation=(0.0, 0.0, 0.5))
    source = bpy.context.object
    source.scale.z = 1.5
    source.data.materials.append(bpy.data.materials.new("red"))
    source.data.materials[0].diffuse_color = (0.6, 0.01, 0.01, 1.0)
    if tree := source.data.materials[0].node_tree:
        tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.6, 0.01, 0.01, 1.0)
    bpy.context.scene.pointe.resolution = 24
    assert bpy.ops.pointe.mesh_from_points() == {"FINISHED"}
    made = bpy.context.active_object
    assert made != source
    made.data.calc_loop_triangles()
    triangles = np.array([triangle.vertices for triangle in made.data.loop_triangles])
    assert is_closed(triangles)
    expected, got = in_world(source), in_world(made)
    size = np.ptp(expected, axis=0).max()
    np.testing.assert_allclose(got.min(axis=0), expected.min(axis=0), atol=error * size)
    np.testing.assert_allclose(got.max(axis=0), expected.max(axis=0), atol=error * size)
    colors = np.empty(len(got) * 4, np.float32)
    made.data.attributes["Color"].data.foreach_get("color", colors)
    np.testing.assert_allclose(
        colors.reshape(-1, 4)[:, :3], np.tile((0.6, 0.01, 0.01), (len(got), 1)), atol=0.01
    )


def test_a_cube_becomes_a_cloud_of_as_many_points_as_asked_around_it() -> None:
    bpy.ops.mesh.primitive_cube_add(location=(3.0, 4.0, 5.0))
    assert bpy.ops.pointe.densify(points=5000) == {"FINISHED"}
    cloud = bpy.context.active_object
    points = in_world(cloud) - [3.0, 4.0, 5.0]
    assert cloud.type == "POINTCLOUD" and len(points) == 5000
    assert np.abs(points).max() < 1.2
    assert np.median(np.abs(np.abs(points).max(axis=1) - 1.0)) < 0.02, "most are on its sides"


def test_a_variant_is_the_same_when_it_is_made_again() -> None:
    pointe_blender.generate("a red ball", steps=2, count=2, output="cloud")
    variant = bpy.context.selected_objects[1]
    before = in_world(variant)
    for other in bpy.context.selected_objects:
        other.select_set(other == variant)
    bpy.context.view_layer.objects.active = variant
    assert bpy.ops.pointe.regenerate() == {"FINISHED"}
    # Networks round a batch of one in another way than a batch of two.
    np.testing.assert_allclose(in_world(variant), before, atol=1e-3)
