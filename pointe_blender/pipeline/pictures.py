"""A picture file to an array: whatever Pillow reads becomes 8-bit RGB or RGBA, upright, of bounded size."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .errors import InvalidRequest, MissingPackage

if TYPE_CHECKING:
    from PIL import Image

MIN_SIDE = 8
MAX_SIDE = 2048  # far above what any CLIP sees, small enough to hold


def load_image(path: str | Path) -> np.ndarray:
    """Read a picture.

    Parameters
    ----------
    path
        Any format that Pillow knows; of an animation the first frame.

    Returns
    -------
    (H, W, 3) or, with transparency, (H, W, 4) uint8 sRGB with straight alpha; at most 2048 on a side.

    Raises
    ------
    InvalidRequest
        The file is missing, is not a picture, is damaged, or is too small or too large.
    MissingPackage
        Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackage("Reading a picture needs Pillow: install PyTorch, which brings it.") from error
    path = Path(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns well before it refuses; up to there the picture is simply reduced.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return _decode(picture, path.name)
    except InvalidRequest:
        raise
    except FileNotFoundError as error:
        raise InvalidRequest(f"There is no file {path}: choose another picture.") from error
    except (PermissionError, IsADirectoryError) as error:
        raise InvalidRequest(f"{path} cannot be opened: choose another picture.") from error
    except Image.UnidentifiedImageError as error:
        raise InvalidRequest(f"{path.name} is not a picture that can be read: use PNG or JPEG.") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise InvalidRequest(f"{path.name} has too many pixels: save it smaller.") from error
    except Exception as error:  # damage shows as any class there is, SyntaxError among them
        raise InvalidRequest(f"{path.name} is damaged: save it again or use another picture.") from error


def _decode(picture: Image.Image, name: str) -> np.ndarray:
    """Decode, turn upright, reduce and convert an opened picture."""
    from PIL import Image, ImageOps

    width, height = picture.size
    if min(width, height) < MIN_SIDE:
        raise InvalidRequest(
            f"{name} is only {width} × {height} pixels: use a picture of at least {MIN_SIDE} × {MIN_SIDE}."
        )
    picture.draft(picture.mode, (MAX_SIDE, MAX_SIDE))  # a JPEG is decoded at a fraction of its size
    picture.load()
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(_eight_bits(np.asarray(picture)))
    transparent = picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info
    picture = picture.convert("RGBA" if transparent else "RGB")
    if max(picture.size) > MAX_SIDE:
        scale = MAX_SIDE / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.array(picture)


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Greyscale of 16 or 32 bits, or float in [0, 1], to uint8."""
    if np.issubdtype(values.dtype, np.floating):
        return (np.nan_to_num(values).clip(0.0, 1.0) * 255.0).round().astype(np.uint8)
    return (values.clip(0, 65535) / 257.0).round().astype(np.uint8)
