"""Coming and going: nothing heavy is loaded, nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest

import pointe_blender
from tests.blender.stand_in import Pipeline

CHECKOUT = Path(pointe_blender.__file__).parents[1]
HEAVY = ("torch", "numpy", "open_clip", "PIL", "ssl", "http.client", "urllib.request")


def traces() -> dict[str, object]:
    """Everything in which an extension may leave something."""
    handlers = ("load_pre", "load_post", "undo_pre", "undo_post", "redo_pre", "redo_post", "save_pre")
    return {
        "types": {name for name in dir(bpy.types) if "pointe" in name.lower()},
        "operators": set(dir(bpy.ops.pointe)),
        "scene": hasattr(bpy.types.Scene, "pointe"),
        "handlers": [list(getattr(bpy.app.handlers, name)) for name in handlers],
        "add menu": list(bpy.types.VIEW3D_MT_add._dyn_ui_initialize()),
        "path": list(sys.path),
    }


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    ending = "\nimport os, sys\nsys.stdout.flush()\nos._exit(0)"
    done = subprocess.run([sys.executable, "-c", code + ending], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_unregistering_leaves_nothing_behind_and_it_can_come_again() -> None:
    before = traces()
    for _ in range(2):
        pointe_blender.register()
        assert traces() != before
        pointe_blender.unregister()
        assert traces() == before


def test_importing_the_package_imports_neither_bpy_nor_torch() -> None:
    code = "import sys, pointe_blender\nprint({'bpy', 'numpy', 'torch'} & set(sys.modules))"
    assert run_python(code) == "set()"


def test_registering_imports_nothing_heavy_and_nothing_by_an_absolute_name() -> None:
    """As the installed extension, which is `bl_ext.user_default.pointe_blender`."""
    code = f"""
import importlib, sys, types, bpy
for name in ("bl_ext", "bl_ext.user_default"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [{str(CHECKOUT)!r}]
before = set(sys.modules)
package = importlib.import_module("bl_ext.user_default.pointe_blender")
package.register()
new = set(sys.modules) - before
print(bpy.types.Scene.bl_rna.properties["pointe"].fixed_type.identifier)
print([name for name in new if name in {HEAVY} or name.startswith("pointe_blender")])
package.unregister()"""
    assert run_python(code).splitlines()[-2:] == ["PointeSettings", "[]"]


def test_disabling_it_ends_a_run(
    pipeline: Pipeline, started: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pointe_blender.operators import running

    pipeline.pace = lambda: pipeline.closed.wait(0.01)
    started()
    running.stop()
    assert pipeline.closed.is_set()
    assert not bpy.app.timers.is_registered(running.tick)


def test_quitting_in_the_middle_of_a_run_ends_its_thread() -> None:
    code = """
import itertools, time, bpy, pointe_blender
pointe_blender.register()
from pointe_blender.operators import generate, running
from pointe_blender.pipeline import Progress
def run(request, folders):
    try:
        for i in itertools.count():
            time.sleep(0.01)
            yield Progress("base", i, 64, 0.5)
    finally:
        print("closed", flush=True)
generate.run = run
running.submit(lambda: generate.prepare("a red ball", None))
import atexit, os
atexit._run_exitfuncs()"""
    assert run_python(code).splitlines()[-1] == "closed"
