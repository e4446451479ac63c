"""What the real-window test does inside Blender: looks, clicks and writes down what it saw in report.json.

Arguments after `--`: what to do, one of the functions below, and the packages folder, empty for none.
Clicks are Blender's own simulated events, so they go the way of a real mouse through the window.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator

import bpy

EXTENSION = "bl_ext.user_default.pointe_blender"
CROSS = 0.83  # how far across the sidebar the crosses of the queue stand
Steps = Generator[float, None, None]  # yields seconds to wait, in which Blender goes on

report: dict = {"progress": []}


def missing(folder: str) -> Steps:
    """Without PyTorch: the panel says so, and Generate explains instead of failing silently."""
    bpy.context.scene.pointe.prompt = "a red chair"
    yield from open_panel()
    report["missing"] = part("setup.packages").missing()
    yield from picture("missing")
    yield from click("bpy.ops.pointe.generate()")
    yield from wait_for(lambda: part("operators.running").state.error, 60)
    report["error"] = part("operators.running").state.error
    yield from picture("error")


def generate(folder: str) -> Steps:
    """Generate with the mouse, queue, watch, undo, redo, cancel by key and button; quit while others run."""
    bpy.context.preferences.addons[EXTENSION].preferences.packages_folder = folder
    settings = bpy.context.scene.pointe
    settings.prompt, settings.quality = "a red chair", "exact"  # long enough to be watched
    bpy.data.batch_remove(list(bpy.data.objects))
    bpy.ops.ed.undo_push(message="empty")
    yield from open_panel()
    report["missing"] = part("setup.packages").missing()
    report["times before"] = times()
    yield from picture("ready")
    running, preview = part("operators.running").state, part("scene.preview")

    button = yield from click("bpy.ops.pointe.generate()")
    yield from watch(until=lambda: preview.find())
    settings.prompt = "a blue mug"
    yield from click("bpy.ops.pointe.generate()", below=button)
    report["waiting"] = [entry.task.title for entry in running.waiting]
    yield from picture("queued")
    number = running.waiting[0].number
    yield from click(f"bpy.ops.pointe.cancel(number={number})", across=CROSS, below=button)
    report["waiting after its cross"] = len(running.waiting)
    report["preview"] = preview_facts()
    yield from watch(until=lambda: not running.current)
    report["error"] = running.error
    report["times after"] = times()
    report["preview at the end"] = preview_facts()
    report["objects"] = {thing.name: thing.type for thing in bpy.context.scene.objects}
    report["selected"] = [thing.name for thing in bpy.context.selected_objects]
    frame_selected()
    yield 2.0
    yield from picture("done")

    yield from press("Z", ctrl=True)
    report["after undo"] = len(bpy.context.scene.objects)
    yield from press("Z", ctrl=True, shift=True)
    report["after redo"] = len(bpy.context.scene.objects)
    yield from press("Z", ctrl=True)

    bpy.ops.outliner.orphans_purge(do_recursive=True)
    before = datablocks()
    for how in ("by Esc", "by its cross"):
        button = yield from click("bpy.ops.pointe.generate()")
        yield from wait_for(lambda: preview.find(), 120)
        if how == "by Esc":
            yield from press("ESC")
        else:
            number = running.current.number
            yield from click(f"bpy.ops.pointe.cancel(number={number})", across=CROSS, below=button)
        started = time.monotonic()
        yield from wait_for(lambda: running.current is None, 60)
        report[f"cancelled {how} in"] = time.monotonic() - started
        report[f"left {how}"] = sorted(datablocks() - before)
    yield from picture("cancelled")

    button = yield from click("bpy.ops.pointe.generate()")
    yield from wait_for(lambda: preview.find(), 120)
    yield from click("bpy.ops.pointe.generate()", below=button)
    report["quit while running"] = bool(running.current) and len(running.waiting)


def watch(until: Callable[[], object]) -> Steps:
    """Write down how far it is."""
    running = part("operators.running").state
    while not until():
        if running.current and (update := running.current.job.poll()):
            report["progress"].append([update.stage, update.step, update.fraction, update.remaining])
        yield 0.1


def times() -> list[str]:
    """What stands below the levels of quality."""
    panel, settings = part("panels.quality"), bpy.context.scene.pointe
    return [panel.time_of(settings, quality) for quality in panel.QUALITIES]


def preview_facts() -> dict[str, int] | None:
    """How many points the preview shows, and whether it can be selected or rendered."""
    thing = part("scene.preview").find()
    if thing is None:
        return None
    points = len(thing.data.attributes["radius"].data)
    return {"points": points, "selectable": not thing.hide_select, "rendered": not thing.hide_render}


def settle(folder: str) -> Steps:
    """Set what must outlive an update of the extension."""
    preferences = bpy.context.preferences.addons[EXTENSION].preferences
    preferences.device, preferences.unload_after, preferences.show_preview = "cpu", 42, False
    settings = bpy.context.scene.pointe
    settings.prompt, settings.size, settings.count = "a red chair", 0.7, 3
    bpy.ops.pointe.add_preset(name="Three small ones")
    part("history").remember("a red chair")
    bpy.ops.wm.save_userpref()
    bpy.ops.wm.save_as_mainfile(filepath=os.path.abspath("settled.blend"))
    yield from look_at_settings()


def settled(folder: str) -> Steps:
    """Look at it again."""
    bpy.ops.wm.open_mainfile(filepath=os.path.abspath("settled.blend"))
    yield 1.0
    yield from look_at_settings()


def look_at_settings() -> Steps:
    """Write down everything that `settle` has set."""
    preferences, settings = bpy.context.preferences.addons[EXTENSION].preferences, bpy.context.scene.pointe
    for owner, names in (
        (preferences, ("device", "unload_after", "show_preview")),
        (settings, ("prompt", "size", "count")),
    ):
        report.update({name: getattr(owner, name) for name in names})
    report["prompts"] = part("history").prompts()
    settings.size = 5.0
    paths = bpy.utils.preset_paths("pointe_blender")
    report["presets"] = [name for path in paths for name in sorted(os.listdir(path)) if name.endswith(".py")]
    if report["presets"]:
        path = os.path.join(paths[0], report["presets"][0])
        bpy.ops.script.execute_preset(filepath=path, menu_idname="POINTE_PT_presets")
    report["size of the preset"] = settings.size
    with open(os.path.join(os.path.dirname(part("history").__file__), "blender_manifest.toml")) as manifest:
        report["version"] = next(line for line in manifest if line.startswith("version = "))
    yield 0.1


def part(name: str):
    """A module of the installed extension."""
    return importlib.import_module(f"{EXTENSION}.{name}")


def view() -> tuple[bpy.types.Window, bpy.types.Area, bpy.types.Region]:
    """The 3D View and its sidebar."""
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return window, area, next(region for region in area.regions if region.type == "UI")


def open_panel() -> Steps:
    """Show the sidebar with the tab Point-E."""
    _, area, _ = view()
    area.spaces.active.show_region_ui = True
    yield 1.0
    view()[2].active_panel_category = "Point-E"
    yield 1.0


def click(command: str, across: float = 0.45, below: int = 20) -> Generator[float, None, int]:
    """Move the mouse down the sidebar until it is over the button that runs `command`, and click.

    `across` says where buttons stand that share a row, from 0 at the left to 1 at the right; `below`, where
    to begin. Returns how far down the button is.
    """
    window, area, region = view()
    manager = bpy.context.window_manager
    for top in range(below, region.height, 8):
        at = {"x": region.x + int(region.width * across), "y": region.y + region.height - top}
        window.event_simulate("MOUSEMOVE", "NOTHING", **at)
        yield 0.1
        manager.clipboard = ""
        with bpy.context.temp_override(window=window, area=area, region=region):
            if bpy.ops.ui.copy_python_command_button.poll():
                bpy.ops.ui.copy_python_command_button()
        if manager.clipboard == command:
            window.event_simulate("LEFTMOUSE", "PRESS", **at)
            yield 0.1
            window.event_simulate("LEFTMOUSE", "RELEASE", **at)
            yield 0.5
            return top
    yield from picture("no-button")
    raise AssertionError(f"no button for {command} in the sidebar")


def press(key: str, **modifiers: bool) -> Steps:
    """Press a key with the mouse over the middle of the 3D View."""
    window, area, _ = view()
    at = {"x": area.x + area.width // 3, "y": area.y + area.height // 2}
    window.event_simulate("MOUSEMOVE", "NOTHING", **at)
    yield 0.3
    window.event_simulate(key, "PRESS", **at, **modifiers)
    window.event_simulate(key, "RELEASE", **at, **modifiers)
    yield 1.0


def frame_selected() -> None:
    """Turn the view to what was made, without the outline that would hide its colours."""
    window, area, _ = view()
    area.spaces.active.overlay.show_outline_selected = False
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.view3d.view_selected()


def picture(name: str) -> Steps:
    """Save what the screen shows; on a virtual screen only the X server knows it."""
    yield 1.0
    save_report()
    if shutil.which("import"):
        subprocess.run(["import", "-window", "root", f"{name}.png"], check=True)
    else:
        window, area, _ = view()
        with bpy.context.temp_override(window=window, area=area):
            bpy.ops.screen.screenshot(filepath=os.path.abspath(f"{name}.png"))


def save_report() -> None:
    with open("report.json", "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)


def wait_for(what: Callable[[], object], seconds: float) -> Steps:
    """Let Blender go on until something is so."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise AssertionError(f"waited for {seconds} seconds in vain")
        yield 0.05


def datablocks() -> set[str]:
    """Everything in the file that a run could leave behind."""
    kinds = ("objects", "meshes", "pointclouds", "materials", "node_groups", "images", "collections")
    return {f"{kind}/{block.name}" for kind in kinds for block in getattr(bpy.data, kind)}


def start(steps: Steps) -> None:
    """Run the steps on a timer, then write the report and quit."""

    def advance() -> float | None:
        try:
            return next(steps)
        except StopIteration:
            pass
        except BaseException:
            report["traceback"] = traceback.format_exc()
        save_report()
        bpy.ops.wm.quit_blender()
        return None

    bpy.context.preferences.view.show_splash = False
    bpy.context.preferences.use_preferences_save = False
    bpy.app.timers.register(advance, first_interval=2.0, persistent=True)


if __name__ == "__main__":
    todo, packages = sys.argv[sys.argv.index("--") + 1 :]
    start({"missing": missing, "generate": generate, "settle": settle, "settled": settled}[todo](packages))
