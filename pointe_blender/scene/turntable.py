"""Pictures of things from all around, rendered by Blender, as the Point-E paper looked at its results.

Camera, frame and lamps are those of the script behind its CLIP R-Precision (arXiv:2212.08751, the released
`blender_script.py` with `z-circular-elevated`). The background is white, as in the pictures that the released
models are shown; the script left it transparent.

The paper renders no clouds but the meshes made of them. Here a cloud is drawn as balls that touch, so that it
can be told how far a mesh is from its cloud (PSNR). That is done without lamps: the shades of balls are not
those of a surface, and unlit the colours come out exactly as they were given. Even so a perfect mesh differs
from its cloud by the rim that balls add to it.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..pipeline.errors import InvalidRequest
from ..pipeline.replacing import replacing
from . import opengl
from .materials import texture_of
from .stand_ins import Thing, stand_in

Engine = Literal["CYCLES", "EEVEE", "WORKBENCH"]

SAMPLES = 16  # rays per pixel: edges are smooth then, and little noise is left in the 224 pixels of CLIP
NAME = "Point-E Turntable"
_IDS = {
    "CYCLES": "CYCLES",
    "EEVEE": "BLENDER_EEVEE" if bpy.app.version >= (5, 0) else "BLENDER_EEVEE_NEXT",
    "WORKBENCH": "BLENDER_WORKBENCH",
}
# The script's lamps: two suns opposite one another, in a direction in which sides along the axes differ. They
# fill half the sky each, as it has them for EEVEE; narrow ones, as for its Cycles, leave black shadows.
_SUN = Vector((0.09387503, -0.63953443, -0.7630093))
_SUN_STRENGTH = 5.0  # W/m²
_SUN_WIDTH = math.pi  # radians


@dataclass(frozen=True)
class Camera:
    """Where things are looked at from. What is given by default is the paper's.

    Attributes
    ----------
    views
        Pictures, evenly around. (The script's last one repeats its first one; here none does.)
    azimuth
        Of the first view, radians from -y, which is the front, to +x; further ones follow counter-clockwise
        seen from above.
    elevation
        Radians above the horizon. The script raises the camera by 0.2617993878, which is 15° in radians, per
        unit of distance along the ground: 14.67°.
    distance
        From the middle, where the longest side of the thing's box is 1. The corners of a cube do not fit.
    field
        Of view, radians: Blender's own camera, 50 mm before a sensor of 36 mm.
    size
        Pixels along each side.
    """

    views: int = 20
    azimuth: float = math.pi / 2
    elevation: float = math.atan(0.2617993878)
    distance: float = 2.0
    field: float = 2 * math.atan(18 / 50)
    size: int = 512

    def pose(self, view: int) -> Matrix:
        """From a view's own axes (right, up, backwards) to the world."""
        angle = self.azimuth + 2 * math.pi * view / self.views
        level = math.cos(self.elevation)
        eye = Vector((math.sin(angle) * level, -math.cos(angle) * level, math.sin(self.elevation)))
        return Matrix.Translation(self.distance * eye) @ eye.to_track_quat("Z", "Y").to_matrix().to_4x4()


class Turntable:
    """A scene of its own in which one thing after another is rendered; `with` brings it and takes it away.

    Parameters
    ----------
    camera
        By default the paper's.
    engine
        Cycles computes on the CPU, anywhere. EEVEE, which the paper used, and Workbench draw by OpenGL:
        without a graphics card EEVEE takes many times as long as Cycles, Workbench a fraction.
    lit
        Whether the paper's lamps shine, which make colours brighter (in the open by 5/π, in linear light);
        otherwise every pixel has the colour that the thing has there, by OpenGL to 2/255.

    Raises
    ------
    InvalidRequest
        OpenGL is needed and there is none, or Workbench, which knows no lamps, is to be lit.
    """

    def __init__(self, camera: Camera = Camera(), engine: Engine = "CYCLES", lit: bool = True) -> None:
        if lit and engine == "WORKBENCH":
            raise InvalidRequest("Workbench knows no lamps: render with Cycles or EEVEE, or unlit.")
        if engine != "CYCLES" and not opengl.available():
            raise InvalidRequest(f"{engine} needs OpenGL, which is missing here: render with Cycles.")
        self.camera, self.engine, self.lit = camera, engine, lit

    def __enter__(self) -> Self:
        """Bring the scene."""
        self._first = _result() is None
        self._made: list[bpy.types.ID] = []
        self._folder = tempfile.TemporaryDirectory()
        try:
            self._scene = bpy.data.scenes.new(NAME)
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Take away all that was made, and the picture that Blender keeps of a first render."""
        self._folder.cleanup()
        bpy.data.batch_remove(self._made)
        bpy.data.scenes.remove(self._scene)
        if self._first and (result := _result()):
            bpy.data.images.remove(result)

    def render(self, thing: Thing, folder: Path, stem: str, around: np.ndarray | None = None) -> list[Path]:
        """Render what is not there yet of `{stem}_{view:02d}.png` in a folder.

        Parameters
        ----------
        thing
            A mesh or a cloud of the pipeline, or an object of any scene as its modifiers show it.
        around
            (N, 3) points in the thing's coordinates, an object's being the world's: their box is put into the
            middle of the pictures and its longest side scaled to 1. By default the thing's own; to compare
            two things, give both the same.

        Returns
        -------
        The paths of all views, RGB on white. A file appears whole or not at all.

        Raises
        ------
        InvalidRequest
            The thing has no surface and no points, or no extent.
        CannotWrite
            The folder is read-only or the disk is full.
        """
        folder = Path(folder)
        paths = [folder / f"{stem}_{view:02d}.png" for view in range(self.camera.views)]
        if missing := [view for view, path in enumerate(paths) if not path.exists()]:
            with stand_in(thing, self.lit, around) as standing:
                self._scene.collection.objects.link(standing)
                painted = standing.data.color_attributes and not texture_of(standing)
                self._scene.display.shading.color_type = "VERTEX" if painted else "TEXTURE"
                for view in missing:
                    self._shoot(view, paths[view])
        return paths

    def _shoot(self, view: int, path: Path) -> None:
        """Render one view, somewhere else, and bring the whole file."""
        shot = Path(self._folder.name) / "shot.png"
        self._scene.camera.matrix_world = self.camera.pose(view)
        bpy.ops.render.render(scene=self._scene.name)
        _result().save_render(str(shot), scene=self._scene)
        with replacing(path) as file:
            file.write(shot.read_bytes())

    def _set_up(self) -> None:
        scene, camera = self._scene, self.camera
        render = scene.render
        render.engine = _IDS[self.engine]
        render.resolution_x = render.resolution_y = camera.size
        render.resolution_percentage = 100
        render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGB"
        render.dither_intensity = 0.0  # the colours as they are, and the same each time
        render.use_persistent_data = True  # from view to view
        scene.view_settings.view_transform = "Standard"
        scene.cycles.device, scene.cycles.samples, scene.cycles.seed = "CPU", SAMPLES, 0
        scene.cycles.use_adaptive_sampling = scene.cycles.use_denoising = False
        scene.cycles.max_bounces = 0  # lamps only, as EEVEE
        scene.eevee.taa_render_samples = SAMPLES
        shading = scene.display.shading
        shading.light, shading.background_type, shading.background_color = "FLAT", "VIEWPORT", (1.0, 1.0, 1.0)
        scene.world = self._white_world()
        scene.camera = self._add(bpy.data.cameras.new(NAME))
        scene.camera.data.angle = camera.field
        for direction in (_SUN, -_SUN) if self.lit else ():
            sun = bpy.data.lights.new(NAME, "SUN")
            sun.energy, sun.angle = _SUN_STRENGTH, _SUN_WIDTH
            self._add(sun).rotation_euler = direction.to_track_quat("Z", "Y").to_euler()

    def _add(self, data: bpy.types.Camera | bpy.types.Light) -> bpy.types.Object:
        """A new object with these data in the scene."""
        thing = bpy.data.objects.new(NAME, data)
        self._made += [data, thing]
        self._scene.collection.objects.link(thing)
        return thing

    def _white_world(self) -> bpy.types.World:
        """White to the camera, and without light."""
        world = bpy.data.worlds.new(NAME)
        self._made.append(world)
        world.color = (1.0, 1.0, 1.0)
        if bpy.app.version < (5, 0):
            world.use_nodes = True
        tree = world.node_tree
        background = next(node for node in tree.nodes if node.type == "BACKGROUND")
        background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
        seen = tree.nodes.new("ShaderNodeLightPath").outputs["Is Camera Ray"]
        tree.links.new(seen, background.inputs["Strength"])
        return world


def _result() -> bpy.types.Image | None:
    """The image by which Blender shows what was rendered; a scene's own result stays when another renders."""
    return next((image for image in bpy.data.images if image.type == "RENDER_RESULT"), None)
