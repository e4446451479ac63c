"""Clouds and meshes as files: PLY and NPZ as Point-E writes them, OBJ and binary glTF for everything else.

PLY and NPZ keep Point-E's axes, z up; OBJ and GLB are turned to y up, as their readers expect, and back.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .colors import linear
from .errors import InvalidRequest
from .geometry import Mesh, PointCloud
from .gltf import parse_glb
from .ply import parse_ply
from .replacing import replacing
from .wavefront import parse_obj

Thing = PointCloud | Mesh


def save(path: str | Path, *, cloud: PointCloud | None = None, mesh: Mesh | None = None) -> None:
    """Write the mesh, or the cloud where there is none, in the format of the path's suffix.

    The file appears whole or not at all; one that was there before is replaced only by a whole one.

    Raises
    ------
    InvalidRequest
        The suffix is not one of .ply, .npz, .obj and .glb.
    CannotWrite
        The folder is missing or read-only, or the disk is full.
    """
    thing = mesh if mesh is not None else cloud
    if thing is None:
        raise InvalidRequest("There is neither a cloud nor a mesh to save.")
    writer(path)(path, thing)


def writer(path: str | Path) -> Callable[[str | Path, Thing], None]:
    """The function that writes files of the path's suffix; the shell asks before it computes.

    Raises
    ------
    InvalidRequest
        There is none.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        known = ", ".join(WRITERS)
        raise InvalidRequest(f"The file {Path(path).name} must end in one of {known}: give it another name.")
    return WRITERS[suffix]


def load(path: str | Path) -> Thing:
    """Read a file in one of the four formats: a mesh if it has faces, else a cloud.

    Where it has no colours it is grey, a GLB file white.

    Raises
    ------
    InvalidRequest
        The file is missing, of another kind or damaged.
    """
    path = Path(path)
    if path.suffix.lower() not in READERS:
        raise InvalidRequest(f"{path.name!r} is none of {', '.join(READERS)}: choose another file.")
    return READERS[path.suffix.lower()](path)


def write_ply(path: str | Path, thing: Thing) -> None:
    """Binary PLY, byte for byte what Point-E writes.

    Raises
    ------
    CannotWrite
    """
    points, triangles = _parts(thing)
    vertices = np.empty(len(points), dtype=[("position", "<f4", 3), ("color", "u1", 3)])
    vertices["position"] = points
    vertices["color"] = (thing.colors * 255.499).round().clip(0, 255)
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property float {axis}" for axis in "xyz"]
    header += [f"property uchar {color}" for color in ("red", "green", "blue")]
    data = vertices.tobytes()
    if triangles is not None:
        faces = np.empty(len(triangles), dtype=[("count", "u1"), ("corners", "<i4", 3)])
        faces["count"] = 3
        faces["corners"] = triangles
        header += [f"element face {len(faces)}", "property list uchar int vertex_index"]
        data += faces.tobytes()
    with replacing(path) as file:
        file.write("\n".join([*header, "end_header\n"]).encode("ascii"))
        file.write(data)


def read_ply(path: str | Path) -> Thing:
    """Any ordinary PLY, ASCII or binary; polygons become triangles.

    Raises
    ------
    InvalidRequest
        The file is missing or is not such a file.
    """
    with _reading(path):
        return _thing(*parse_ply(Path(path).read_bytes()))


def write_npz(path: str | Path, thing: Thing) -> None:
    """Point-E's layout: `coords`, `R`, `G`, `B`; for a mesh `verts`, `faces`, `v_R`, `v_G`, `v_B`.

    Raises
    ------
    CannotWrite
    """
    points, triangles = _parts(thing)
    if triangles is None:
        arrays = {"coords": points, **dict(zip("RGB", thing.colors.T, strict=True))}
    else:
        colors = zip(("v_R", "v_G", "v_B"), thing.colors.T, strict=True)
        arrays = {"verts": points, "faces": triangles, **dict(colors)}
    archive = io.BytesIO()
    np.savez(archive, **arrays)
    with replacing(path) as file:
        file.write(archive.getbuffer())


def read_npz(path: str | Path) -> Thing:
    """A cloud or mesh in Point-E's layout.

    Raises
    ------
    InvalidRequest
        The file is missing or is not such a file.
    """
    with _reading(path), np.load(path) as arrays:
        prefix = "v_" if "verts" in arrays else ""
        points = arrays["verts" if prefix else "coords"].astype(np.float32)
        channels = [arrays[prefix + name] for name in "RGB" if prefix + name in arrays]
        colors = np.stack(channels, axis=1) if channels else np.full_like(points, 0.5)
        if points.ndim != 2 or colors.shape != points.shape or points.shape[1] != 3:
            raise ValueError("shapes do not agree")
        triangles = arrays["faces"].astype(np.int32) if prefix else None
        if triangles is not None and (triangles.ndim != 2 or triangles.shape[1] != 3):
            raise ValueError("the faces are no triangles")
        if triangles is not None and ((triangles < 0) | (triangles >= len(points))).any():
            raise ValueError("a face has a corner that does not exist")
        return _thing(points, colors.astype(np.float32), triangles)


