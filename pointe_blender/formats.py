"""The files that results can be written to, by their endings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

POINT_E = ".npz"  # its own format, which Blender does not know
CLOUDS = (".ply", POINT_E)
MESHES = (".glb", ".obj", ".usd", ".usdc", ".usda", ".fbx")
PLAIN = (".ply", POINT_E, ".glb", ".obj")  # which need no Blender


def wanted(endings: Iterable[str]) -> Literal["cloud", "mesh", "both"]:
    """What has to be made for files with these endings."""
    kinds = {"cloud" if ending in CLOUDS else "mesh" for ending in endings}
    return "both" if len(kinds) == 2 else "cloud" if "cloud" in kinds else "mesh"
