"""An object is found in a picture, centred with a margin and laid on the background the models expect."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pointe_blender.pipeline import pictures
from pointe_blender.pipeline.conditioning import Clip
from pointe_blender.pipeline.errors import InvalidRequest
from pointe_blender.pipeline.framing import frame, middle, reduced
from pointe_blender.pipeline.models import MODEL_SETS
from pointe_blender.pipeline.request import Request, validate
from pointe_blender.pipeline.starter.kinds import KINDS
from pointe_blender.pipeline.starter.world import COLORS
from pointe_blender.pipeline.weights import default_folders

CHAIR = Path(__file__).resolve().parents[1] / "data" / "chair.png"
RED, BLUE, GREY, WHITE = (200, 30, 20), (40, 90, 200), (128, 128, 128), (255, 255, 255)


def drawn(
    size: tuple[int, int], box: tuple[int, int, int, int], color=RED, background: object = GREY
) -> np.ndarray:
    """A picture (height, width) with a filled box: top, left, bottom, right."""
    picture = np.empty((*size, 3), np.uint8)
    picture[:] = background
    picture[box[0] : box[2], box[1] : box[3]] = color
    return picture


def box_of(picture: np.ndarray, background: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of all that is not the background, to the last bit."""
    rows, columns = np.nonzero((picture != background).any(-1))
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1