def write_obj(path: str | Path, thing: Thing) -> None:
    """Wavefront OBJ, y up, colours behind the coordinates of each vertex.

    Raises
    ------
    CannotWrite
    """
    points, triangles = _parts(thing)
    vertices = np.concatenate([_y_up(points), thing.colors], axis=1)
    with replacing(path) as file:
        file.write(_lines("v %.7g %.7g %.7g %.4f %.4f %.4f\n", vertices))
        if triangles is not None:
            file.write(_lines("f %d %d %d\n", triangles + 1))


def read_obj(path: str | Path) -> Thing:
    """Any ordinary OBJ, with the materials and textures that it names.

    Raises
    ------
    InvalidRequest
        The file is missing or is not such a file.
    """
    with _reading(path):
        return _thing(*parse_obj(Path(path).read_text(encoding="utf-8", errors="replace"), Path(path).parent))


def write_glb(path: str | Path, thing: Thing) -> None:
    """Binary glTF 2.0, y up, with linear vertex colours; a cloud becomes points.

    Raises
    ------
    CannotWrite
    """
    points, triangles = _parts(thing)
    points = _y_up(points)
    colors = linear(thing.colors)
    attributes = {"POSITION": 0, "COLOR_0": 1}
    arrays, targets = [points, colors], [34962, 34962]  # ARRAY_BUFFER
    bounds = {"min": points.min(axis=0).tolist(), "max": points.max(axis=0).tolist()}
    accessors: list[dict[str, Any]] = [_accessor(0, points, "VEC3") | bounds, _accessor(1, colors, "VEC3")]
    primitive: dict[str, Any] = {"attributes": attributes, "material": 0, "mode": 0}  # POINTS
    # Metal is glTF's default, and black without surroundings to mirror.
    material: dict[str, Any] = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}}
    if triangles is None:
        material["extensions"] = {"KHR_materials_unlit": {}}  # points have no normals to light
    else:
        corners = triangles.astype(np.uint32).reshape(-1)
        arrays.append(corners)
        targets.append(34963)  # ELEMENT_ARRAY_BUFFER
        accessors.append(_accessor(2, corners, "SCALAR"))
        primitive |= {"indices": 2, "mode": 4}  # TRIANGLES
    data = b"".join(array.tobytes() for array in arrays)
    starts = np.cumsum([0] + [array.nbytes for array in arrays]).tolist()
    scene: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "pointe_blender"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": Path(path).stem}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [material],
        "accessors": accessors,
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": array.nbytes, "target": target}
            for start, array, target in zip(starts, arrays, targets, strict=False)
        ],
        "buffers": [{"byteLength": len(data)}],
    }
    if triangles is None:
        scene["extensionsUsed"] = ["KHR_materials_unlit"]
    text = json.dumps(scene, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 4)
    with replacing(path) as file:
        file.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(data)))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text)
        file.write(struct.pack("<I4s", len(data), b"BIN\0") + data)


def read_glb(path: str | Path) -> Thing:
    """Any binary glTF 2.0 that is not compressed: all that its scene shows.

    Raises
    ------
    InvalidRequest
        The file is missing or is not such a file.
    """
    with _reading(path):
        return _thing(*parse_glb(Path(path).read_bytes()))


WRITERS = {".ply": write_ply, ".npz": write_npz, ".obj": write_obj, ".glb": write_glb}
READERS = {".ply": read_ply, ".npz": read_npz, ".obj": read_obj, ".glb": read_glb}


def _parts(thing: Thing) -> tuple[np.ndarray, np.ndarray | None]:
    """Points and, of a mesh, triangles."""
    return (thing.vertices, thing.triangles) if isinstance(thing, Mesh) else (thing.points, None)


def _thing(points: np.ndarray, colors: np.ndarray, triangles: np.ndarray | None) -> Thing:
    return PointCloud(points, colors) if triangles is None else Mesh(points, triangles, colors)


def _y_up(points: np.ndarray) -> np.ndarray:
    return (points[:, [0, 2, 1]] * (1.0, 1.0, -1.0)).astype(np.float32)


def _accessor(view: int, array: np.ndarray, kind: str) -> dict[str, Any]:
    component = 5125 if array.dtype == np.uint32 else 5126  # UNSIGNED_INT, FLOAT
    return {"bufferView": view, "componentType": component, "count": len(array), "type": kind}


def _lines(template: str, rows: np.ndarray) -> bytes:
    """One line for each row, formatted thousands at a time: several times faster than one by one."""
    parts = np.array_split(rows, len(rows) // 4096 + 1)
    return b"".join((template * len(part) % tuple(part.ravel().tolist())).encode("ascii") for part in parts)


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong with a file inside into one sentence."""
    try:
        yield
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read ({error.strerror}): choose another file.") from error
    except Exception as error:  # whatever a damaged file makes a parser do
        raise InvalidRequest(f"{path} is damaged or of another kind: choose another file.") from error
