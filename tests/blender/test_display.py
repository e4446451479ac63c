"""Colour that can be seen: the pixels of every way to look at a cloud and a mesh."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

import pointe_blender
from tests.blender.stand_in import RED, Pipeline

EEVEE = "BLENDER_EEVEE" if bpy.app.version >= (5, 0) else "BLENDER_EEVEE_NEXT"
SIZE = 64


def picture(engine: str, folder: Path) -> np.ndarray:
    """(64, 128, 4) sRGB with alpha: the mesh on the left, the cloud on the right, under a white sky."""
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.type, camera.data.ortho_scale = "ORTHO", 2.4
    camera.location, camera.rotation_euler = (0.6, -5.0, 0.0), (np.pi / 2, 0.0, 0.0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.world = bpy.data.worlds.new("white")
    if not scene.world.node_tree:
        scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    render = scene.render
    render.engine = engine
    render.film_transparent = True
    render.resolution_x, render.resolution_y, render.resolution_percentage = 2 * SIZE, SIZE, 100
    scene.view_settings.view_transform = "Standard"
    scene.display.shading.light, scene.display.shading.color_type = "FLAT", "VERTEX"
    scene.cycles.samples = scene.eevee.taa_render_samples = 4
    render.filepath = str(folder / "picture.png")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(render.filepath)
    return np.array(image.pixels[:]).reshape(SIZE, 2 * SIZE, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "tolerance"),
    [
        pytest.param("BLENDER_WORKBENCH", 0.02, id="solid"),
        pytest.param("CYCLES", 0.12, id="cycles"),
        pytest.param(EEVEE, 0.05, id="eevee"),  # and Material Preview, which is EEVEE
    ],
)
def test_mesh_and_cloud_show_their_colour(
    pipeline: Pipeline, tmp_path: Path, engine: str, tolerance: float
) -> None:
    pointe_blender.generate("a red ball")
    pixels = picture(engine, tmp_path)
    for side in (pixels[:, :SIZE], pixels[:, SIZE:]):
        covered = side[..., 3] > 0.5
        assert covered.mean() > 0.15, "it is there"
        # The balls of a cloud shade each other a little, which Cycles shows.
        np.testing.assert_allclose(np.median(side[covered][:, :3], axis=0), RED, atol=tolerance)


def test_a_native_cloud_and_a_mesh_are_drawn_alike(pipeline: Pipeline) -> None:
    """What Blender draws of a cloud, whichever data it has: one ball a point, with its colour."""
    pointe_blender.generate("a red ball", output="cloud")
    depsgraph = bpy.context.evaluated_depsgraph_get()
    drawn = [instance.object for instance in depsgraph.object_instances]
    (mesh,) = [thing.data for thing in drawn if thing.type == "MESH" and len(thing.data.vertices)]
    assert len(mesh.vertices) == 800 * 12
    assert mesh.color_attributes.active_color.name == "Color"
    assert mesh.materials[0].name == "Point-E Color"
