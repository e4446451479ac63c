"""Any picture becomes an 8-bit array, and what is none is refused with one sentence."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pointe_blender.pipeline.errors import InvalidRequest
from pointe_blender.pipeline.pictures import MAX_SIDE, load_image, orientation, upright

RED = (200, 30, 20)


def saved(picture: Image.Image, path: Path, **options: object) -> np.ndarray:
    picture.save(path, **options)
    return load_image(path)


def close(pixel: np.ndarray, expected: tuple[int, ...], within: int = 2) -> bool:
    return bool((np.abs(pixel.astype(int) - expected) <= within).all())


def test_a_plain_picture_is_taken_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    loaded = saved(Image.fromarray(pixels), tmp_path / "it.png")
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, pixels)


@pytest.mark.parametrize("name", ["it.png", "it.tif", "it.webp"])
def test_alpha_stays_straight(tmp_path, name):
    pixels = np.zeros((16, 16, 4), dtype=np.uint8)
    pixels[:8] = (*RED, 255)
    pixels[8:] = (*RED, 128)
    options = {"lossless": True} if name.endswith("webp") else {}
    np.testing.assert_array_equal(saved(Image.fromarray(pixels), tmp_path / name, **options), pixels)


@pytest.mark.parametrize(
    ("mode", "name"),
    [("L", "it.png"), ("1", "it.png"), ("P", "it.gif"), ("YCbCr", "it.jpg"), ("CMYK", "it.tif")],
)
def test_every_mode_becomes_rgb(tmp_path, mode, name):
    loaded = saved(Image.new("RGB", (16, 16), "white").convert(mode), tmp_path / name)
    assert loaded.shape == (16, 16, 3)
    assert close(loaded, (255, 255, 255))


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path):
    loaded = saved(Image.new("RGB", (16, 16), RED).convert("CMYK"), tmp_path / "it.jpg", quality=95)
    assert close(loaded[8, 8], RED, within=6)


def test_sixteen_bits_are_scaled_not_cut(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    loaded = saved(Image.fromarray(ramp), tmp_path / "it.png")
    np.testing.assert_array_equal(loaded[:, :, 0].reshape(-1), np.arange(256))
    assert (loaded == loaded[:, :, :1]).all()


def test_floating_point_grey(tmp_path):
    loaded = saved(Image.fromarray(np.full((16, 16), 0.5, dtype=np.float32)), tmp_path / "it.tif")
    assert close(loaded, (128, 128, 128))


def test_a_palette_with_a_transparent_colour(tmp_path):
    picture = Image.new("P", (16, 16), 0)
    picture.putpalette([*RED, 0, 0, 255])
    picture.paste(1, (0, 0, 8, 16))
    loaded = saved(picture, tmp_path / "it.png", transparency=1)
    assert tuple(loaded[8, 12]) == (*RED, 255)
    assert loaded[8, 2, 3] == 0


def test_a_camera_on_its_side(tmp_path):
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste(RED, (0, 0, 20, 20))  # red on the left; turned by 90° clockwise: red at the top
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = saved(picture, tmp_path / "it.png", exif=exif)
    assert loaded.shape == (40, 20, 3)
    assert tuple(loaded[5, 10]) == RED
    assert tuple(loaded[35, 10]) == (0, 0, 0)


@pytest.mark.parametrize("held", range(1, 9))
@pytest.mark.parametrize("order", ["little", "big"])
def test_a_camera_s_orientation_is_read_without_pillow_too(tmp_path, held, order):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif.endian = {"little": "<", "big": ">"}[order]
    exif[0x010F], exif[0x0112] = "a camera", held
    path = tmp_path / "it.jpg"
    Image.fromarray(pixels).save(path, quality=95, exif=exif)
    assert orientation(path.read_bytes()) == held
    lying = np.array(Image.open(path))
    np.testing.assert_array_equal(upright(lying, held), load_image(path))


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8Exif\0\0", b"\xff\xd8Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II"]
)
def test_a_file_that_does_not_say_is_left_as_it_is(data):
    assert orientation(data) == 1


def test_the_first_picture_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "it.gif", save_all=True, append_images=frames[1:])
    assert close(load_image(tmp_path / "it.gif")[8, 8][:3], (255, 0, 0))


@pytest.mark.parametrize("name", ["wide.png", "wide.jpg"])
def test_twenty_thousand_pixels_are_reduced(tmp_path, name):
    picture = Image.new("RGB", (20_000, 300), RED)
    loaded = saved(picture, tmp_path / name)
    assert loaded.shape == (round(300 * MAX_SIDE / 20_000), MAX_SIDE, 3)
    assert close(loaded, RED, within=3)


def test_more_pixels_than_memory_are_refused_before_they_are_decoded(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b""))
    with pytest.raises(InvalidRequest, match="too many pixels"):
        load_image(path)


@pytest.mark.parametrize("size", [(1, 1), (7, 500), (500, 7)])
def test_a_few_pixels_are_refused(tmp_path, size):
    with pytest.raises(InvalidRequest, match=f"only {size[0]} × {size[1]} pixels"):
        saved(Image.new("RGB", size), tmp_path / "it.png")


@pytest.mark.parametrize("name", ["it.png", "it.jpg", "it.gif", "it.tif"])
def test_half_a_file_is_refused(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidRequest, match=r"damaged|not a picture"):
        load_image(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"", b"a red chair", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + bytes(50)]
)
def test_what_is_no_picture_is_refused(tmp_path, content):
    path = tmp_path / "it.png"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=r"it\.png"):
        load_image(path)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(InvalidRequest, match="no file"):
        load_image(tmp_path / "none.png")
    with pytest.raises(InvalidRequest, match="choose another"):
        load_image(tmp_path)
