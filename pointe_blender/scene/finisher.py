"""What the shell's command made, finished and exported by Blender."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
from mathutils import Matrix

from ..formats import wanted
from ..streams import prints_aside
from . import exports, objects, textures
from .finishing import Finish

if TYPE_CHECKING:
    from ..pipeline import Request, Result

LENGTH = 40  # of an object's name; two that differ behind it still get different textures


def check(finish: Mapping[str, Any], endings: Sequence[str]) -> None:
    """Refuse, before anything is computed, what this Blender lacks; see `shell.outputs.Finisher`.

    Raises
    ------
    InvalidRequest
    """
    if finish.get("texture"):
        textures.check()
    for ending in endings:
        exports.check(f"any{ending}")


def finish_and_export(
    result: Result, request: Request, finish: Mapping[str, Any], paths: Sequence[Path]
) -> None:
    """One variant through Blender's exporters; see `shell.outputs.Finisher`.

    Without a size or an origin everything stays where the models put it, as it does outside Blender. The file
    that Blender has open is thrown away each time, so that nothing is left that could change the next one.

    Raises
    ------
    InvalidRequest, CannotWrite
    """
    how = Finish(**{"size": 0.0, "place": "GROUND", **finish})
    where = None if finish.keys() & {"size", "origin"} else Matrix()
    for kind in ("cloud", "mesh"):
        ours = [path for path in paths if wanted([path.suffix]) == kind]
        if not ours:
            continue
        bpy.ops.wm.read_homefile(use_empty=True)
        alone = replace(result, meshes=()) if kind == "cloud" else result
        made = objects.insert(
            alone,
            replace(request, output=kind),
            _name(ours[0].stem),
            bpy.context.scene.name,
            how,
            where,
        )
        with prints_aside():
            for path in ours:
                exports.export(made, path)


def _name(stem: str) -> str:
    """A file's name as that of an object."""
    if len(stem) <= LENGTH:
        return stem
    return f"{stem[: LENGTH - 9]}-{hashlib.sha256(stem.encode()).hexdigest()[:8]}"