def gradient(height: int, width: int) -> np.ndarray:
    """From light at the top left to darker and warmer at the bottom right."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][..., None]
    return np.array([235, 228, 215]) - 50 * y - 25 * x + [0, 4, 9] * y


def vignette(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j][..., None]
    return np.array([225, 230, 235]) * (1 - 0.18 * (x * x + y * y))


def as_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


# --- where it goes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0.0, 0.06, 0.125, 0.3])
@pytest.mark.parametrize("box", [(5, 7, 45, 27), (60, 100, 80, 160), (90, 3, 91, 120), (40, 40, 73, 73)])
def test_the_object_stands_in_the_middle_with_its_margin_and_proportions(box, margin) -> None:
    framed = frame(drawn((100, 170), box), WHITE, margin)
    assert framed.notice == ""
    side = len(framed.image)
    assert framed.image.shape == (side, side, 3) and framed.image.dtype == np.uint8

    top, left, bottom, right = box_of(framed.image, WHITE)
    assert (bottom - top, right - left) == (box[2] - box[0], box[3] - box[1])
    longest = max(bottom - top, right - left)
    assert abs(side * (1 - 2 * margin) - longest) <= 1.5, "the side is a whole number of pixels"
    assert abs(top - (side - bottom)) <= 1 and abs(left - (side - right)) <= 1
    assert min(top, left) * 2 == side - longest, "equal margins at both ends of the longest side"
    np.testing.assert_array_equal(
        framed.image[top:bottom, left:right], np.broadcast_to(RED, (bottom - top, right - left, 3))
    )


@pytest.mark.parametrize(
    "background",
    [WHITE, GREY, BLUE, (12, 12, 14), gradient(120, 160), vignette(120, 160)],
    ids=["white", "grey", "blue", "black", "gradient", "vignette"],
)
def test_any_plain_background_is_replaced(background) -> None:
    framed = frame(drawn((120, 160), (10, 90, 60, 120), RED, background), (236, 236, 236), 0.1)
    top, left, bottom, right = box_of(framed.image, (236, 236, 236))
    assert framed.notice == "" and (bottom - top, right - left) == (50, 30)


def test_framing_again_changes_nothing() -> None:
    once = frame(drawn((90, 140), (20, 15, 60, 33), background=gradient(90, 140)), WHITE, 0.125)
    np.testing.assert_array_equal(frame(once.image, WHITE, 0.125).image, once.image)


def test_what_shows_through_a_hole_is_background_too() -> None:
    picture = drawn((100, 100), (20, 20, 80, 80), RED, BLUE)
    picture[35:65, 35:65] = BLUE
    framed = frame(picture, WHITE, 0.1).image
    assert tuple(framed[len(framed) // 2, len(framed) // 2]) == WHITE


def test_several_parts_stay_together_and_specks_do_not_count() -> None:
    picture = drawn((200, 200), (80, 60, 120, 90))
    picture[80:120, 110:140] = BLUE
    picture[5, 190] = 0
    top, left, bottom, right = box_of(frame(picture, WHITE, 0.1).image, WHITE)
    assert (bottom - top, right - left) == (40, 80)


def test_an_object_that_the_border_cuts_is_found() -> None:
    framed = frame(drawn((100, 100), (30, 30, 100, 70)), WHITE, 0.1)
    top, left, bottom, right = box_of(framed.image, WHITE)
    assert framed.notice == "" and (bottom - top, right - left) == (70, 40)


def test_large_pictures_are_cut_out_in_detail_but_not_more_than_any_model_sees() -> None:
    framed = frame(drawn((2000, 1500), (300, 200, 1500, 1100), background=vignette(2000, 1500)), WHITE, 0.1)
    top, left, bottom, right = box_of(framed.image, WHITE)
    assert 300 <= len(framed.image) <= 800
    assert abs((bottom - top) / (right - left) - 4 / 3) < 0.01


# --- noise, edges, shadows ---------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_jpeg_noise_is_no_object(quality: int) -> None:
    picture = as_jpeg(drawn((256, 256), (100, 80, 164, 112), background=gradient(256, 256)), quality)
    framed = frame(picture, WHITE, 0.1)
    top, left, bottom, right = box_of(framed.image, WHITE)
    block = 8 if quality < 50 else 4  # what a JPEG is made of, and shows
    assert framed.notice == "" and abs((bottom - top) - 64) <= block and abs((right - left) - 32) <= block


def test_grain_is_no_object() -> None:
    grain = np.random.default_rng(0).normal(0, 4, (300, 300, 1))
    picture = (drawn((300, 300), (50, 150, 170, 220)) + grain).clip(0, 255).astype(np.uint8)
    top, left, bottom, right = box_of(frame(picture, WHITE, 0.1).image, WHITE)
    assert abs((bottom - top) - 120) <= 2 and abs((right - left) - 70) <= 2


def test_a_soft_shadow_belongs_to_the_background() -> None:
    y, x = np.mgrid[0:200, 0:200]
    depth = 0.5 * np.exp(-(((x - 115) / 30.0) ** 2) - ((y - 125) / 24.0) ** 2)
    background = np.array([230, 228, 224]) * (1 - depth[..., None])
    framed = frame(drawn((200, 200), (60, 80, 125, 110), BLUE, background), WHITE, 0.1).image
    top, left, bottom, right = box_of(framed, WHITE)
    assert abs((bottom - top) - 65) <= 3 and abs((right - left) - 30) <= 3


def test_a_soft_edge_takes_on_the_new_background() -> None:
    """A disc drawn at eight times its size is mixed with blue at its rim; framed, it is mixed with white."""
    y, x = np.mgrid[0:800, 0:800]
    disc = (x - 400) ** 2 + (y - 400) ** 2 < 240**2

    def on(background: tuple[int, int, int]) -> np.ndarray:
        return reduced(np.where(disc[..., None], RED, background).astype(np.uint8), 100)

    framed = frame(on(BLUE), WHITE, 0.2).image
    offset = (100 - len(framed)) // 2
    wanted = on(WHITE)[offset : offset + len(framed), offset : offset + len(framed)]
    assert np.abs(framed.astype(int) - wanted).max() <= 24  # a pixel that is hardly covered counts for none
    assert np.abs(framed.astype(int) - wanted).mean() < 0.5


# --- alpha -------------------------------------------------------------------------------------------


def test_alpha_is_composited_in_light_and_exactly_at_its_ends() -> None:
    picture = np.zeros((40, 60, 4), np.uint8)
    picture[..., :3] = (9, 200, 7)  # the colour of what is transparent never shows
    picture[10:30, 20:40] = (*RED, 255)
    picture[10:30, 20:30] = (*RED, 128)
    framed = frame(picture, WHITE, 0.25).image
    assert framed.shape == (40, 40, 3)
    assert tuple(framed[20, 25]) == RED and tuple(framed[2, 2]) == WHITE

    light = np.array([0.5776, 0.0130, 0.0070])  # RED by IEC 61966-2-1
    mixed = light * 128 / 255 + 127 / 255
    wanted = 255 * (1.055 * mixed ** (1 / 2.4) - 0.055)
    assert np.abs(framed[20, 15] - wanted).max() <= 1


def test_faint_alpha_at_the_rim_does_not_push_the_object_off_its_place() -> None:
    picture = np.zeros((100, 100, 4), np.uint8)
    picture[5:95, 5:95] = (*RED, 4)
    picture[40:60, 30:70] = (*RED, 255)
    framed = frame(picture, WHITE, 0.25).image
    assert box_of(framed, WHITE) == (30, 20, 50, 60)


def test_an_alpha_that_is_opaque_but_for_a_few_pixels_says_nothing() -> None:
    picture = drawn((80, 80), (20, 30, 50, 40))
    opaque = np.dstack((picture, np.full((80, 80), 255, np.uint8)))
    opaque[0, :5, 3] = 0
    np.testing.assert_array_equal(frame(opaque, WHITE, 0.1).image, frame(picture, WHITE, 0.1).image)


def test_a_large_transparent_picture_is_reduced_without_a_dark_rim() -> None:
    picture = np.zeros((1500, 1500, 4), np.uint8)
    picture[101:1401, 403:1097] = (*RED, 255)
    framed = frame(picture, WHITE, 0.1).image
    assert len(framed) < 800
    assert (framed >= RED).all(), "only mixtures of red and white"


# --- no object ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "picture",
    [
        np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8),
        np.full((90, 120, 3), 200, np.uint8),
        drawn((90, 120), (0, 0, 90, 60), RED, BLUE),
        drawn((90, 120), (44, 60, 45, 62)),
        vignette(90, 120).astype(np.uint8),
        np.zeros((90, 120, 4), np.uint8),
    ],
    ids=["noise", "nothing", "half and half", "two pixels", "vignette alone", "transparent"],
)
def test_where_nothing_can_be_told_the_middle_stays_and_it_says_so(picture: np.ndarray) -> None:
    framed = frame(picture, WHITE, 0.1)
    assert "background" in framed.notice and framed.notice.endswith(".")
    assert framed.image.shape == (90, 90, 3)
    wanted = middle(picture)[..., :3] if picture[..., -1].any() else np.full((90, 90, 3), 255)
    np.testing.assert_array_equal(framed.image, wanted)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (8, 8), (8, 900), (900, 8), (2048, 2048)])
def test_every_size_is_framed(shape: tuple[int, int]) -> None:
    picture = drawn(shape, (2, 2, shape[0] - 2, shape[1] - 2))
    framed = frame(picture, WHITE, 0.1).image
    assert framed.shape[0] == framed.shape[1] and framed.ndim == 3


def test_a_picture_is_reduced_in_light() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(reduced(stripes, 32).astype(int) - 188).max() <= 1  # half of the light, not half of 255
    assert reduced(stripes, 64) is stripes
    assert reduced(np.zeros((65, 10, 4), np.uint8), 64).shape == (33, 5, 4)


# --- what every driver calls -------------------------------------------------------------------------


def test_each_model_set_has_a_background_and_margin_of_its_own() -> None:
    picture = drawn((100, 100), (40, 40, 60, 60))
    for name, models in MODEL_SETS.items():
        framed = pictures.prepare(picture, name).image
        assert tuple(framed[0, 0]) == models.background
        assert abs(20 / len(framed) - (1 - 2 * models.margin)) < 0.06


def test_without_cropping_a_picture_stays_what_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (30, 50, 4), dtype=np.uint8)
    assert pictures.prepare(picture, "official-40M", crop=False).image is picture
    assert pictures.prepare(picture, "official-40M", crop=False).notice == ""
    assert pictures.prepare(picture, "no such set").image is picture, "the pipeline says what is wrong"


@pytest.mark.parametrize(
    "image",
    [np.zeros((9, 9)), np.zeros((0, 9, 3), np.uint8), np.zeros((9, 9, 3)), np.zeros((9, 9, 2), np.uint8)],
)
def test_what_is_no_picture_is_left_to_be_refused(image: np.ndarray) -> None:
    prepared = pictures.prepare(image, "starter").image
    with pytest.raises(InvalidRequest, match="array of height × width"):
        validate(Request(image=prepared))


def test_the_starter_models_recognise_what_is_framed() -> None:
    """A red chair, small in the corner of a blue picture; many more such scores: `starter.framing_scores`."""
    chair = np.asarray(Image.open(CHAIR).convert("RGB").resize((100, 100), Image.Resampling.BOX))
    outside = np.abs(chair.astype(int) - chair[0, 0]).max(-1, keepdims=True) < 12
    picture = np.full((300, 300, 3), (64, 115, 204), np.uint8)
    picture[190:290, 10:110] = np.where(outside, picture[190:290, 10:110], chair)

    clip = Clip.load("starter-clip", "cpu", default_folders())
    names = [f"{color} {kind}" for kind in KINDS for color in COLORS]
    seen = clip.image([picture, pictures.prepare(picture, "starter").image])
    raw, framed = (names[i] for i in (seen @ clip.text(names).T).argmax(1))
    assert framed == "red chair" != raw
