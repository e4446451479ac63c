"""How alike pictures are, such as renders of a mesh and of the cloud that it was made from."""

from __future__ import annotations

import numpy as np

PEAK = 255


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio: 10 log₁₀(255² / mean squared error), over all pixels and channels.

    The background counts, so that figures compare between pictures of the same framing only; what is
    transparent has to lie on the same colour in both.

    Parameters
    ----------
    a, b
        (H, W, 3) uint8, sRGB as stored.

    Returns
    -------
    float
        In decibels, from 0 (black against white) up, and the higher the better; inf for equal pictures.

    Raises
    ------
    ValueError
        The pictures differ in size.
    """
    if a.shape != b.shape:
        raise ValueError(f"Pictures of {a.shape} and {b.shape} cannot be compared.")
    error = np.mean(np.square(a.astype(np.float64) - b))
    return float(10 * np.log10(PEAK**2 / error)) if error else float("inf")


def mean_psnr(a: np.ndarray, b: np.ndarray) -> float:
    """The mean of `psnr` over the views of two things, say of a mesh and of its cloud.

    Both are seen by the same cameras, in the same light and before the same background.

    Parameters
    ----------
    a, b
        (V, H, W, 3) uint8, sRGB as stored, view by view of the same camera.

    Returns
    -------
    float
        In decibels, and the higher the better; inf where a view of both is equal.

    Raises
    ------
    ValueError
        The pictures differ in size or number.
    """
    return float(np.mean([psnr(of_a, of_b) for of_a, of_b in zip(a, b, strict=True)]))
