"""What take_pictures.py does inside Blender: brings about every state the documentation shows.

Arguments after `--`: which states ("work", "output", "preferences", "missing") and the packages folder, empty
for none. Each picture is the whole screen; report.json says which part of it is meant.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterable

import bpy
from mathutils import Euler

sys.path.insert(0, os.getcwd())

from drive import EXTENSION, Steps, open_panel, part, picture, press, report, start, view, wait_for

report["boxes"] = {}
SECONDS = 400.0  # that a run may take
LEAST = 600  # pixels that a picture of the view is high
UPPER = 515  # pixels of the preferences, down to the first models


def work(folder: str) -> Steps:
    """Prompts, the queue, variants, pictures, other objects, messages, the menu."""
    yield from set_the_stage(folder)
    settings = bpy.context.scene.pointe
    settings.prompt = "a red chair"
    yield from open_panel()
    yield from keep_panel("ready")

    look_at(0.45, 2.6)
    settings.quality = "high"  # which takes shape slowly enough to be seen
    generate()
    settings.prompt = "a blue mug"
    generate()
    settings.prompt = "a green airplane"
    generate()
    yield from wait_for(lambda: stage() == "upsample" and step() >= 1, SECONDS)
    yield from keep_view("forming")
    bpy.ops.pointe.cancel(number=part("tasks").state.waiting[-1].number)
    bpy.ops.pointe.cancel(number=part("tasks").state.waiting[-1].number)
    yield from wait_for(idle, SECONDS)
    look_at(0.5, 3.4, x=0.7)
    settings.prompt = "a red chair"
    yield 2.0
    yield from keep_view("done")

    clear()
    settings.quality = "fast"
    settings.prompt, settings.count, settings.seed, settings.output = "a green chair", 4, 0, "mesh"
    generate()
    yield from wait_for(idle, SECONDS)
    look_at(0.4, 6.6, x=2.0)
    yield 2.0
    yield from keep_view("variants")

    clear()
    settings.count, settings.seed, settings.output = 1, 0, "both"
    bpy.ops.image.open(filepath=os.path.abspath("chair.png"))
    settings.source, settings.picture = "image", bpy.data.images["chair.png"]
    yield 3.0
    yield from keep_panel("picture")
    settings.output = "mesh"
    generate()
    yield from wait_for(idle, SECONDS)
    look_at(0.45, 2.6)
    yield 2.0
    yield from keep_view("picture-done")

    clear()
    settings.source, settings.picture = "prompt", None
    suzanne = add_suzanne()
    bpy.ops.pointe.mesh_from_points("INVOKE_DEFAULT")
    yield from wait_for(idle, SECONDS)
    suzanne.location.x -= 2.6
    look_at(1.0, 8.0, x=-1.3)
    yield 2.0
    yield from keep_view("objects")

    clear()
    settings.prompt, settings.models = "a corgi in a space suit", "official-text"
    bpy.context.preferences.system.use_online_access = False
    generate()
    yield from wait_for(lambda: part("tasks").state.error, 60)
    yield 1.0
    yield from keep_panel("error")
    bpy.ops.pointe.dismiss()

    settings.prompt, settings.models = "a red chair", "starter"
    yield 1.0
    yield from press("A", shift=True)
    yield from press("UP_ARROW")
    menu = box(view()[1])
    report["boxes"]["add-menu"] = {**menu, "top": menu["bottom"] - 560, "right": menu["left"] + 540}
    yield from picture("add-menu")


def output(folder: str) -> Steps:
    """The panel Output beside a finished object, and the same object as an asset."""
    open_at_first("Output", closed=("Selected Object", "Detail"))
    yield from set_the_stage(folder)
    settings = bpy.context.scene.pointe
    settings.prompt, settings.output = "a red chair", "mesh"
    settings.size, settings.faces, settings.shading, settings.asset = 0.9, 1500, "FLAT", True
    yield from open_panel()
    generate()
    yield from wait_for(idle, SECONDS)
    look_at(0.4, 2.3)
    yield 2.0
    yield from keep_view("output")

    for prompt in ("a blue mug", "a yellow car"):
        settings.prompt = prompt
        generate()
    yield from wait_for(idle, SECONDS)
    area = view()[1]
    area.ui_type = "ASSETS"
    yield 2.0
    area.spaces.active.params.asset_library_reference = "LOCAL"
    yield 4.0
    browser = box(area)
    report["boxes"]["assets"] = {**browser, "bottom": browser["top"] + 260}
    yield from picture("assets")


def preferences(folder: str) -> Steps:
    """The preferences of the extension, with a PyTorch of the user's own."""
    yield from set_the_stage(folder)
    yield from show_preferences()
    yield from keep_preferences("preferences", UPPER)
    area = next(area for area in areas() if area.type == "PREFERENCES")
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window(), area=area, region=region):
        for _ in range(40):
            bpy.ops.view2d.scroll_down(deltay=120)
    yield from keep_preferences("models")


def missing(folder: str) -> Steps:
    """A fresh installation, which has no PyTorch yet."""
    part("setup.packages").PYTHON = "cp313"  # as Blender's own builds have; distributions have others
    yield from set_the_stage("")
    bpy.context.scene.pointe.prompt = "a red chair"
    yield from open_panel()
    yield 3.0
    yield from keep_panel("without-pytorch")
    yield from show_preferences()
    yield 2.0
    yield from keep_preferences("pytorch", UPPER)


