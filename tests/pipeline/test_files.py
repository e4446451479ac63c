"""Clouds and meshes survive their files, other programs can read them, and no half file is left."""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from pointe_blender.pipeline import files
from pointe_blender.pipeline.errors import CannotWrite, InvalidRequest
from pointe_blender.pipeline.geometry import Mesh, PointCloud

PARITY = Path(os.environ.get("POINTE_PARITY", Path(__file__).parents[3] / "shared" / "parity"))
recorded = pytest.mark.skipif(not (PARITY / "mesh.npz").is_file(), reason="the recorded answers are not here")


@pytest.fixture
def cloud() -> PointCloud:
    random = np.random.default_rng(0)
    points, colors = random.uniform(-0.5, 0.5, (100, 3)), random.integers(0, 256, (100, 3)) / 255
    return PointCloud(points.astype(np.float32), colors.astype(np.float32))


@pytest.fixture
def mesh() -> Mesh:
    """A tetrahedron."""
    vertices = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.4, 0], [0, 0, 0.3]], dtype=np.float32)
    triangles = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32)
    return Mesh(vertices, triangles, np.eye(4, 3, dtype=np.float32))


@pytest.mark.parametrize("suffix", ["ply", "npz"])
def test_clouds_and_meshes_come_back(tmp_path, cloud, mesh, suffix):
    files.save(tmp_path / f"cloud.{suffix}", cloud=cloud)
    files.save(tmp_path / f"mesh.{suffix}", mesh=mesh)
    same = files.load(tmp_path / f"cloud.{suffix}")
    assert isinstance(same, PointCloud)
    np.testing.assert_array_equal(same.points, cloud.points)
    np.testing.assert_allclose(same.colors, cloud.colors, atol=1e-6)
    again = files.load(tmp_path / f"mesh.{suffix}")
    assert isinstance(again, Mesh)
    np.testing.assert_array_equal(again.vertices, mesh.vertices)
    np.testing.assert_array_equal(again.triangles, mesh.triangles)
    np.testing.assert_allclose(again.colors, mesh.colors, atol=1e-6)


@recorded
def test_ply_is_what_the_released_program_writes(tmp_path):
    with np.load(PARITY / "mesh.npz") as answers, np.load(PARITY.parent / "data" / "pc_corgi.npz") as stored:
        cloud = PointCloud(stored["coords"], np.stack([stored[name] for name in "RGB"], axis=1))
        mesh = Mesh(answers["verts"], answers["faces"].astype(np.int32), cloud.colors[answers["nearest"]])
        files.write_ply(tmp_path / "cloud.ply", cloud)
        files.write_ply(tmp_path / "mesh.ply", mesh)
        assert (tmp_path / "cloud.ply").read_bytes() == answers["ply_cloud"].tobytes()
        assert (tmp_path / "mesh.ply").read_bytes() == answers["ply_mesh"].tobytes()


def test_npz_has_the_released_layout(tmp_path, cloud):
    files.save(tmp_path / "cloud.npz", cloud=cloud)
    with np.load(tmp_path / "cloud.npz") as arrays:
        assert set(arrays) == {"coords", "R", "G", "B"}
        np.testing.assert_array_equal(arrays["coords"], cloud.points)
        np.testing.assert_array_equal(arrays["G"], cloud.colors[:, 1])


PLY_ASCII = """ply
format ascii 1.0
comment made by hand
element vertex 5
property double x
property double y
property double z
property float nx
property uchar red
property uchar green
property uchar blue
property uchar alpha
element face 2
property list uchar uint vertex_indices
element edge 1
property int vertex1
property int vertex2
end_header
0 0 0 1 255 0 0 255
1 0 0 1 255 0 0 255
1 1 0 1 0 255 0 255
0 1 0 1 0 0 51 255
0 0 1 1 0 0 0 255
4 0 1 2 3
3 0 1 4
0 1
"""


