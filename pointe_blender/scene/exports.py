"""Objects as files through Blender's own exporters, whole or not at all, whatever is selected or hidden.

The exporters are given stand-ins: meshes with their modifiers applied, and clouds in the form in which each
of them takes points with colours.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import bpy
import numpy as np

from ..pipeline.errors import CannotWrite, InvalidRequest
from .materials import COLOR, texture_of
from .staging import evaluated, staged

DISPLAY_COLOR = "displayColor"  # the name by which other readers of USD know colours
FULL = 64 * 1024  # bytes left on a disk that has none for the next file
NATIVE_USD = bpy.app.version >= (4, 5)  # whether USD takes point clouds; before, it takes bare vertices


class Exporter(NamedTuple):
    """One of Blender's operators, and how it is called."""

    operator: Any
    settings: dict[str, Any]

    def available(self) -> bool:
        """Whether this Blender has it: some are built without USD, and glTF and FBX can be switched off."""
        try:
            self.operator.get_rna_type()
        except KeyError:
            return False
        return True


_USD = Exporter(bpy.ops.wm.usd_export, {"export_animation": False})
EXPORTERS = {
    ".glb": Exporter(
        bpy.ops.export_scene.gltf,
        {
            "export_format": "GLB",
            "export_vertex_color": "ACTIVE",
            "use_mesh_vertices": True,  # bare vertices become points
            "use_active_scene": True,
            "export_animations": False,
        },
    ),
    ".ply": Exporter(bpy.ops.wm.ply_export, {"export_colors": "SRGB", "export_triangulated_mesh": True}),
    ".obj": Exporter(bpy.ops.wm.obj_export, {"export_colors": True, "path_mode": "COPY"}),
    **dict.fromkeys((".usd", ".usda", ".usdc"), _USD),
    ".fbx": Exporter(
        bpy.ops.export_scene.fbx,
        {"colors_type": "SRGB", "path_mode": "COPY", "embed_textures": True, "bake_anim": False},
    ),
}


