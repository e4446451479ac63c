"""Blender's own trees of triangles find the same self-intersections."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from pointe_blender.pipeline.geometry import Mesh
from pointe_blender.pipeline.metrics.surfaces import describe


def overlapping(vertices: np.ndarray, triangles: np.ndarray) -> int:
    """How many triangles Blender finds to overlap one with which they share no vertex."""
    from mathutils.bvhtree import BVHTree  # which is there once bpy is

    tree = BVHTree.FromPolygons(vertices.tolist(), triangles.tolist(), all_triangles=True)
    pairs = [(i, j) for i, j in tree.overlap(tree) if not {*triangles[i]} & {*triangles[j]}]
    return len({i for pair in pairs for i in pair})


def monkeys(apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Two of Blender's, each of which goes through itself."""
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.mesh.primitive_monkey_add()
    mesh = bpy.context.object.data
    mesh.calc_loop_triangles()
    vertices = np.array([vertex.co for vertex in mesh.vertices], dtype=np.float32)
    triangles = np.array([triangle.vertices for triangle in mesh.loop_triangles], dtype=np.int32)
    moved = vertices + np.float32((apart, 0.31, 0.17))
    return np.concatenate([vertices, moved]), np.concatenate([triangles, triangles + len(vertices)])


@pytest.mark.parametrize("apart", [0.4, 1.3, 9.0])
def test_monkeys_cut_each_other_where_blender_says(apart: float) -> None:
    vertices, triangles = monkeys(apart)
    found = describe(Mesh(vertices, triangles, vertices))
    assert found.self_intersections == overlapping(vertices, triangles)
    assert not found.closed and found.components == 2


@pytest.mark.parametrize("seed", range(3))
def test_a_soup_of_triangles_meets_where_blender_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(-1, 1, (400, 1, 3)) + random.uniform(-0.3, 0.3, (400, 3, 3))
    vertices = corners.reshape(-1, 3).astype(np.float32)
    triangles = np.arange(1200, dtype=np.int32).reshape(-1, 3)
    expected = overlapping(vertices, triangles)
    assert describe(Mesh(vertices, triangles, vertices)).self_intersections == expected > 100
