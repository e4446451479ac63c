"""Colour that can be seen: the pixels of every way to look at clouds and meshes."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from pointe_blender.pipeline import Request, Result
from pointe_blender.scene import nodes, objects
from pointe_blender.scene.finishing import Finish
from tests.blender.stand_in import RED, red_cloud, red_mesh

EEVEE = "BLENDER_EEVEE" if bpy.app.version >= (5, 0) else "BLENDER_EEVEE_NEXT"
SIZE = 64
FINISHES = [Finish(), Finish(remesh=0.05, faces=300), Finish(texture=64)]


def picture(engine: str, folder: Path, count: int) -> np.ndarray:
    """(64, 64 × count, 4) sRGB with alpha: what stands in a row, under a white sky."""
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.type, camera.data.ortho_scale = "ORTHO", 1.2 * count
    camera.location = (0.6 * (count - 1), -5.0, 0.5)
    camera.rotation_euler = (np.pi / 2, 0.0, 0.0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.world = bpy.data.worlds.new("white")
    if not scene.world.node_tree:
        scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    render = scene.render
    render.engine = engine
    render.film_transparent = True
    render.resolution_x, render.resolution_y, render.resolution_percentage = count * SIZE, SIZE, 100
    scene.view_settings.view_transform = "Standard"
    scene.display.shading.light, scene.display.shading.color_type = "FLAT", "VERTEX"
    scene.cycles.samples = scene.eevee.taa_render_samples = 4
    render.filepath = str(folder / "picture.png")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(render.filepath)
    return np.array(image.pixels[:]).reshape(SIZE, count * SIZE, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "tolerance"),
    [
        pytest.param("BLENDER_WORKBENCH", 0.02, id="solid"),
        pytest.param("CYCLES", 0.12, id="cycles"),
        pytest.param(EEVEE, 0.05, id="eevee"),  # and Material Preview, which is EEVEE
    ],
)
def test_everything_shows_its_colour(extension: None, tmp_path: Path, engine: str, tolerance: float) -> None:
    """A cloud of balls, one of grains, and meshes: plain, with modifiers, with a texture."""
    dense = red_cloud(count=nodes.DENSE)
    for i, cloud in enumerate((red_cloud(), dense)):
        insert(Result((cloud,), (), (0,), (), "starter", "cpu", {}), Request(prompt="a", output="cloud"), i)
    for i, finish in enumerate(FINISHES, start=2):
        result = Result((dense,), (red_mesh(),), (0,), (), "starter", "cpu", {})
        insert(result, Request(prompt="a", output="mesh"), i, finish)
    pixels = picture(engine, tmp_path, 5)
    for i in range(5):
        part = pixels[:, i * SIZE : (i + 1) * SIZE]
        covered = part[..., 3] > 0.5
        assert covered.mean() > 0.15, "it is there"
        # The balls of a cloud shade each other a little, which Cycles shows.
        np.testing.assert_allclose(np.median(part[covered][:, :3], axis=0), RED, atol=tolerance)


def insert(result: Result, request: Request, place: int, finish: Finish = FINISHES[0]) -> None:
    """Add it as the one of that number in a row."""
    bpy.context.scene.cursor.location.x = 1.2 * place
    objects.insert(result, request, "a", "Scene", finish)
