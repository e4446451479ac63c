"""Put the object of a picture where the models expect it: centred, with a margin, on their own background.

An object is told from its surroundings by the picture's alpha, or because the background is plain: it follows
a smooth surface fitted to the border, so that gradients and vignettes belong to it, and so do soft shadows.
Where neither helps, the picture keeps its middle as every CLIP would take it, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .colors import linear, srgb

COARSE = 192  # longest side in pixels at which the object is looked for
FINE = 640  # longest side at which it is cut out: far more than any CLIP sees
NOISE = 6.0  # difference from the background, in 255ths, that may always be noise
UNEVEN = 5.0  # median difference of the border from a smooth surface above which it is no plain background
DARKEST = 0.45  # light in the depth of a soft shadow, in parts of the background's
STEP = 5.0  # the steepest that a soft shadow gets from one coarse pixel to the next, in 255ths
OBJECT = 0.15  # of what differs from the background: the least that an object is when the rest is shadow
SPECK = 0.01  # of the object's area: what is smaller does not belong to it
CLEAR = 0.005  # of the picture's area: if less is transparent, alpha tells nothing
LEAST = 0.0005  # of the picture's area: what is smaller is no object
UNKNOWN = (
    "No object can be told from the background, so the models see the middle of the picture as it is: "
    "use one with a plain or transparent background."
)
# Tables from bytes to light, and back from light in 65535ths: exact for every byte, and quick.
_LIGHT = linear(np.arange(256, dtype=np.float32) / 255.0)
_BYTES = (srgb(np.arange(65536, dtype=np.float32) / 65535.0) * 255.0 + 0.5).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Framed:
    """A picture as the models get it.

    Attributes
    ----------
    image
        (S, S, 3) uint8 sRGB; whatever it was if it was not to be framed.
    notice
        What to tell the user; empty when the object was found.
    """

    image: np.ndarray
    notice: str = ""


def frame(image: np.ndarray, background: tuple[int, int, int], margin: float) -> Framed:
    """Cut out the object and centre it on another background.

    Parameters
    ----------
    image
        (H, W, 3 or 4) uint8 sRGB, straight alpha.
    background
        sRGB bytes.
    margin
        From the object to the nearest edges, in parts of the result's side, 0 to 0.45.

    Returns
    -------
    The object in a square; or, with a notice, the middle of the picture, where no object can be told from
    the background.
    """
    transparent = image.shape[2] == 4 and np.mean(image[..., 3] < 128) > CLEAR
    cut = _by_alpha(image) if transparent else _by_background(image[..., :3])
    if cut is None:
        return Framed(_over(_premultiplied(middle(image)), background), UNKNOWN)
    height, width = cut.shape[:2]
    longest = max(height, width)
    side = round(longest / (1.0 - 2.0 * margin))
    side += (side - longest) % 2  # so that the longest side has the same margin at both ends
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side, 4), np.float32)
    square[top : top + height, left : left + width] = cut
    return Framed(_over(square, background))


def reduced(image: np.ndarray, longest: int) -> np.ndarray:
    """A picture, (H, W, 3 or 4) uint8, its sides divided by the least whole number that makes it fit.

    Light is averaged, and the colour of what is transparent counts for nothing.
    """
    factor = -(-max(image.shape[:2]) // longest)
    if factor <= 1:
        return image
    height, width = (-(-length // factor) for length in image.shape[:2])
    missing = (height * factor - image.shape[0], width * factor - image.shape[1])
    padded = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge")
    light = np.zeros((height, width, image.shape[2]), np.float32)
    for y, x in np.ndindex(factor, factor):  # a large picture as floats would take gigabytes
        part = padded[y::factor, x::factor]
        light += _LIGHT[part] if image.shape[2] == 3 else _premultiplied(part)
    light /= factor**2
    if image.shape[2] == 3:
        return _encoded(light)
    alpha = light[..., 3:]
    colors = _encoded(light[..., :3] / np.maximum(alpha, 1e-6))
    return np.concatenate((colors, (alpha * 255.0 + 0.5).astype(np.uint8)), -1)


def middle(image: np.ndarray) -> np.ndarray:
    """The largest square in the middle, which is what CLIP's own preprocessing looks at."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return reduced(image[top : top + side, left : left + side], FINE)