def test_ply_of_other_programs(tmp_path):
    path = tmp_path / "it.ply"
    path.write_text(PLY_ASCII)
    mesh = files.read_ply(path)
    assert isinstance(mesh, Mesh)
    np.testing.assert_array_equal(mesh.triangles, [[0, 1, 2], [0, 2, 3], [0, 1, 4]])
    np.testing.assert_allclose(mesh.colors[3], [0, 0, 0.2], atol=1e-7)

    header = "ply\r\nformat binary_big_endian 1.0\r\nelement vertex 2\r\n"
    header += "".join(f"property float {axis}\r\n" for axis in "xyz")
    header += "".join(f"property ushort {name}\r\n" for name in ("red", "green", "blue")) + "end_header\r\n"
    path.write_bytes(header.encode() + struct.pack(">3f3H3f3H", 1, 2, 3, 65535, 0, 0, 4, 5, 6, 0, 0, 65535))
    cloud = files.read_ply(path)
    assert isinstance(cloud, PointCloud)
    np.testing.assert_array_equal(cloud.points, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(cloud.colors, [[1, 0, 0], [0, 0, 1]])


def test_ply_without_colours_is_grey(tmp_path):
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    header = f"ply\nformat ascii 1.0\nelement vertex 1\n{properties}end_header\n"
    (tmp_path / "it.ply").write_text(header + "1 2 3\n")
    np.testing.assert_array_equal(files.read_ply(tmp_path / "it.ply").colors, [[0.5, 0.5, 0.5]])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"ply\n",
        b"solid of another kind\nend_header\n",
        PLY_ASCII.replace("5\n", "9999999\n", 1).encode(),
        PLY_ASCII.replace("4 0 1 2 3", "4 0 1 2 7").encode(),
        PLY_ASCII.replace("1 1 0 1", "1 nan 0 1").encode(),
        PLY_ASCII.replace("ascii", "binary_little_endian").encode(),
        PLY_ASCII.replace("property double z\n", "").encode(),
    ],
)
def test_a_damaged_ply_is_refused(tmp_path, content):
    (tmp_path / "it.ply").write_bytes(content)
    with pytest.raises(InvalidRequest, match=r"it\.ply is damaged"):
        files.load(tmp_path / "it.ply")


def test_files_that_cannot_be_read(tmp_path, cloud):
    with pytest.raises(InvalidRequest, match="cannot be read"):
        files.load(tmp_path / "none.ply")
    with pytest.raises(InvalidRequest, match=r"none of \.ply, \.npz, \.obj, \.glb"):
        files.load(tmp_path / "it.stl")
    files.save(tmp_path / "it.npz", cloud=cloud)
    (tmp_path / "it.npz").write_bytes((tmp_path / "it.npz").read_bytes()[:500])
    with pytest.raises(InvalidRequest, match="damaged"):
        files.load(tmp_path / "it.npz")


@pytest.mark.parametrize("triangles", [[[0, 1, 4]], [[0, 1, -1]], [[0, 1, 2, 3]], [0, 1, 2]])
def test_an_npz_whose_faces_are_no_triangles_of_its_vertices_is_refused(tmp_path, triangles):
    np.savez(tmp_path / "it.npz", verts=np.eye(4, 3), faces=np.array(triangles))
    with pytest.raises(InvalidRequest, match="damaged"):
        files.load(tmp_path / "it.npz")


def test_obj_has_colours_behind_the_coordinates_and_y_up(tmp_path, mesh, cloud):
    files.save(tmp_path / "it.obj", mesh=mesh)
    lines = [line.split() for line in (tmp_path / "it.obj").read_text().splitlines()]
    assert [line[0] for line in lines] == ["v"] * 4 + ["f"] * 4
    x, y, z = mesh.vertices.T
    expected = np.column_stack([x, z, -y, mesh.colors])
    np.testing.assert_allclose(np.array([line[1:] for line in lines[:4]], dtype=float), expected, atol=1e-7)
    assert [[int(i) - 1 for i in line[1:]] for line in lines[4:]] == mesh.triangles.tolist()
    files.save(tmp_path / "it.obj", cloud=cloud)
    lines = [line.split() for line in (tmp_path / "it.obj").read_text().splitlines()]
    assert len(lines) == len(cloud)
    assert all(line[0] == "v" and len(line) == 7 for line in lines)


