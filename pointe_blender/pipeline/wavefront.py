"""Reading Wavefront OBJ, whoever wrote it: vertices, faces and colours, turned from y up to z up."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .texels import texels

GREY = 0.5
Color = tuple[float, float, float]


def parse_obj(text: str, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The contents of an OBJ file.

    Parameters
    ----------
    text
        Of the file.
    folder
        Where it lies; materials and their textures are looked for from there.

    Returns
    -------
    points
        (N, 3) float32, z up.
    colors
        (N, 3) float32 in [0, 1]: those behind the vertices, else of the materials, a texture being read at
        the vertices alone; grey where there are none.
    triangles
        (F, 3) int32, polygons split into fans; `None` if the file has no faces.

    Raises
    ------
    ValueError, IndexError
        The text is no such file.
    """
    vertices: list[list[float]] = []
    places: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    surfaces: dict[str, _Surface] = {}
    worn: dict[int, tuple[str, int | None]] = {}  # by vertex: its material and its texture coordinates
    material = ""
    for line in text.replace("\\\n", " ").splitlines():
        match line.split():
            case ["v", *numbers]:
                vertices.append([float(number) for number in numbers])
            case ["vt", u, v, *_]:
                places.append([float(u), float(v)])
            case ["f", *corners]:
                face = [corner.split("/") for corner in corners]
                own = [_index(corner[0], len(vertices)) for corner in face]
                triangles += [(own[0], own[i], own[i + 1]) for i in range(1, len(own) - 1)]
                for vertex, corner in zip(own, face, strict=True):
                    textured = len(corner) > 1 and corner[1] != ""
                    worn[vertex] = (material, _index(corner[1], len(places)) if textured else None)
            case ["mtllib", _, *_]:
                surfaces |= _materials(folder / line.split(maxsplit=1)[1].strip())
            case ["usemtl", _, *_]:
                material = line.split(maxsplit=1)[1].strip()
    if not vertices or any(len(vertex) < 3 for vertex in vertices):
        raise ValueError("there are no vertices, or some have no three coordinates")
    points = np.array([vertex[:3] for vertex in vertices], np.float32)
    if not np.isfinite(points).all():
        raise ValueError("some points are not finite")
    if all(len(vertex) >= 6 for vertex in vertices):
        colors = np.array([vertex[-3:] for vertex in vertices], np.float32).clip(0, 1)
    else:
        colors = _worn(worn, surfaces, np.array(places or [[0.0, 0.0]]), len(points))
    points = points[:, [0, 2, 1]] * np.array((1, -1, 1), np.float32)
    return points, colors, np.array(triangles, np.int32) if triangles else None


class _Surface:
    """What a material says of colours."""

    def __init__(self) -> None:
        self.color: Color = (GREY, GREY, GREY)
        self.texture: Path | None = None


def _materials(path: Path) -> dict[str, _Surface]:
    """The materials of a file; none if it is missing, as it often is."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, _Surface] = {}
    surface = _Surface()
    for line in lines:
        match line.split():
            case ["newmtl", _, *_]:
                surface = found[line.split(maxsplit=1)[1].strip()] = _Surface()
            case ["Kd", r, g, b]:
                surface.color = (float(r), float(g), float(b))
            case ["map_Kd", first, *_] as words:
                # A name may have blanks; how many words options take before it, nobody says.
                name = words[-1] if first.startswith("-") else line.split(maxsplit=1)[1].strip()
                surface.texture = path.parent / name.replace("\\", "/")
    return found


def _worn(
    worn: dict[int, tuple[str, int | None]], surfaces: dict[str, _Surface], places: np.ndarray, count: int
) -> np.ndarray:
    """(count, 3) colours of the vertices by what their faces wear."""
    colors = np.full((count, 3), GREY, np.float32)
    for name, surface in surfaces.items():
        own = [vertex for vertex, (material, _) in worn.items() if material == name]
        colors[own] = np.clip(surface.color, 0, 1)
        if surface.texture is None or not surface.texture.is_file():
            continue
        mapped = {vertex: place for vertex in own if (place := worn[vertex][1]) is not None}
        uv = places[list(mapped.values())] * (1, -1) + (0, 1)  # from the lower left corner up
        if mapped:
            colors[list(mapped)] = texels(surface.texture.read_bytes(), uv)
    return colors


def _index(text: str, count: int) -> int:
    """From 0, of a number from 1 or, negative, from the end."""
    index = int(text) - 1 if int(text) > 0 else count + int(text)
    if not 0 <= index < count:
        raise IndexError("a face has a corner that does not exist")
    return index