def _premultiplied(image: np.ndarray) -> np.ndarray:
    """(..., 3 or 4) uint8 -> (..., 4) float32: light times coverage, and coverage."""
    alpha = image[..., 3:].astype(np.float32) / 255.0 if image.shape[-1] == 4 else np.float32(1.0)
    light = _LIGHT[image[..., :3]] * alpha
    return np.concatenate((light, np.broadcast_to(alpha, (*light.shape[:-1], 1))), -1)


def _over(cut: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """Lay what was cut out over a colour: (H, W, 4) premultiplied light -> (H, W, 3) uint8.

    Alpha is the share of a pixel that is covered, so light is mixed; mixing sRGB draws dark rims.
    """
    return _encoded(cut[..., :3] + (1.0 - cut[..., 3:]) * _LIGHT[np.array(background)])


def _encoded(light: np.ndarray) -> np.ndarray:
    """Light in [0, 1], or a little above it by rounding, to sRGB bytes."""
    return _BYTES[(np.minimum(light, 1.0) * 65535.0 + 0.5).astype(np.uint16)]


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that hold all that is true."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _by_alpha(image: np.ndarray) -> np.ndarray | None:
    """What is not transparent, as `_over` takes it; the faint rim of a soft edge does not count."""
    solid = image[..., 3] > max(12.0, 0.1 * image[..., 3].max())
    return _premultiplied(reduced(image[_box(solid)], FINE)) if solid.any() else None


# --- plain backgrounds -------------------------------------------------------------------------------


def _by_background(image: np.ndarray) -> np.ndarray | None:
    """What stands out from a plain background, as `_over` takes it: found small, then cut out in detail."""
    height, width = image.shape[:2]
    factor = -(-max(height, width) // COARSE)
    small = reduced(image, COARSE).astype(np.float32)
    terms = _terms(_centres(0, height, factor) / height, _centres(0, width, factor) / width)
    fitted = _fit(small, terms)
    if fitted is None:
        return None
    surface, noise = fitted
    found = _find(small, terms @ surface, noise)
    if not found.any():
        return None
    near = _grown(_grown(found))
    rows, columns = (slice(factor * part.start, factor * part.stop) for part in _box(near))
    patch = image[rows, columns]
    step = -(-max(patch.shape[:2]) // FINE)
    y, x = _centres(rows.start, patch.shape[0], step), _centres(columns.start, patch.shape[1], step)
    places = np.ix_(y.astype(int) // factor, x.astype(int) // factor)
    behind = _terms(y / height, x / width) @ surface
    return _cut(reduced(patch, FINE).astype(np.float32), behind, found[places], near[places], noise)


def _centres(start: int, length: int, step: int) -> np.ndarray:
    """Where the pixels lie that were made of `step` each; inside the picture."""
    centres: np.ndarray = start + (np.arange(-(-length // step)) + 0.5) * step
    return centres.clip(start, start + length - 0.5)


def _terms(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(h, w, 6): what a quadratic surface is made of, at places given as parts of the picture's sides."""
    y, x = np.meshgrid(2.0 * y - 1.0, 2.0 * x - 1.0, indexing="ij")
    terms: np.ndarray = np.stack((np.ones_like(x), x, y, x * x, x * y, y * y), -1)
    return terms


def _fit(image: np.ndarray, terms: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The quadratic surface, (6, 3), that most of the border lies on, and the noise around it.

    Weighted least squares, again and again, so that what touches the border has no say
    (Geman and McClure's weights), from a constant to a plane to a quadric.
    """
    width = max(2, round(0.04 * min(image.shape[:2])))
    border = np.ones(image.shape[:2], bool)
    border[width:-width, width:-width] = False
    a, b = terms[border], image[border]
    off = np.abs(b - np.median(b, 0)).max(-1)
    surface = np.zeros((6, 3), np.float32)
    for used in (1, 3, 6):
        for _ in range(8):
            weight = 1.0 / (off**2 + max(1.0, float(np.median(off))) ** 2)[:, None]
            weighted = a[:, :used] * weight
            surface[:used] = np.linalg.lstsq(weighted.T @ a[:, :used], weighted.T @ b, rcond=None)[0]
            off = np.abs(b - a @ surface).max(-1)
    noise = max(NOISE, 6.0 * float(np.median(off)))
    return (surface, noise) if np.median(off) <= UNEVEN and np.mean(off <= noise) >= 0.5 else None


def _find(image: np.ndarray, behind: np.ndarray, noise: float) -> np.ndarray:
    """Where the object is: what differs from the background and is no shadow on it and no speck."""
    solid = np.abs(image - behind).max(-1) > noise
    shaded = _flooded(~solid, _shade(image, behind, noise), image)
    if np.sum(solid & ~shaded) > OBJECT * np.sum(solid):  # else it was no shadow but the object itself
        solid &= ~shaded
    solid &= ~_specks(solid)
    return solid if solid.mean() >= LEAST else np.zeros_like(solid)


def _shade(image: np.ndarray, behind: np.ndarray, noise: float) -> np.ndarray:
    """Where a picture is its background in less light, or a little more."""
    share = image.mean(-1) / np.maximum(behind.mean(-1), 1.0)
    gray = np.abs(image - share[..., None] * behind).max(-1) <= noise
    shade: np.ndarray = gray & (share > DARKEST) & (share < 1.1)
    return shade


def _cut(
    patch: np.ndarray, behind: np.ndarray, found: np.ndarray, near: np.ndarray, noise: float
) -> np.ndarray | None:
    """The object alone, as `_over` takes it; its outermost pixels are mixtures and give their share back."""
    off = np.abs(patch - behind).max(-1)
    if not near.all():
        noise = max(noise, 6.0 * float(np.median(off[~near])))  # more of it shows in detail
    solid = (off > noise) & near & (found | ~_shade(patch, behind, noise))
    if not solid.any():
        return None
    light, dark = linear(patch / 255.0), linear(behind.clip(0.0, 255.0) / 255.0)
    contrast = np.abs(light - dark).max(-1) * solid
    strongest = contrast
    for _ in range(2):
        strongest = _highest(strongest)
    inside = ~_grown(~solid)
    alpha = np.where(inside, solid, contrast / np.maximum(strongest, 1e-6))[..., None]
    cut = np.concatenate((np.maximum(light - (1.0 - alpha) * dark, 0.0), alpha), -1)
    box: np.ndarray = (cut * solid[..., None])[_box(solid)]
    return box


# --- masks -------------------------------------------------------------------------------------------


def _highest(values: np.ndarray) -> np.ndarray:
    """Of each pixel and its eight neighbours the highest value."""
    for axis in (0, 1):
        lower, upper = _pairs(values, axis)
        result = values.copy()
        left, right = _pairs(result, axis)
        np.maximum(left, upper, out=left)
        np.maximum(right, lower, out=right)
        values = result
    return values


def _pairs(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of all pixels that have a successor along the axis, and of these successors."""
    values = values.swapaxes(0, axis)
    return values[:-1].swapaxes(0, axis), values[1:].swapaxes(0, axis)


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask and all that touches it."""
    return _highest(mask)


def _flooded(start: np.ndarray, allowed: np.ndarray, image: np.ndarray) -> np.ndarray:
    """What is reached from the start through what is allowed, by small steps of colour."""
    smooth = []
    for axis in (0, 1):
        before, after = _pairs(image, axis)
        smooth.append(np.abs(before - after).max(-1) <= STEP)
    reached, count = start.copy(), -1
    while count != (count := int(reached.sum())):
        for axis in (0, 1):
            before, after = _pairs(reached, axis)
            may_enter = _pairs(allowed, axis)
            forward, backward = before & smooth[axis] & may_enter[1], after & smooth[axis] & may_enter[0]
            after |= forward
            before |= backward
    return reached


def _specks(mask: np.ndarray) -> np.ndarray:
    """The parts of a mask that touch no other part and are too small to belong to it."""
    labels = np.arange(1, mask.size + 1).reshape(mask.shape) * mask
    while not np.array_equal(labels, grown := _highest(labels) * mask):
        labels = grown
    specks: np.ndarray = mask & (np.bincount(labels.ravel())[labels] < SPECK * mask.sum())
    return specks
