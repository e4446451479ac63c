"""One object the whole way through the extension, left as scene, cloud, mesh and picture: `build.py run`.

It is part of the package because it runs inside Blender and calls what an artist's click calls.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

from . import cli, register
from .operators import generate, running
from .pipeline import PointEError, files
from .pipeline.request import QUALITIES
from .scene import exports, objects
from .scene.finishing import Finish
from .shell.console import tell
from .shell.items import slug

VIEW = Vector((0.42, -1.0, 0.45)).normalized()  # from the objects to the camera
RIGHT = Vector((0.0, 0.0, 1.0)).cross(VIEW).normalized()
SPACING = 1.15  # between the middles of neighbours, which fill a cube of side 1


def main(arguments: Sequence[str]) -> int:
    """Make one object and its four files; return an exit code as the shell's command does."""
    parser = argparse.ArgumentParser(prog="build.py run", description=__doc__)
    parser.add_argument("prompt", nargs="?")
    parser.add_argument("--image", metavar="FILE", type=Path)
    parser.add_argument("--models", default="starter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quality", choices=QUALITIES, default="fast")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output-folder", metavar="FOLDER", type=Path, default=Path("out"))
    options = vars(parser.parse_args(arguments))
    folder: Path = options.pop("output_folder")
    name = slug(options["prompt"] or (options["image"].stem if options["image"] else ""))
    try:
        for path in make(folder / name, **options):
            print(path, flush=True)
    except (PointEError, OSError) as error:
        print(f"build.py run: {error}", file=sys.stderr)
        return cli.REFUSED
    return cli.DONE


def make(stem: Path, prompt: str | None, image: Path | None, **fields: object) -> Iterator[Path]:
    """Generate in an empty scene, then yield the path of each file once it is there."""
    bpy.ops.wm.read_homefile(use_empty=True)
    register()

    def prepare() -> running.Task:
        # As large as it was made and around the origin, so that files for comparison need no thought.
        finish = Finish(size=0.0, origin="CENTER")
        task = generate.prepare(prompt, image, output="both", finish=finish, **fields)
        stem.parent.mkdir(parents=True, exist_ok=True)
        cli.check_folder(stem.parent)
        return replace(task, work=lambda: tell(task.work()))

    mesh, cloud = running.wait(prepare)

    def path(suffix: str) -> Path:
        return stem.with_name(stem.name + suffix)

    files.save(path(".ply"), cloud=objects.to_cloud(cloud)[0])
    yield path(".ply")
    exports.export([mesh], path(".glb"))
    yield path(".glb")
    scene = bpy.context.scene
    light(scene)
    frame(scene, [cloud, mesh])
    bpy.ops.wm.save_as_mainfile(filepath=str(path(".blend").resolve()))
    yield path(".blend")
    render(scene, path(".png"))
    yield path(".png")


def light(scene: bpy.types.Scene) -> None:
    """Add a neutral ground, a soft key from the upper left and an even sky."""
    bpy.ops.mesh.primitive_plane_add(size=40.0)
    ground = bpy.context.object
    ground.name = "Ground"
    ground.data.materials.append(bpy.data.materials.new("Ground"))
    surface = shader(ground.data.materials[0], "BSDF_PRINCIPLED")
    surface.inputs["Base Color"].default_value = (0.62, 0.62, 0.64, 1.0)
    surface.inputs["Roughness"].default_value = 1.0

    key = bpy.data.objects.new("Key", bpy.data.lights.new("Key", "AREA"))
    key.data.energy, key.data.size = 90.0, 1.6
    key.location = VIEW * 2.6 - RIGHT * 1.8 + Vector((0.0, 0.0, 2.2))
    key.rotation_euler = (key.location - Vector((0.0, 0.0, 0.4))).to_track_quat("Z", "Y").to_euler()
    scene.collection.objects.link(key)

    scene.world = bpy.data.worlds.new("Sky")
    sky = shader(scene.world, "BACKGROUND")
    sky.inputs["Color"].default_value = (0.9, 0.95, 1.0, 1.0)
    sky.inputs["Strength"].default_value = 0.75


def shader(owner: bpy.types.Material | bpy.types.World, kind: str) -> bpy.types.Node:
    """The node of that type in a new material or world."""
    if bpy.app.version < (5, 0, 0):
        owner.use_nodes = True
    return next(node for node in owner.node_tree.nodes if node.type == kind)


def frame(scene: bpy.types.Scene, things: Sequence[bpy.types.Object]) -> None:
    """Stand things on the ground side by side, and point a camera at them so that all of them fit."""
    placed = []
    for i, thing in enumerate(things):
        corners = np.array(thing.bound_box)
        low = corners.min(axis=0)
        place = RIGHT * SPACING * (i - (len(things) - 1) / 2)
        thing.location = place - Vector((0.0, 0.0, low[2]))
        placed.append(corners + np.array(thing.location))
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.data.lens = 70.0
    camera.rotation_euler = VIEW.to_track_quat("Z", "Y").to_euler()
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y = 960, 540
    points = np.concatenate(placed)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    points = centre + (points - centre) * 1.15
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    camera.location, _ = camera.camera_fit_coords(depsgraph, points.ravel().tolist())


def render(scene: bpy.types.Scene, path: Path) -> None:
    """Render with Cycles on the CPU, which needs neither a screen nor a graphics card."""
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples, scene.cycles.max_bounces = 16, 3
    scene.cycles.use_denoising = True
    scene.view_settings.view_transform = "Standard"  # the colours as they were made
    scene.render.filepath = str(path.resolve())
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # Blender as a module may crash while Python takes it down
