"""sRGB and linear light."""

import numpy as np
import pytest

from pointe_blender.pipeline.colors import linear, srgb


def test_every_8_bit_colour_survives_the_way_to_linear_and_back():
    shades = np.arange(256, dtype=np.float32) / 255
    np.testing.assert_array_equal((srgb(linear(shades)) * 255).round(), np.arange(256))


def test_the_middle_grey_of_the_standard():
    assert linear(np.float32([0.0, 0.5, 1.0])).tolist() == pytest.approx([0.0, 0.2140411, 1.0])
