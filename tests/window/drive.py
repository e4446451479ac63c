"""What the real-window test does inside Blender: looks, clicks and writes down what it saw in report.json.

Arguments after `--`: what to do ("missing", "generate") and the packages folder, empty for none.
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
Steps = Generator[float, None, None]  # yields seconds to wait, in which Blender goes on

report: dict = {"progress": []}


def missing(folder: str) -> Steps:
    """Without PyTorch: the panel says so, and Generate explains instead of failing silently."""
    bpy.context.scene.pointe.prompt = "a red chair"
    yield from open_panel()
    report["missing"] = part("packages").missing()
    yield from picture("missing")
    yield from click("bpy.ops.pointe.generate()")
    yield from wait_for(lambda: part("operators.running").state.error, 60)
    report["error"] = part("operators.running").state.error
    yield from picture("error")


def generate(folder: str) -> Steps:
    """Generate with the mouse, watch, undo, redo, cancel; quit while another one runs."""
    bpy.context.preferences.addons[EXTENSION].preferences.packages_folder = folder
    bpy.context.scene.pointe.prompt = "a red chair"
    for thing in list(bpy.data.objects):
        bpy.data.objects.remove(thing)
    bpy.ops.ed.undo_push(message="empty")
    yield from open_panel()
    report["missing"] = part("packages").missing()
    yield from picture("ready")
    running = part("operators.running").state

    yield from click("bpy.ops.pointe.generate()")
    while running.task:
        if running.job and (update := running.job.poll()):
            report["progress"].append([update.stage, update.step, update.steps, update.fraction])
            if "running" not in report and update.fraction > 0.3:
                report["running"] = update.stage
                yield from picture("running")
        yield 0.1
    report["error"] = running.error
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
    yield from click("bpy.ops.pointe.generate()")
    yield from wait_for(lambda: running.job and running.job.poll(), 60)
    yield from click("bpy.ops.pointe.cancel()")
    started = time.monotonic()
    yield from wait_for(lambda: running.task is None, 60)
    report["cancelled in"] = time.monotonic() - started
    report["left by cancel"] = sorted(datablocks() - before)
    yield from picture("cancelled")

    yield from click("bpy.ops.pointe.generate()")
    yield from wait_for(lambda: running.job and running.job.poll(), 60)
    report["quit while running"] = bool(running.task)


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


def click(command: str) -> Steps:
    """Move the mouse down the sidebar until it is over the button that runs `command`, and click."""
    window, area, region = view()
    manager = bpy.context.window_manager
    for top in range(20, region.height, 8):
        at = {"x": region.x + region.width // 2 - 20, "y": region.y + region.height - top}
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
            return
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


def start(todo: str, folder: str) -> None:
    """Run the steps on a timer, then write the report and quit."""
    steps = {"missing": missing, "generate": generate}[todo](folder)

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


start(*sys.argv[sys.argv.index("--") + 1 :])