def export(objects: Sequence[bpy.types.Object], path: str | Path) -> None:
    """Write objects, where they stand in the world, with their colours.

    Parameters
    ----------
    objects
        Meshes and clouds; FBX takes meshes only.
    path
        Ends in one of the suffixes of `EXPORTERS`. The file appears whole or not at all. A texture is inside
        .glb and .fbx, and beside .obj and .usd; .ply holds the colours at the vertices only.

    Raises
    ------
    InvalidRequest
        See `check`.
    CannotWrite
        The folder is missing or read-only, the disk is full, or the exporter failed.
    """
    path = Path(path).absolute()
    check(path, objects)
    suffix = path.suffix.lower()
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise CannotWrite(
            f"Nothing can be written to {path.parent} ({error.strerror}): choose another folder."
        ) from error
    try:
        with _stand_ins(objects, suffix) as stand_ins, staged(stand_ins):
            settings = dict(EXPORTERS[suffix].settings)
            if suffix == ".obj":
                settings["export_materials"] = _put_textures_beside(stand_ins, folder)
            EXPORTERS[suffix].operator(filepath=str(folder / path.name), **settings)
        if shutil.disk_usage(folder).free < FULL or not (folder / path.name).stat().st_size:
            raise OSError("the exporter did not say what is wrong")  # as not every one does
        _move(folder, path)
    except (OSError, RuntimeError) as error:  # what operators report is a RuntimeError here
        raise CannotWrite(_reason(error, path)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check(path: str | Path, objects: Sequence[bpy.types.Object] = ()) -> None:
    """Whether these objects can be written under that name.

    Raises
    ------
    InvalidRequest
        The suffix is not one of `EXPORTERS`, this Blender lacks that one, or it cannot hold a cloud.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in EXPORTERS:
        known = ", ".join(EXPORTERS)
        raise InvalidRequest(f"The file {Path(path).name} must end in one of {known}: give it another name.")
    if not EXPORTERS[suffix].available():
        raise InvalidRequest(
            f"This Blender cannot write {suffix}: "
            "enable the exporter in the preferences, or choose another format."
        )
    if suffix == ".fbx" and any(thing.type == "POINTCLOUD" for thing in objects):
        raise InvalidRequest("FBX holds no coloured points: choose .ply, .obj, .glb or .usd for clouds.")


@contextmanager
def _stand_ins(objects: Sequence[bpy.types.Object], suffix: str) -> Iterator[list[bpy.types.Object]]:
    """What is exported, under the objects' own names, which they get back."""
    names = [thing.name for thing in objects]
    made = []
    try:
        for thing, name in zip(objects, names, strict=True):
            native = thing.type == "POINTCLOUD" and EXPORTERS[suffix] is _USD and NATIVE_USD
            data = thing.data.copy() if native else _mesh(thing)
            _dress(data, texture_of(thing), suffix)
            stand_in = bpy.data.objects.new(f"{name} ", data)
            made.append(stand_in)
            stand_in.matrix_world = thing.matrix_world
            thing.name, stand_in.name, data.name = "Point-E Exporting", name, name
        yield made
    finally:
        bpy.data.batch_remove([block for stand_in in made for block in (stand_in, stand_in.data)])
        for thing, name in zip(objects, names, strict=True):
            thing.name = name


def _mesh(thing: bpy.types.Object) -> bpy.types.Mesh:
    """What an object's modifiers make of its mesh; of a cloud its points as bare vertices."""
    if thing.type == "MESH":
        return evaluated(thing)
    mesh = bpy.data.meshes.new(thing.name)
    mesh.vertices.add(len(thing.data.points))
    _copy(thing.data.attributes["position"], mesh.attributes["position"], "vector", 3)
    if color := thing.data.attributes.get(COLOR):
        _copy_color(color, mesh, COLOR)
        mesh.attributes.active_color_name = mesh.attributes.default_color_name = COLOR
    return mesh


def _dress(data: bpy.types.Mesh | bpy.types.PointCloud, texture: bpy.types.Image | None, suffix: str) -> None:
    """Leave of colours, texture and material what readers of the format show best."""
    color, usd = data.attributes.get(COLOR), EXPORTERS[suffix] is _USD
    if usd and color:
        _copy_color(color, data, DISPLAY_COLOR)
    if suffix == ".glb" and texture and color:
        data.attributes.remove(color)  # glTF multiplies the texture by it
    if (usd or suffix == ".obj") and not texture:
        data.materials.clear()  # neither knows one of vertex colours, and they would show it instead


def _put_textures_beside(things: Sequence[bpy.types.Object], folder: Path) -> bool:
    """Unpack what the exporter of OBJ only names; whether there are textures."""
    textures = {texture_of(thing) for thing in things} - {None}
    for image in textures:
        if image.packed_file:
            (folder / bpy.path.basename(image.filepath_raw)).write_bytes(image.packed_file.data)
    return bool(textures)


def _copy_color(color: bpy.types.Attribute, data: bpy.types.Mesh | bpy.types.PointCloud, name: str) -> None:
    _copy(color, data.attributes.new(name, color.data_type, color.domain), "color", 4)


def _copy(source: bpy.types.Attribute, target: bpy.types.Attribute, field: str, width: int) -> None:
    values = np.empty(len(source.data) * width, np.float32)
    source.data.foreach_get(field, values)
    target.data.foreach_set(field, values)


def _reason(error: Exception, path: Path) -> str:
    if shutil.disk_usage(path.parent).free < FULL:
        return f"The disk is full and {path} was not written: make room or choose another folder."
    said = (str(error).removeprefix("Error: ").strip() or type(error).__name__).splitlines()[0]
    return f"{path} was not written ({said}): choose another name or format."


def _move(folder: Path, path: Path) -> None:
    """Into place: what belongs to the file first, such as textures, then itself."""
    companions = [part for part in folder.rglob("*") if part.is_file() and part.name != path.name]
    for part in companions:
        target = path.parent / part.relative_to(folder)
        target.parent.mkdir(exist_ok=True)
        os.replace(part, target)
    os.replace(folder / path.name, path)
