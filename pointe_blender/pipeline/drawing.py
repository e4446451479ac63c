"""A picture of a cloud without any renderer: discs with a depth buffer, shaded by their neighbours.

For previews where there is no Blender, and for CLIP to look at. The camera and the light are those of the
pictures that the starter models were trained with.
"""

from __future__ import annotations

import math

import numpy as np

from .geometry import PointCloud

DISTANCE = 2.2  # of the camera from the origin
LENS = 0.33  # tangent of half the field of view: the whole cube fits
FRONT_RIGHT, ABOVE = math.radians(35.0), math.radians(22.0)
AMBIENT = 0.45


def picture_of(
    cloud: PointCloud, size: int = 256, azimuth: float = FRONT_RIGHT, elevation: float = ABOVE
) -> np.ndarray:
    """Draw a cloud on white.

    Parameters
    ----------
    size
        Pixels along each side.
    azimuth, elevation
        Of the camera, radians; azimuth 0 looks at the front, which faces -y.

    Returns
    -------
    (size, size, 3) uint8 sRGB.
    """
    right, up, eye = _axes(azimuth, elevation)
    seen = cloud.points @ np.stack((right, up, eye), axis=1)  # (N, 3): right, up, towards the eye
    away = DISTANCE - seen[:, 2]
    scale = size / (2 * LENS * away)  # pixels per unit
    order = np.argsort(-away)  # of several points in one pixel the last one counts, so the nearest
    column = (size / 2 + seen[:, 0] * scale)[order].astype(int)
    row = (size / 2 - seen[:, 1] * scale)[order].astype(int)
    depth, index = np.full((size, size), np.inf), np.full((size, size), -1)
    # As in the viewport: discs of points spread over the surface then touch.
    radius = 0.9 / math.sqrt(len(cloud)) * size / (2 * LENS * DISTANCE)
    reach = math.ceil(radius)
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            if x * x + y * y > max(radius, 0.5) ** 2:
                continue
            at = (np.clip(row + y, 0, size - 1), np.clip(column + x, 0, size - 1))
            nearer = away[order] < depth[at]
            at = (at[0][nearer], at[1][nearer])
            depth[at], index[at] = away[order][nearer], order[nearer]
    hit = index >= 0
    light = eye + 0.4 * right + 0.7 * up
    shade = _shade(np.where(hit[..., None], cloud.points[index], 0.0), hit, eye, light)
    picture = np.where(hit[..., None], cloud.colors[index] * shade[..., None], 1.0)
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)


def _axes(azimuth: float, elevation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right, up and towards the eye."""
    right = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    level = math.cos(elevation)
    eye = np.array([math.sin(azimuth) * level, -math.cos(azimuth) * level, math.sin(elevation)])
    return right, np.cross(eye, right), eye


def _shade(places: np.ndarray, hit: np.ndarray, eye: np.ndarray, light: np.ndarray) -> np.ndarray:
    """(S, S) brightness in [AMBIENT, 1] of the surface through the (S, S, 3) points that pixels show."""
    window = max(1, len(hit) // 40)
    weight = _blurred(hit.astype(np.float64), window)
    smooth = _blurred(places, window) / np.maximum(weight, 1e-9)[..., None]
    down, across = np.gradient(smooth, axis=(0, 1))
    normal = np.cross(down, across)
    normal *= np.sign(normal @ eye)[..., None]
    length = np.linalg.norm(normal, axis=-1)
    facing = (normal @ light) / (np.maximum(length, 1e-12) * np.linalg.norm(light))
    shade: np.ndarray = AMBIENT + (1 - AMBIENT) * np.clip(facing, 0, 1)
    return shade


def _blurred(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over squares of 2 × window + 1 pixels, zero outside, by sums of sums."""
    for axis in (0, 1):
        pad = [(window + 1, window) if a == axis else (0, 0) for a in range(values.ndim)]
        sums = np.cumsum(np.pad(values, pad), axis=axis)
        ends = np.take(sums, range(2 * window + 1, sums.shape[axis]), axis=axis)
        starts = np.take(sums, range(sums.shape[axis] - 2 * window - 1), axis=axis)
        values = (ends - starts) / (2 * window + 1)
    return values
