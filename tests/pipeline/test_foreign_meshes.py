"""OBJ and GLB files as other programs write them; those of our own come back as they were."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pointe_blender.pipeline import Mesh, PointCloud, files
from pointe_blender.pipeline.gltf import parse_glb
from pointe_blender.pipeline.wavefront import parse_obj

QUAD = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)  # facing z up in the file


def thing(of_mesh: bool) -> Mesh | PointCloud:
    draws = np.random.default_rng(0)
    points, colors = draws.random((2, 50, 3), dtype=np.float32)
    triangles = draws.integers(0, 50, (70, 3)).astype(np.int32)
    return Mesh(points, triangles, colors) if of_mesh else PointCloud(points, colors)


@pytest.mark.parametrize("of_mesh", [True, False])
@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_what_was_written_is_read(tmp_path: Path, of_mesh: bool, suffix: str) -> None:
    made, path = thing(of_mesh), tmp_path / f"thing{suffix}"
    files.writer(path)(path, made)
    read = files.load(path)
    assert np.allclose(read.colors, made.colors, atol=1e-4)
    if isinstance(made, Mesh):
        assert isinstance(read, Mesh) and np.allclose(read.vertices, made.vertices, atol=1e-6)
        assert np.array_equal(read.triangles, made.triangles)
    else:
        assert isinstance(read, PointCloud) and np.allclose(read.points, made.points, atol=1e-6)


def glb(primitive: dict[str, Any], arrays: list[tuple[np.ndarray, str, bool]], **further: Any) -> bytes:
    """A file with one primitive, whose accessors are the arrays: values, type, whether they are fractions."""
    blob, accessors, buffer_views = b"", [], []
    kinds = {"f4": 5126, "u1": 5121, "u2": 5123, "i2": 5122}
    for values, kind, normalized in arrays:
        buffer_views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": values.nbytes})
        accessor = {"bufferView": len(accessors), "componentType": kinds[values.dtype.str[1:]], "type": kind}
        accessors.append(accessor | {"count": len(values), "normalized": normalized})
        blob += values.tobytes() + b"\0" * (-values.nbytes % 4)
    pictures = further.pop("pictures", [])
    for picture in pictures:
        buffer_views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(picture)})
        blob += picture + b"\0" * (-len(picture) % 4)
    document = {
        "asset": {"version": "2.0"},
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": buffer_views,
        "buffers": [{"byteLength": len(blob)}],
        "images": [{"bufferView": len(arrays) + i} for i in range(len(pictures))],
    } | further
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(blob))
    return (
        head
        + struct.pack("<I4s", len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(blob), b"BIN\0")
        + blob
    )


def test_nodes_place_and_mirror_what_hangs_below_them() -> None:
    corners = np.array([[0], [1], [2]], np.uint16)
    half = 0.5**0.5
    nodes = [
        {"children": [1], "translation": [0, 5, 0], "scale": [2, 2, 2]},
        {"mesh": 0, "rotation": [0, 0, half, half]},  # a quarter turn around z
        {"mesh": 0, "scale": [-1, 1, 1]},
    ]
    points, colors, triangles = parse_glb(
        glb(
            {"attributes": {"POSITION": 0}, "indices": 1},
            [(QUAD, "VEC3", False), (corners, "SCALAR", False)],
            nodes=nodes,
            scenes=[{"nodes": [0, 2]}],
        )
    )
    turned, mirrored = sorted((points[:4], points[4:]), key=lambda part: -part[:, 2].max())
    # In the file x, y, z; here z up: x, -z, y.
    assert np.allclose(turned, [[0, 0, 5], [0, 0, 7], [-2, 0, 7], [-2, 0, 5]], atol=1e-6)
    assert np.allclose(mirrored, [[0, 0, 0], [-1, 0, 0], [-1, 0, 1], [0, 0, 1]], atol=1e-6)
    assert triangles is not None and (colors == 1).all()
    a, b, c = points[triangles].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    assert (normals[:, 1] < 0).all()  # both still face where z of the file points


def test_strips_fans_and_small_integers_are_read() -> None:
    whole = (QUAD * 32767).astype(np.int16)
    strip = np.array([[0], [1], [3], [2]], np.uint8)
    shades = np.array([[255, 0, 0, 255]] * 4, np.uint8)
    arrays = [(whole, "VEC3", True), (strip, "SCALAR", False), (shades, "VEC4", True)]
    primitive = {"attributes": {"POSITION": 0, "COLOR_0": 2}, "indices": 1, "mode": 5}
    points, colors, triangles = parse_glb(glb(primitive, arrays))
    assert np.allclose(points[:, [0, 2]], QUAD[:, :2]) and np.allclose(colors, (1, 0, 0))
    assert triangles is not None and triangles.tolist() == [[0, 1, 3], [3, 1, 2]]
    _, _, fan = parse_glb(glb({"attributes": {"POSITION": 0}, "mode": 6}, [(QUAD, "VEC3", False)]))
    assert fan is not None and fan.tolist() == [[0, 1, 2], [0, 2, 3]]


def picture() -> bytes:
    """Red on the upper left, green on the upper right, blue below."""
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0, 0] = pixels[0, 1, 1] = 255
    pixels[1, :, 2] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_texture_colours_the_vertices(tmp_path: Path) -> None:
    places = np.array([[0.2, 0.2], [0.8, 0.2], [1.8, 0.2], [0.5, 0.8]], np.float32)
    expected = [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    _, colors, _ = parse_glb(
        glb(
            {"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "material": 0, "mode": 6},
            [(QUAD, "VEC3", False), (places, "VEC2", False)],
            pictures=[picture()],
            textures=[{"source": 0}],
            materials=[{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        )
    )
    assert np.allclose(colors, expected, atol=1e-6)
    (tmp_path / "a skin.png").write_bytes(picture())
    plain = "Kd 0.2 0.4 0.6\n"
    (tmp_path / "skin.mtl").write_text(f"newmtl skin\n{plain}map_Kd a skin.png\nnewmtl plain\n{plain}")
    lines = ["mtllib skin.mtl", *(f"v {x} {y} {z}" for x, y, z in QUAD)]
    lines += [*(f"vt {u} {1 - v}" for u, v in places), "v 2 2 2", "usemtl skin", "f 1/1 2/2 3/3 4/4"]
    lines += ["usemtl plain", "f -1 1 2"]
    points, colors, triangles = parse_obj("\n".join(lines), tmp_path)
    assert np.allclose(colors[2:4], expected[2:]) and np.allclose(colors[4], (0.2, 0.4, 0.6))
    assert np.allclose(points[:4, [0, 2]], QUAD[:, :2])
    assert triangles is not None and triangles.tolist() == [[0, 1, 2], [0, 2, 3], [4, 0, 1]]


def test_without_its_materials_an_obj_is_grey(tmp_path: Path) -> None:
    text = "mtllib gone.mtl\nusemtl skin\n" + "".join(f"v {x} {y} {z}\n" for x, y, z in QUAD) + "f 1 2 3 4\n"
    assert (parse_obj(text, tmp_path)[1] == 0.5).all()


def test_nodes_in_a_circle_and_textures_that_are_no_pictures_are_refused() -> None:
    primitive, positions = {"attributes": {"POSITION": 0}}, (QUAD, "VEC3", False)
    circle = [{"children": [1]}, {"mesh": 0, "children": [0]}]
    with pytest.raises(ValueError, match="two parents"):
        parse_glb(glb(primitive, [positions], nodes=circle, scenes=[{"nodes": [0]}]))
    worn = primitive | {"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "material": 0}
    with pytest.raises(ValueError, match="no picture"):
        parse_glb(
            glb(
                worn,
                [positions, (QUAD[:, :2].copy(), "VEC2", False)],
                pictures=[b"not a picture"],
                textures=[{"source": 0}],
                materials=[{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
            )
        )


BAD_OBJ = {
    "nothing": "",
    "a corner too many": "v 0 0 0\nf 1 1 2\n",
    "words": "v a b c\n",
    "half a vertex": "v 0 0\n",
}


@pytest.mark.parametrize("text", BAD_OBJ.values(), ids=BAD_OBJ.keys())
def test_damaged_obj_files_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse_obj(text, tmp_path)


def test_damaged_glb_files_are_refused(tmp_path: Path) -> None:
    files.save(tmp_path / "a.glb", cloud=thing(False))  # type: ignore[arg-type]
    data = (tmp_path / "a.glb").read_bytes()
    for cut in (0, 10, 30, len(data) // 2, len(data) - 40):
        with pytest.raises(Exception):  # noqa: B017 - whoever reads files turns all of them into one sentence
            parse_glb(data[:cut])
