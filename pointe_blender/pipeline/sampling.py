"""Points on the surface of a triangle mesh, as many on each part as its area asks for."""

from __future__ import annotations

import numpy as np

from .errors import InvalidRequest


def sample_surface(
    vertices: np.ndarray, triangles: np.ndarray, count: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw points evenly from a surface.

    Parameters
    ----------
    vertices
        (V, 3) float, finite, in any unit.
    triangles
        (F, 3) int; those without area get no points.
    count
        How many points.
    generator
        Equal generators draw equal points.

    Returns
    -------
    points
        (count, 3) float32.
    triangle
        (count,) int64, rising: the triangle that each point lies on. Of n points a triangle with the share s
        of the area has s · n, rounded up or down.
    barycentric
        (count, 3) float64: the weights of its corners, evenly distributed over it.

    Raises
    ------
    InvalidRequest
        There is no area.
    """
    corners = vertices[triangles].astype(np.float64)  # (F, 3, 3)
    a, b, c = corners.transpose(1, 0, 2)
    reach = np.cumsum(np.linalg.norm(np.cross(b - a, c - a), axis=1))
    if not len(reach) or not reach[-1] > 0.0:
        raise InvalidRequest("The faces have no area: choose an object with a surface.")
    # Equal steps over the summed areas spread the points better than as many independent draws.
    steps = (np.arange(count) + generator.random()) / count * reach[-1]
    triangle = np.searchsorted(reach, np.minimum(steps, np.nextafter(reach[-1], 0.0)), side="right")
    root, along = np.sqrt(generator.random(count)), generator.random(count)
    barycentric = np.column_stack((1.0 - root, root * (1.0 - along), root * along))
    points = np.einsum("nk,nkd->nd", barycentric, corners[triangle])
    return points.astype(np.float32), triangle, barycentric
