"""The colours of a texture at the vertices, for readers of files that have no others."""

from __future__ import annotations

import io
from importlib.util import find_spec

import numpy as np


def texels(image: bytes, places: np.ndarray) -> np.ndarray:
    """The pixels of a picture at texture coordinates; the picture repeats beyond its edges.

    Parameters
    ----------
    image
        A file that Pillow reads. Without Pillow all is white: nothing that looks at colours runs without it.
    places
        (N, 2) float; 0, 0 is the upper left corner, 1, 1 the lower right one.

    Returns
    -------
    (N, 3) float32 sRGB in [0, 1].

    Raises
    ------
    ValueError
        Pillow cannot read the picture.
    """
    if find_spec("PIL") is None:
        return np.ones((len(places), 3), np.float32)
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image)) as picture:
            pixels = np.asarray(picture.convert("RGB"), np.float32) / 255
    except OSError as error:  # so Pillow calls what it cannot read
        raise ValueError("a texture is no picture") from error
    height, width = pixels.shape[:2]
    column, row = (np.floor(places * (width, height)).astype(np.int64) % (width, height)).T
    found: np.ndarray = pixels[row, column]
    return found