def glb_arrays(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """The scene of a GLB file and its accessors by what they are, with the container checked on the way."""
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    json_length, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and json_length % 4 == 0
    scene = json.loads(data[20 : 20 + json_length])
    bin_length, kind = struct.unpack_from("<I4s", data, 20 + json_length)
    assert kind == b"BIN\0" and bin_length % 4 == 0
    binary = data[28 + json_length :]
    assert len(binary) == bin_length == scene["buffers"][0]["byteLength"]

    (node,) = scene["scenes"][scene["scene"]]["nodes"]
    (primitive,) = scene["meshes"][scene["nodes"][node]["mesh"]]["primitives"]
    named = primitive["attributes"] | ({"indices": primitive["indices"]} if "indices" in primitive else {})
    arrays = {}
    for name, index in named.items():
        accessor = scene["accessors"][index]
        view = scene["bufferViews"][accessor["bufferView"]]
        dtype = {5125: "<u4", 5126: "<f4"}[accessor["componentType"]]
        width = {"SCALAR": 1, "VEC3": 3}[accessor["type"]]
        assert view["byteLength"] == accessor["count"] * width * 4
        values = np.frombuffer(binary, dtype, accessor["count"] * width, view["byteOffset"])
        arrays[name] = values.reshape(-1, width)
        if "min" in accessor:
            assert accessor["min"] == arrays[name].min(axis=0).tolist()
            assert accessor["max"] == arrays[name].max(axis=0).tolist()
    return scene, arrays


def test_glb_of_a_mesh(tmp_path, mesh):
    files.save(tmp_path / "Möbel.glb", mesh=mesh)
    scene, arrays = glb_arrays(tmp_path / "Möbel.glb")
    assert scene["meshes"][0]["primitives"][0]["mode"] == 4
    assert scene["nodes"][0]["name"] == "Möbel"
    x, y, z = mesh.vertices.T
    np.testing.assert_array_equal(arrays["POSITION"], np.stack([x, z, -y], axis=1))
    np.testing.assert_array_equal(arrays["indices"].reshape(-1, 3), mesh.triangles)
    assert {"min", "max"} <= scene["accessors"][0].keys()


def test_glb_of_a_cloud_has_linear_colours(tmp_path, cloud):
    files.save(tmp_path / "it.glb", cloud=PointCloud(cloud.points, np.full_like(cloud.colors, 0.5)))
    scene, arrays = glb_arrays(tmp_path / "it.glb")
    assert scene["meshes"][0]["primitives"][0]["mode"] == 0
    assert len(arrays["POSITION"]) == len(cloud)
    np.testing.assert_allclose(arrays["COLOR_0"], 0.21404114, atol=1e-6)


def test_the_suffix_chooses_and_an_unknown_one_is_named(tmp_path, cloud, mesh):
    files.save(tmp_path / "IT.PLY", cloud=cloud, mesh=mesh)
    assert isinstance(files.load(tmp_path / "IT.PLY"), Mesh)
    for name in ("it.stl", "it"):
        with pytest.raises(InvalidRequest, match=r"\.ply, \.npz, \.obj, \.glb"):
            files.save(tmp_path / name, mesh=mesh)
    assert os.listdir(tmp_path) == ["IT.PLY"]


@pytest.mark.parametrize("suffix", ["ply", "npz", "obj", "glb"])
def test_a_missing_folder(tmp_path, mesh, suffix):
    with pytest.raises(CannotWrite, match="no folder"):
        files.save(tmp_path / "none" / f"it.{suffix}", mesh=mesh)
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match="no folder"):
        files.save(tmp_path / "file" / f"it.{suffix}", mesh=mesh)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder(tmp_path, mesh):
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWrite, match="Nothing may be written"):
        files.save(tmp_path / "it.ply", mesh=mesh)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
@pytest.mark.parametrize("suffix", ["ply", "npz", "obj", "glb"])
def test_a_full_disk_leaves_the_old_file_alone(tmp_path, mesh, suffix):
    path = tmp_path / f"it.{suffix}"
    path.write_bytes(b"before")
    # Every byte that is written to the file in the making meets a full device.
    path.with_name(f".{path.name}.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(CannotWrite, match="disk is full"):
        files.save(path, mesh=mesh)
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == [path.name]


def test_a_folder_in_the_way(tmp_path, mesh):
    (tmp_path / "it.ply").mkdir()
    with pytest.raises(CannotWrite, match="cannot be written"):
        files.save(tmp_path / "it.ply", mesh=mesh)
    assert os.listdir(tmp_path) == ["it.ply"]


def test_a_million_points(tmp_path):
    """Whole arrays at once: anything done point by point would take minutes."""
    values = np.random.default_rng(0).random((1_000_000, 3), dtype=np.float32)
    for suffix in ("ply", "npz", "glb"):
        files.save(tmp_path / f"it.{suffix}", cloud=PointCloud(values, values))
    same = files.load(tmp_path / "it.ply")
    assert isinstance(same, PointCloud)
    np.testing.assert_array_equal(same.points, values)
