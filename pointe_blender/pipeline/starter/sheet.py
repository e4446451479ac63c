"""A contact sheet: each prompt with its cloud and its mesh, drawn as shaded discs from far to near."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import Mesh, Result

SIDE = 150  # pixels of one picture
TURN, TILT = np.radians(35.0), np.radians(22.0)


def contact_sheet(made: Sequence[tuple[str, Result]], columns: int, path: Path) -> None:
    """Write a PNG with `columns` prompts in a row, clouds above meshes."""
    from PIL import Image, ImageDraw

    rows = -(-len(made) // columns)
    sheet = Image.new("RGB", (columns * 2 * SIDE, rows * (SIDE + 18)), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (prompt, result) in enumerate(made):
        left, top = i % columns * 2 * SIDE, i // columns * (SIDE + 18)
        cloud = result.clouds[0]
        sheet.paste(Image.fromarray(_drawn(cloud.points, cloud.colors, 2)), (left, top))
        for mesh in result.meshes:
            shaded, points = _shaded(mesh)
            sheet.paste(Image.fromarray(_drawn(points, shaded, 2)), (left + SIDE, top))
        pen.text((left + 8, top + SIDE + 2), prompt[:44], fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(128).save(path, optimize=True)  # a fifth of the size, and no eye tells


def _view(points: np.ndarray) -> np.ndarray:
    """(N, 3) right, up and towards the eye, which looks from the front right and above."""
    right = np.array([np.cos(TURN), np.sin(TURN), 0])
    eye = np.array([np.sin(TURN) * np.cos(TILT), -np.cos(TURN) * np.cos(TILT), np.sin(TILT)])
    seen: np.ndarray = points @ np.stack((right, np.cross(eye, right), eye), axis=1)
    return seen


def _shaded(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Colours under a light, and places, of many points on each triangle."""
    corners = mesh.vertices[mesh.triangles]  # (F, 3, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    light = np.array([0.35, 0.55, 0.76])
    brightness = 0.45 + 0.55 * np.clip(_view(normals) @ light, 0, 1)
    weights = np.array([[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4]]) / np.array([[3], [6], [6], [6]])
    points = np.einsum("wc,fcx->fwx", weights, corners).reshape(-1, 3)
    colors = np.einsum("wc,fcx->fwx", weights, mesh.colors[mesh.triangles]) * brightness[:, None, None]
    return colors.reshape(-1, 3), points


def _drawn(points: np.ndarray, colors: np.ndarray, size: int) -> np.ndarray:
    """(SIDE, SIDE, 3) uint8 picture of squares of `size` pixels, the nearest on top."""
    x, y, depth = _view(points).T
    order = np.argsort(depth)
    column = ((x[order] / 1.5 + 0.5) * SIDE).astype(int)
    row = ((0.5 - y[order] / 1.5) * SIDE).astype(int)
    picture = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    ink = (np.clip(colors[order], 0, 1) * 255).astype(np.uint8)
    for dy in range(size):
        for dx in range(size):
            inside = (row + dy >= 0) & (row + dy < SIDE) & (column + dx >= 0) & (column + dx < SIDE)
            picture[row[inside] + dy, column[inside] + dx] = ink[inside]
    return picture
