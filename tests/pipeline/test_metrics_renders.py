"""PSNR and CLIP R-Precision on pictures and vectors whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pointe_blender.pipeline.metrics.pictures import mean_psnr, psnr
from pointe_blender.pipeline.metrics.precision import r_precision


def flat(value: int) -> np.ndarray:
    return np.full((6, 5, 3), value, dtype=np.uint8)


def test_the_signal_to_noise_ratio_of_flat_pictures_is_the_textbook_one() -> None:
    assert psnr(flat(0), flat(255)) == 0
    assert psnr(flat(100), flat(110)) == psnr(flat(110), flat(100)) == pytest.approx(20 * math.log10(25.5))
    assert psnr(flat(7), flat(7)) == math.inf


def test_noise_of_a_byte_is_48_decibels_however_it_is_spread() -> None:
    """A change of one in every channel, or of two in every fourth value."""
    random = np.random.default_rng(0)
    picture = random.integers(2, 250, (40, 40, 3), dtype=np.uint8)
    signs = random.choice([-1, 1], picture.shape)
    everywhere = (picture + signs).astype(np.uint8)
    somewhere = picture.copy()
    somewhere.reshape(-1)[::4] += 2
    expected = pytest.approx(48.1308, abs=1e-4)
    assert psnr(picture, everywhere) == expected and psnr(picture, somewhere) == expected


def test_views_are_compared_one_by_one() -> None:
    mesh, cloud = np.stack([flat(0), flat(100)]), np.stack([flat(255), flat(110)])
    assert mean_psnr(mesh, cloud) == (0 + psnr(flat(100), flat(110))) / 2


def test_pictures_of_other_sizes_or_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(6, 5, 3\) and \(5, 6, 3\)"):
        psnr(flat(0), flat(0).transpose(1, 0, 2))
    with pytest.raises(ValueError):
        mean_psnr(np.stack([flat(0)]), np.stack([flat(0), flat(0)]))


CHAIR, MUG, LAMP = torch.eye(3)


def test_a_share_of_the_views_shows_the_prompt() -> None:
    """A chair seen as chair, chair, mug and lamp; a mug always seen as a mug, from near and far."""
    pictures = torch.stack(
        [torch.stack([CHAIR, 0.9 * CHAIR + 0.5 * MUG, MUG, LAMP]), torch.stack([MUG, 2 * MUG, 9 * MUG, MUG])]
    )
    assert r_precision(pictures, torch.stack([CHAIR, MUG, LAMP]), torch.tensor([0, 1])).tolist() == [0.5, 1]


def test_near_is_an_angle_and_not_a_length() -> None:
    """The longer text has the larger product with what lies nearer to the shorter."""
    texts = torch.stack([CHAIR, 100 * (CHAIR + MUG)])
    pictures = (CHAIR + 0.1 * MUG)[None, None]
    assert r_precision(pictures, texts, torch.tensor([0])).tolist() == [1]
    assert r_precision(pictures, texts, torch.tensor([1])).tolist() == [0]


def test_equal_prompts_are_one_and_a_tie_with_another_is_wrong() -> None:
    pictures = torch.stack([CHAIR, MUG, MUG + LAMP])[:, None]
    texts = torch.stack([CHAIR, CHAIR * (1 + 1e-7), MUG, LAMP])
    assert r_precision(pictures, texts, torch.tensor([0, 2, 2])).tolist() == [1, 1, 0]
    assert r_precision(pictures, texts, torch.tensor([1, 2, 3])).tolist() == [1, 1, 0]


def test_pictures_of_nothing_are_right_by_chance() -> None:
    torch.manual_seed(0)
    pictures, texts = torch.randn(1000, 4, 16), torch.randn(20, 16)
    score = r_precision(pictures, texts, torch.arange(1000) % 20).mean().item()
    assert score == pytest.approx(1 / 20, abs=0.01)
