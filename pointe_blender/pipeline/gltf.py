"""Reading binary glTF 2.0, whoever wrote it: what its scene shows, z up, as one mesh or one cloud."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .colors import linear, srgb
from .texels import texels

TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
POINTS, TRIANGLES, STRIP, FAN = 0, 4, 5, 6


class _Piece(NamedTuple):
    """A primitive where it stands in the world."""

    points: np.ndarray  # (N, 3)
    colors: np.ndarray  # (N, 3) sRGB
    triangles: np.ndarray | None  # (F, 3), of points `None`


def parse_glb(data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The contents of a GLB file.

    Colours are those of the vertices times their material's base colour, of which a texture is read at the
    vertices alone.

    Returns
    -------
    points
        (N, 3) float32, z up.
    colors
        (N, 3) float32 sRGB in [0, 1]; white if the file has none, as glTF has it.
    triangles
        (F, 3) int32; `None` if the file has none. Points and lines beside triangles are left out.

    Raises
    ------
    ValueError, KeyError, IndexError, TypeError, struct.error
        The data are not such a file, or compressed.
    """
    document = _Document(data)
    pieces = list(document.pieces())
    faced = [piece for piece in pieces if piece.triangles is not None]
    pieces = faced or pieces
    points = np.concatenate([piece.points for piece in pieces])
    colors = np.concatenate([piece.colors for piece in pieces])
    points = np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1).astype(np.float32)
    if not np.isfinite(points).all():
        raise ValueError("some points are not finite")
    if not faced:
        return points, colors, None
    starts = np.cumsum([0] + [len(piece.points) for piece in faced])
    triangles = [
        piece.triangles + start
        for piece, start in zip(faced, starts, strict=False)
        if piece.triangles is not None
    ]
    return points, colors, np.concatenate(triangles).astype(np.int32)


class _Document:
    """The JSON of a file and the bytes that it speaks of."""

    def __init__(self, data: bytes) -> None:
        magic, version, _ = struct.unpack_from("<4sII", data)
        if magic != b"glTF" or version != 2:
            raise ValueError("not binary glTF 2.0")
        chunks: dict[bytes, bytes] = {}
        start = 12
        while start + 8 <= len(data):
            length, kind = struct.unpack_from("<I4s", data, start)
            chunks.setdefault(kind, data[start + 8 : start + 8 + length])
            start += 8 + length
        self._json: dict[str, Any] = json.loads(chunks[b"JSON"])
        self._buffers = [self._buffer(each, chunks) for each in self._json.get("buffers", [])]

    def pieces(self) -> Iterator[_Piece]:
        """Every primitive of the scene that has points or triangles."""
        scenes, nodes = self._json.get("scenes"), self._json.get("nodes", [])
        if scenes:
            roots = scenes[self._json.get("scene", 0)].get("nodes", [])
        else:  # which glTF allows: everything that is nobody's child
            children = {child for node in nodes for child in node.get("children", [])}
            roots = [i for i in range(len(nodes)) if i not in children]
        waiting, seen = [(root, np.eye(4)) for root in roots], 0
        while waiting:
            (index, parent), seen = waiting.pop(), seen + 1
            if seen > len(nodes):
                raise ValueError("a node has two parents, or is below itself")
            node = nodes[index]
            world = parent @ _matrix(node)
            waiting += [(child, world) for child in node.get("children", [])]
            for primitive in self._json["meshes"][node["mesh"]]["primitives"] if "mesh" in node else ():
                if primitive.get("mode", TRIANGLES) in (POINTS, TRIANGLES, STRIP, FAN):
                    yield self._piece(primitive, world)

    def _piece(self, primitive: dict[str, Any], world: np.ndarray) -> _Piece:
        attributes = primitive["attributes"]
        points = self._values(attributes["POSITION"])
        mode, triangles = primitive.get("mode", TRIANGLES), None
        if mode != POINTS:
            corners = np.arange(len(points))
            if "indices" in primitive:
                corners = self._values(primitive["indices"])[:, 0].astype(np.int64)
            triangles = _triangles(corners, mode)
            if triangles.max(initial=0) >= len(points):
                raise ValueError("a triangle has a corner that does not exist")
            if np.linalg.det(world[:3, :3]) < 0:
                triangles = triangles[:, ::-1]  # a mirror turns what was outside in
        placed = points @ world[:3, :3].T + world[:3, 3]
        return _Piece(placed, self._colors(primitive, len(points)), triangles)

    def _colors(self, primitive: dict[str, Any], count: int) -> np.ndarray:
        attributes = primitive["attributes"]
        light = np.ones((count, 3))
        if "COLOR_0" in attributes:
            light *= self._values(attributes["COLOR_0"])[:, :3]
        if "material" in primitive:
            surface = self._json["materials"][primitive["material"]].get("pbrMetallicRoughness", {})
            light *= surface.get("baseColorFactor", (1, 1, 1))[:3]
            image = surface.get("baseColorTexture")
            if image is not None and (key := f"TEXCOORD_{image.get('texCoord', 0)}") in attributes:
                source = self._json["textures"][image["index"]]["source"]
                light *= linear(texels(self._image(source), self._values(attributes[key])))
        return srgb(light)

    def _image(self, index: int) -> bytes:
        image: dict[str, Any] = self._json["images"][index]
        return self._view(image["bufferView"]) if "bufferView" in image else _inline(image["uri"])

    def _buffer(self, buffer: dict[str, Any], chunks: dict[bytes, bytes]) -> bytes:
        return _inline(buffer["uri"]) if "uri" in buffer else chunks[b"BIN\0"]

    def _view(self, index: int) -> bytes:
        view: dict[str, Any] = self._json["bufferViews"][index]
        start: int = view.get("byteOffset", 0)
        data: bytes = self._buffers[view["buffer"]]
        return data[start : start + view["byteLength"]]

    def _values(self, index: int) -> np.ndarray:
        """(N, width) of an accessor; integers that stand for fractions as these."""
        accessor = self._json["accessors"][index]
        if "sparse" in accessor:
            raise ValueError("sparse accessors are not read")
        kind, width = np.dtype(TYPES[accessor["componentType"]]), WIDTHS[accessor["type"]]
        view = self._json["bufferViews"][accessor["bufferView"]]
        step = view.get("byteStride") or kind.itemsize * width
        rows: np.ndarray = np.ndarray(
            (accessor["count"], width),
            kind,
            self._view(accessor["bufferView"]),
            accessor.get("byteOffset", 0),
            (step, kind.itemsize),
        )
        if not accessor.get("normalized"):
            return rows
        return np.maximum(rows / np.iinfo(kind).max, -1.0)


def _inline(uri: str) -> bytes:
    """What a data URI holds; GLB files need no others."""
    head, _, body = uri.partition(",")
    if not head.startswith("data:"):
        raise ValueError("a part of the file is somewhere else")
    return base64.b64decode(body)


def _matrix(node: dict[str, Any]) -> np.ndarray:
    """From a node's own space to its parent's, (4, 4)."""
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix[:3, :3] = turn * node.get("scale", (1.0, 1.0, 1.0))
    matrix[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return matrix


def _triangles(corners: np.ndarray, mode: int) -> np.ndarray:
    """(F, 3) of a list of corners."""
    if mode == TRIANGLES:
        return corners[: len(corners) // 3 * 3].reshape(-1, 3)
    if mode == FAN:
        return np.stack([np.full(len(corners) - 2, corners[0]), corners[1:-1], corners[2:]], axis=1)
    strip: np.ndarray = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
    strip[1::2] = strip[1::2, [1, 0, 2]]  # every other one is wound the other way
    return strip
