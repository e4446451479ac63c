"""Score what framing is worth: `python -m pointe_blender.pipeline.starter.framing_scores`, some minutes.

Objects that training never saw are shown to the starter CLIP as artists' pictures show them: small and off
the middle, on other backgrounds, with a shadow, cut out. Of all kinds and colours it names the nearest, with
and without `framing.frame` in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from random import Random

import numpy as np
import torch

from ..colors import linear, srgb
from ..conditioning import Clip
from ..models import MODEL_SETS
from ..pictures import prepare
from ..weights import default_folders
from .evaluate import SEED, test_labels
from .kinds import KINDS
from .solids import Objects, normalised, render
from .world import COLORS, build_all

SIDE = 160  # pixels of a whole picture
USUAL, SMALL = 96, 48  # pixels of the square that an object is rendered in
LIGHT = (0.93, 0.93, 0.93)

Paint = Callable[[np.ndarray], np.ndarray]  # (SIDE, SIDE) coverage -> the (SIDE, SIDE, 3) sRGB behind it


def plain(*color: float) -> Paint:
    """The same everywhere."""
    return lambda coverage: np.broadcast_to(np.array(color), (SIDE, SIDE, 3))


def gradient(coverage: np.ndarray) -> np.ndarray:
    """From warm light at the top to cool shade at the bottom."""
    t = np.linspace(0.0, 1.0, SIDE)[:, None, None]
    return np.broadcast_to(
        (1 - t) * np.array((0.95, 0.90, 0.80)) + t * np.array((0.60, 0.60, 0.65)), (SIDE, SIDE, 3)
    )


def shadow(coverage: np.ndarray) -> np.ndarray:
    """A soft shadow to the lower right of the object."""
    frequency = np.fft.fftfreq(SIDE)
    blur = np.exp(-2.0 * (8.0 * math.pi) ** 2 * (frequency[:, None] ** 2 + frequency**2))
    cast = np.fft.ifft2(np.fft.fft2(np.roll(coverage, (10, 14), (0, 1))) * blur).real.clip(0.0, 1.0)
    lit: np.ndarray = srgb(
        linear(np.broadcast_to(np.array(LIGHT), (SIDE, SIDE, 3))) * (1 - 0.5 * cast[..., None])
    )
    return lit


# What is done to an object: pixels of its square, where its corner goes (None: the middle), what is behind it
# (None: transparency).
DAMAGES: dict[str, tuple[int, tuple[int, int] | None, Paint | None]] = {
    "filling the picture, as trained": (SIDE, None, plain(*LIGHT)),
    "off the middle": (USUAL, (8, 60), plain(*LIGHT)),
    "small": (SMALL, (80, 36), plain(*LIGHT)),
    "on white": (USUAL, None, plain(1.0, 1.0, 1.0)),
    "on grey": (USUAL, None, plain(0.5, 0.5, 0.5)),
    "on blue": (USUAL, None, plain(0.25, 0.45, 0.80)),
    "on a gradient": (USUAL, None, gradient),
    "with a soft shadow": (USUAL, None, shadow),
    "cut out, small": (SMALL, (80, 36), None),
}


def cut_out(objects: Objects, size: int) -> np.ndarray:
    """(B, size, size, 4) uint8 renders, each from a side of its own, transparent around the object."""
    u = torch.rand(len(objects), 2, generator=torch.Generator().manual_seed(SEED))
    azimuth, elevation = math.tau * u[:, 0], math.radians(-5) + math.radians(55) * u[:, 1]
    lens = torch.tensor([0.33])  # which always holds the whole object

    def on(gray: float) -> np.ndarray:
        background = torch.full((1, 3), gray)
        one = [slice(i, i + 1) for i in range(len(objects))]  # at a time, for the sake of memory
        return torch.cat(
            [render(objects[i], azimuth[i], elevation[i], lens, background, size) for i in one]
        ).numpy()

    black, white = on(0.0), on(1.0)
    alpha = 255 * (black == white).all(-1, keepdims=True)
    cut: np.ndarray = np.concatenate((black, alpha), -1).astype(np.uint8)
    return cut


def damaged(cut: np.ndarray, name: str) -> np.ndarray:
    """One render as the damage of this name makes it: (SIDE, SIDE, 3 or 4) uint8."""
    size, corner, paint = DAMAGES[name]
    top, left = corner or ((SIDE - size) // 2,) * 2
    picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    picture[top : top + size, left : left + size] = cut
    if paint is None:
        return picture
    behind = (paint(picture[..., 3] / 255.0) * 255.0).round().astype(np.uint8)
    return np.where(picture[..., 3:] > 0, picture[..., :3], behind)


def score(per_kind: int, names: Collection[str] = DAMAGES.keys()) -> dict[str, list[float]]:
    """Of each damage the shares of right kinds and colours as it is, and of both once it is framed."""
    r = Random(SEED)
    labels = test_labels(per_kind, r)
    objects = normalised(build_all(labels, r), torch.Generator().manual_seed(SEED + 1))
    clip = Clip.load(MODEL_SETS["starter"].clip, "cpu", default_folders())
    pairs = [(kind, color) for kind in KINDS for color in COLORS]
    words = clip.text([f"a {color} {kind}" for kind, color in pairs])
    cuts = {size: cut_out(objects, size) for size in {DAMAGES[name][0] for name in names}}
    scores: dict[str, list[float]] = {}
    for name in names:
        pictures = [damaged(cut, name) for cut in cuts[DAMAGES[name][0]]]
        scores[name] = []
        for crop in (False, True):
            seen = clip.image([prepare(picture, "starter", crop).image for picture in pictures])
            guesses = [pairs[i] for i in (seen @ words.T).argmax(1)]
            right = [
                (g[0] == label.kind, g[1] == label.color) for g, label in zip(guesses, labels, strict=True)
            ]
            scores[name] += np.mean(right, axis=0).tolist()
    return scores


if __name__ == "__main__":
    print("| a picture | kind | colour | kind, framed | colour, framed |\n|---|---|---|---|---|")
    for name, shares in score(per_kind=6).items():
        print(f"| {name} | {' | '.join(f'{share:.0%}' for share in shares)} |")
