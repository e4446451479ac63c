"""Reading PLY files, whoever wrote them: Turk's format 1.0, ASCII or binary."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
ORDERS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}
COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
GREY = 0.5


class _Property(NamedTuple):
    name: str
    type: str  # as numpy spells it
    length: str | None  # of a list, the type of its length


class _Element(NamedTuple):
    name: str
    rows: int
    properties: list[_Property]


def parse_ply(data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The contents of a PLY file.

    Returns
    -------
    points
        (N, 3) float32.
    colors
        (N, 3) float32 in [0, 1]; grey if the file has none.
    triangles
        (F, 3) int32, polygons split into fans; `None` if the file has no faces.

    Raises
    ------
    ValueError, KeyError, IndexError
        The data are not such a file.
    """
    head, _, body = data.partition(b"end_header")
    body = body[body.index(b"\n") + 1 :]
    form, elements = _header(head.decode("ascii"))
    if form == "ascii":
        # From here on the numbers are binary, all of one type.
        body = np.array(body.split(), dtype="<f8").tobytes()
    start, columns = 0, {}
    for element in elements:
        stored = _as_doubles(element) if form == "ascii" else element
        columns[element.name], start = _rows(stored, body, start)

    vertex = columns["vertex"]
    points = np.stack([vertex[axis] for axis in "xyz"], axis=1).astype(np.float32)
    colors = np.full_like(points, GREY)
    types = {
        p.name: np.dtype(p.type)
        for element in elements
        if element.name == "vertex"
        for p in element.properties
    }
    for names in COLORS:
        if types.keys() >= set(names):
            scale = np.iinfo(types[names[0]]).max if types[names[0]].kind in "iu" else 1.0
            colors = np.stack([vertex[name] / scale for name in names], axis=1).clip(0, 1).astype(np.float32)
    if not len(points) or not np.isfinite(points).all():
        raise ValueError("there are no points, or some are not finite")
    if not columns.get("face"):
        return points, colors, None
    triangles = _fans(next(v for name, v in columns["face"].items() if name.startswith("vertex_ind")))
    if triangles.min(initial=0) < 0 or triangles.max(initial=0) >= len(points):
        raise ValueError("a face has a corner that does not exist")
    return points, colors, triangles


def _header(text: str) -> tuple[str, list[_Element]]:
    """The format and the elements in order."""
    lines = [line.split() for line in text.splitlines()]
    if lines[0] != ["ply"]:
        raise ValueError("not a PLY file")
    form, elements = "", list[_Element]()
    for words in lines[1:]:
        match words:
            case ["format", name, "1.0"]:
                form = name
            case ["element", name, count]:
                elements.append(_Element(name, int(count), []))
            case ["property", "list", length, kind, name]:
                kinds = ORDERS[form] + TYPES[kind], ORDERS[form] + TYPES[length]
                elements[-1].properties.append(_Property(name, *kinds))
            case ["property", kind, name]:
                elements[-1].properties.append(_Property(name, ORDERS[form] + TYPES[kind], None))
    return form, elements


def _as_doubles(element: _Element) -> _Element:
    doubles = [_Property(p.name, "<f8", p.length and "<f8") for p in element.properties]
    return element._replace(properties=doubles)


def _rows(element: _Element, body: bytes, start: int) -> tuple[dict[str, Any], int]:
    """Each property's values, one a row, and where the next element starts."""
    if not element.rows:
        return {}, start
    row = _row_type(element, body, start)
    lists = [p.name for p in element.properties if p.length]
    if start + row.itemsize * element.rows <= len(body) or not lists:
        table = np.frombuffer(body, row, element.rows, start)
        if all((table[name]["length"] == table[name]["length"][0]).all() for name in lists):
            return {p.name: _values(table, p) for p in element.properties}, start + table.nbytes
    rows = []
    for _ in range(element.rows):
        row = _row_type(element, body, start)
        rows.append(np.frombuffer(body, row, 1, start)[0])
        start += row.itemsize
    return {p.name: [_values(row, p) for row in rows] for p in element.properties}, start


def _row_type(element: _Element, body: bytes, start: int) -> np.dtype[Any]:
    """The type of the row that starts there, its lists as long as they are in it."""
    fields: list[tuple[str, Any]] = []
    for p in element.properties:
        kind = np.dtype(p.type)
        if p.length:
            length = int(np.frombuffer(body, p.length, 1, start)[0])
            kind = np.dtype([("length", p.length), ("values", p.type, (length,))])
        fields.append((p.name, kind))
        start += kind.itemsize
    return np.dtype(fields)


def _values(rows: Any, p: _Property) -> Any:
    return rows[p.name]["values"] if p.length else rows[p.name]


def _fans(polygons: Any) -> np.ndarray:
    """Triangles (F, 3) int32 of polygons, given as (P, K) corners or as P lists of corners."""
    groups = [polygons] if isinstance(polygons, np.ndarray) else [corners[None] for corners in polygons]
    fans = [
        np.stack([corners[:, 0], corners[:, i], corners[:, i + 1]], axis=1)
        for corners in groups
        for i in range(1, corners.shape[1] - 1)
    ]
    return np.concatenate(fans).astype(np.int32) if fans else np.empty((0, 3), dtype=np.int32)
