"""A picture file to an array: whatever Pillow reads becomes 8-bit RGB or RGBA, upright, of bounded size.

And an array to what a model set wants to see.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from .errors import InvalidRequest, MissingPackage

if TYPE_CHECKING:
    from PIL import Image

    from .framing import Framed

MIN_SIDE = 8
MAX_SIDE = 2048  # far above what any CLIP sees, small enough to hold


def prepare(image: np.ndarray, models: str, crop: bool = True) -> Framed:
    """A picture as the models were trained to see it; what every driver does before it makes a Request.

    Parameters
    ----------
    image
        (H, W, 3 or 4) uint8 sRGB, straight alpha; anything else is left to `request.validate` to refuse.
    models
        Name of a model set; an unknown one is left to `generate` to refuse.
    crop
        Cut the object out, centre it and put it on the models' own background; otherwise the picture stays
        what it is.
    """
    from .framing import Framed, frame
    from .models import MODEL_SETS

    usable = image.ndim == 3 and image.shape[2] in (3, 4) and image.dtype == np.uint8 and image.size > 0
    if not (crop and usable and models in MODEL_SETS):
        return Framed(image)
    return frame(image, MODEL_SETS[models].background, MODEL_SETS[models].margin)


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


def orientation(data: bytes) -> int:
    """How a camera was held, from the start of a JPEG file: 1 to 8 as Exif counts; 1 if it does not say.

    Pillow knows by itself; Blender shows such pictures lying on their side.
    """
    place = data.find(b"Exif\0\0", 0, 4096) + 6
    if data[:2] != b"\xff\xd8" or place < 6:
        return 1
    tiff = data[place : place + 65536]
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(tiff[at : at + size], order)

    first = number(4, 4)
    for entry in range(first + 2, first + 2 + 12 * number(first, 2), 12):
        if number(entry, 2) == 0x0112:
            held = number(entry + 8, 2)
            return held if 1 <= held <= 8 else 1
    return 1


def upright(image: np.ndarray, held: int) -> np.ndarray:
    """Turn an (H, W, C) picture the way that `orientation` asks for."""
    if held >= 5:
        image = image.swapaxes(0, 1)
    if held in (2, 3, 6, 7):
        image = image[:, ::-1]
    if held in (3, 4, 7, 8):
        image = image[::-1]
    return image


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
