"""What test_pictures.py does inside Blender: takes pictures of the view, the render and the clipboard.

Started from the folder that drive.py lies in, whose ways of looking and clicking it uses.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import bpy

sys.path.insert(0, os.getcwd())

from drive import Steps, click, open_panel, part, picture, report, start, view


def pictures() -> Steps:
    """Each source by its button, and a dropped file; what the scene's picture then is."""
    show_red_cube()
    yield from open_panel()
    bpy.context.scene.pointe.source = "image"
    yield 0.5
    yield from picture("picture-none")
    space = view()[1].spaces.active
    yield from take("VIEWPORT")
    yield from picture("picture-view")
    keep("view solid")
    for shading in ("MATERIAL", "RENDERED"):  # too slow on a machine without a GPU for a mouse to hit buttons
        space.shading.type = shading
        yield 4.0
        with bpy.context.temp_override(window=view()[0], area=view()[1], region=view()[2]):
            bpy.ops.pointe.take_picture(source="VIEWPORT")
        yield 2.0
        keep(f"view {shading.lower()}")
    report["overlays"] = space.overlay.show_overlays
    space.shading.type = "SOLID"
    yield 2.0

    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.resolution_x, scene.render.resolution_y = 160, 120
    bpy.ops.render.render()
    yield from take("RENDER")
    yield from picture("picture-render")
    keep("render")

    copy_with_a_program(Path("view solid.png").absolute())
    areas = [area.ui_type for area in bpy.context.window_manager.windows[0].screen.areas]
    yield from take("CLIPBOARD")
    keep("clipboard")
    with bpy.context.temp_override(window=view()[0], area=view()[1]):
        report["pasted by Blender"] = part("scene.captures")._pasted(bpy.context) is not None
    yield 1.0
    report["areas stay"] = areas == [
        area.ui_type for area in bpy.context.window_manager.windows[0].screen.areas
    ]
    bpy.context.window_manager.clipboard = str(Path("render.png").absolute())  # a search for buttons uses it
    with bpy.context.temp_override(window=view()[0], area=view()[1], region=view()[2]):
        bpy.ops.pointe.take_picture(source="CLIPBOARD")
    report["path on the clipboard"] = scene.pointe.picture.name

    window, area, region = view()
    scene.pointe.source, scene.pointe.picture = "prompt", None
    region.active_panel_category = "View"
    area.spaces.active.show_region_ui = False
    yield 1.0
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.pointe.drop_picture(filepath=str(Path("view solid.png").absolute()))
    yield 2.0
    report["dropped"] = [scene.pointe.source, scene.pointe.picture.name]
    report["tab"] = [area.spaces.active.show_region_ui, view()[2].active_panel_category]
    yield from picture("picture-dropped")


def show_red_cube() -> None:
    """A cube that is red in every shading, off the middle of the view."""
    for thing in list(bpy.data.objects):
        if thing.type == "MESH":
            bpy.data.objects.remove(thing)
    bpy.ops.mesh.primitive_cube_add(size=1.5, location=(1, 1, 0))
    material = bpy.data.materials.new("red")
    material.diffuse_color = (0.6, 0.01, 0.01, 1.0)
    if material.node_tree is None:
        material.use_nodes = True
    material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.6, 0.01, 0.01, 1.0)
    bpy.context.object.data.materials.append(material)
    bpy.context.object.select_set(False)


def take(source: str) -> Steps:
    """Click the button that takes a picture; the three of them share a row."""
    across = {"RENDER": 0.18, "VIEWPORT": 0.43, "CLIPBOARD": 0.73}[source]
    yield from click(f"bpy.ops.pointe.take_picture(source='{source}')", across)
    yield 0.5


def keep(name: str) -> None:
    """Write down and save what the scene's picture is now."""
    settings = bpy.context.scene.pointe
    image, seen = settings.picture, part("scene.thumbnail").of(bpy.context.scene)
    copy = image.copy()  # which may be told to lie elsewhere
    copy.save(filepath=str(Path(f"{name}.png").absolute()))
    bpy.data.images.remove(copy)
    report[name] = {
        "name": image.name,
        "source": settings.source,
        "packed": image.packed_file is not None,
        "icon": seen.icon,
        "notice": seen.notice,
    }


def copy_with_a_program(path: Path) -> None:
    """Put a stand-in for xclip first, which knows what was copied."""
    program = Path("bin/xclip").absolute()
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\ncat "{path}"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    os.environ["PATH"] = f"{program.parent}:{os.environ['PATH']}"


start(pictures())