def set_the_stage(folder: str) -> Steps:
    """An empty scene, a view about as wide as a page beside something plain, its sidebar opaque."""
    bpy.context.preferences.addons[EXTENSION].preferences.packages_folder = folder
    bpy.context.preferences.system.use_region_overlap = False
    bpy.context.preferences.system.use_online_access = True
    clear()
    _, area, _ = view()
    for kind in ("DOPESHEET_EDITOR", "TIMELINE"):
        for other in [other for other in areas() if other.type == kind]:
            with bpy.context.temp_override(window=window(), area=other):
                bpy.ops.screen.area_close()
            yield 0.5
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window(), area=area, region=region):
        bpy.ops.screen.area_split(direction="VERTICAL", factor=0.36)
    yield 0.5
    left = min((area for area in areas() if area.type == "VIEW_3D"), key=lambda area: area.x)
    left.type = "TEXT_EDITOR"
    space = view()[1].spaces.active
    space.show_region_toolbar = space.show_region_tool_header = False
    space.overlay.show_outline_selected = space.overlay.show_object_origins = False
    yield 0.5


def open_at_first(*labels: str, closed: Iterable[str]) -> None:
    """Blender decides only once whether a panel is open: before it is drawn for the first time."""
    panels = [
        cls
        for cls in bpy.types.Panel.__subclasses__()
        if getattr(cls, "bl_parent_id", "") == "POINTE_PT_main"
    ]
    for cls in panels:
        bpy.utils.unregister_class(cls)
        if cls.bl_label in labels:
            cls.bl_options = set()
        elif cls.bl_label in closed:
            cls.bl_options = {"DEFAULT_CLOSED"}
    for cls in panels:
        bpy.utils.register_class(cls)


def generate() -> None:
    """As the button does."""
    where, area, region = view()
    with bpy.context.temp_override(window=where, area=area, region=region):
        bpy.ops.pointe.generate("INVOKE_DEFAULT")


def stage() -> str:
    """What the pipeline does now."""
    entry = part("tasks").state.current
    update = entry.job.poll() if entry else None
    return update.stage if update else ""


def step() -> int:
    entry = part("tasks").state.current
    update = entry.job.poll() if entry else None
    return update.step if update else 0


def idle() -> bool:
    return part("tasks").state.current is None


def clear() -> None:
    """Nothing in the scene."""
    bpy.data.batch_remove(list(bpy.data.objects))


def add_suzanne() -> bpy.types.Object:
    """Something that no model has made, in colour."""
    bpy.ops.mesh.primitive_monkey_add(size=2.0, location=(0.0, 0.0, 1.0))
    thing = bpy.context.object
    thing.modifiers.new("Subdivision", "SUBSURF").levels = 2
    bpy.ops.object.shade_smooth()
    material = bpy.data.materials.new("Suzanne")
    material.diffuse_color = (0.8, 0.25, 0.03, 1.0)
    if material.node_tree is None:
        material.use_nodes = True
    material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = material.diffuse_color
    thing.data.materials.append(material)
    return thing


def look_at(height: float, distance: float, x: float = 0.0) -> None:
    """Turn the view to what stands on the ground, a little from above."""
    around = view()[1].spaces.active.region_3d
    around.view_perspective = "PERSP"
    # What is looked at stands above the middle, as the picture is cut off below.
    around.view_location, around.view_distance = (x, 0.0, height - 0.13 * distance), distance
    around.view_rotation = Euler((math.radians(68), 0.0, math.radians(25))).to_quaternion()


def show_preferences() -> Steps:
    """The add-on's own, in place of the view."""
    area = view()[1]
    area.type = "PREFERENCES"
    bpy.context.preferences.active_section = "ADDONS"
    bpy.context.window_manager.addon_search = "Point-E"
    yield 1.0
    with contextlib.suppress(RuntimeError):
        bpy.ops.preferences.addon_expand(module=EXTENSION)
    area.tag_redraw()
    yield 3.0


def keep_panel(name: str) -> Steps:
    """Keep the sidebar."""
    yield from keep(name, view()[2], view()[2])


def keep_view(name: str) -> Steps:
    """Keep the view with its sidebar."""
    _, area, sidebar = view()
    yield from keep(name, next(region for region in area.regions if region.type == "WINDOW"), sidebar, LEAST)


def keep_preferences(name: str, height: int = 0) -> Steps:
    """Keep what the area of the preferences shows, without the list of sections: all or its upper part."""
    area = next(area for area in areas() if area.type == "PREFERENCES")
    region = next(region for region in area.regions if region.type == "WINDOW")
    yield from keep(name, region, region)
    if height:
        kept = report["boxes"][name]
        kept.update(bottom=kept["top"] + height, least=height)


def keep(name: str, first: bpy.types.Region, panel: bpy.types.Region, least: int = 0) -> Steps:
    """Keep two regions that touch; below the panel's content and `least` everything is cut off later."""
    one, other = box(first), box(panel)
    report["boxes"][name] = {
        **one,
        "right": max(one["right"], other["right"]),
        "panel": other["left"],
        "least": least,
    }
    yield from picture(name)


def box(part: bpy.types.Area | bpy.types.Region) -> dict[str, int]:
    """Where something is on the screen, counted from its upper left corner."""
    top = window().height - part.y - part.height
    return {"left": part.x, "top": top, "right": part.x + part.width, "bottom": top + part.height}


def window() -> bpy.types.Window:
    return bpy.context.window_manager.windows[0]


def areas() -> list[bpy.types.Area]:
    return list(window().screen.areas)


what, packages = sys.argv[sys.argv.index("--") + 1 :]
start({"work": work, "output": output, "preferences": preferences, "missing": missing}[what](packages))
