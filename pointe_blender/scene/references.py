"""Pictures of Blender's to arrays, and back: what a reference picture is made of, wherever it comes from."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..pipeline import pictures
from ..pipeline.colors import srgb
from ..pipeline.errors import InvalidRequest
from ..pipeline.framing import reduced

SOURCE = "pointe_source"  # custom property of the images that are made here: where they come from


def for_models(
    picture: Path | str | np.ndarray, models: str, crop: bool | None = None
) -> tuple[np.ndarray, str | None]:
    """A picture as a Request takes it, and the name of its image in this blend file.

    Parameters
    ----------
    picture
        A file, an image of this blend file by name, or (H, W, 3 or 4) uint8 sRGB, which is no image.
    models
        Name of the model set that will see it.
    crop
        Whether the object is cut out and centred; by default as the scene says.

    Raises
    ------
    InvalidRequest
        There is no such picture, or nothing in it.
    """
    crop = bpy.context.scene.pointe.crop if crop is None else crop
    if isinstance(picture, np.ndarray):
        return pictures.prepare(picture, models, crop).image, None
    image = load(picture) if isinstance(picture, Path) else _named(picture)
    return pictures.prepare(pixels(image), models, crop).image, image.name


def load(path: Path) -> bpy.types.Image:
    """The image of a file, the one in the blend file if it is there already.

    Raises
    ------
    InvalidRequest
        The file is missing or no picture.
    """
    if str(path) in ("", "."):
        raise InvalidRequest("No picture is chosen: choose a picture file.")
    whole = Path(bpy.path.abspath(str(path)))
    if not whole.is_file():  # Blender would complain on the console, too
        raise InvalidRequest(f"There is no file {path}: choose another picture.")
    known = set(bpy.data.images)
    try:
        image = bpy.data.images.load(str(whole), check_existing=True)
    except RuntimeError as error:
        raise InvalidRequest(f"There is no file {path} that can be read: choose another picture.") from error
    if 0 in image.size:
        if image not in known:
            bpy.data.images.remove(image)
        raise InvalidRequest(f"{path.name} is no picture that Blender can read: use PNG or JPEG.")
    return image


def pixels(image: bpy.types.Image) -> np.ndarray:
    """What an image shows: (H, W, 3) or, with transparency, (H, W, 4) uint8 sRGB, straight alpha.

    At most `pictures.MAX_SIDE` on a side, the first row at the top. The render result is taken as its view
    transform shows it.

    Raises
    ------
    InvalidRequest
        There is nothing in it: its file is missing, nothing was rendered, or it is a few pixels only.
    """
    if image.type == "RENDER_RESULT":
        with _settings_for_png(bpy.context.scene):
            return _bounded(_displayed(image, bpy.context.scene))
    width, height = image.size
    if 0 in (width, height):
        raise InvalidRequest(f"The file of {image.name} is missing or no picture: choose another picture.")
    if min(width, height) < pictures.MIN_SIDE:
        raise InvalidRequest(f"{image.name} is only {width} × {height} pixels: use a larger picture.")
    space = image.colorspace_settings
    known = _working_space() == "Linear Rec.709" if image.is_float else space.name == "sRGB"
    shown = _straight(_values(image), image) if known or space.is_data else _converted(image)
    return _bounded(pictures.upright(shown, _held(image)))


def keep(shown: np.ndarray, source: str, name: str) -> bpy.types.Image:
    """Store (H, W, 3 or 4) uint8 sRGB in the blend file, packed, in the place of the last of this source.

    One that objects were made from stays beside it, so that they can be made again.
    """
    height, width = shown.shape[:2]
    values = np.ones((height, width, 4), np.float32)
    values[..., : shown.shape[2]] = shown / np.float32(255.0)
    # A new image, because undo brings back datablocks but no pixels.
    image = bpy.data.images.new(name, width, height, alpha=True)
    image.pixels.foreach_set(values[::-1].ravel())
    image.update()
    image.pack()
    image[SOURCE] = source
    if old := _replaceable(source, image):
        old.user_remap(image)
        name = old.name
        bpy.data.images.remove(old)
        image.name = name
    return image


def _replaceable(source: str, but: bpy.types.Image) -> bpy.types.Image | None:
    """The image of this source that no object was made from."""
    made = {i for i in bpy.data.images if i.get(SOURCE) == source and not i.library} - {but}
    users = bpy.data.user_map(subset=made) if made else {}
    return next((i for i in made if not any(isinstance(u, bpy.types.Object) for u in users[i])), None)


def _named(name: str) -> bpy.types.Image:
    image = bpy.data.images.get(name)
    if image is None:
        lost = f"The picture {name} is not in this file any more" if name else "No picture is chosen"
        raise InvalidRequest(f"{lost}: choose one, or take the render, the view or the clipboard.")
    return image


def _values(image: bpy.types.Image) -> np.ndarray:
    """(H, W, 4) float32 as Blender holds them, the first row at the top: bytes / 255, or light."""
    width, height = image.size
    try:
        values = np.empty(width * height * image.channels, np.float32)
        image.pixels.foreach_get(values)
    except MemoryError as error:
        raise InvalidRequest(f"{image.name} has too many pixels: save it smaller.") from error
    values = values.reshape(height, width, image.channels)[::-1]
    if image.channels == 4:
        return values
    # One channel is grey, two are grey and alpha.
    colors = values[..., :3] if image.channels == 3 else values[..., :1].repeat(3, -1)
    alpha = values[..., 1:] if image.channels == 2 else np.ones((height, width, 1), np.float32)
    return np.concatenate((colors, alpha), -1)


def _straight(values: np.ndarray, image: bpy.types.Image) -> np.ndarray:
    """(H, W, 4) as Blender holds them -> uint8 sRGB, straight alpha; the values are used up."""
    if image.alpha_mode in ("NONE", "CHANNEL_PACKED"):
        values[..., 3] = 1.0
    if image.is_float:
        np.nan_to_num(values, copy=False, nan=0.0, posinf=1e6, neginf=0.0)
        values[..., 3:].clip(0.0, 1.0, out=values[..., 3:])
        if not image.colorspace_settings.is_data:
            if image.alpha_mode in ("STRAIGHT", "PREMUL"):  # light is held multiplied by its alpha
                values[..., :3] /= np.maximum(values[..., 3:], 1e-6)
            values[..., :3] = srgb(values[..., :3])
        values.clip(0.0, 1.0, out=values)
    values *= 255.0
    values += 0.5
    return values.astype(np.uint8)


def _held(image: bpy.types.Image) -> int:
    """How the camera was held, as `pictures.upright` takes it; what was painted on is as it is seen."""
    if image.file_format != "JPEG" or image.source != "FILE" or image.is_dirty:
        return 1
    if image.packed_file:
        return pictures.orientation(image.packed_file.data)
    try:
        with open(bpy.path.abspath(image.filepath, library=image.library), "rb") as file:
            return pictures.orientation(file.read(131072))
    except OSError:
        return 1  # Blender has read it before it went


def _bounded(shown: np.ndarray) -> np.ndarray:
    """Reduced to what the pipeline takes, without an alpha that says nothing."""
    if shown[..., 3].min() == 255:
        shown = shown[..., :3]
    return reduced(np.ascontiguousarray(shown), pictures.MAX_SIDE)


def _working_space() -> str:
    """The space of light in this file; before 5.0 there was one."""
    colorspace = getattr(bpy.data, "colorspace", None)
    return colorspace.working_space if colorspace else "Linear Rec.709"


def _converted(image: bpy.types.Image) -> np.ndarray:
    """An image in a colour space that only Blender's colour management knows, without a look of its own."""
    scene = bpy.data.scenes.new("Point-E conversion")
    try:
        scene.display_settings.display_device = "sRGB"
        scene.view_settings.view_transform = "Standard"
        scene.render.dither_intensity = 0.0
        with _settings_for_png(scene):
            return _displayed(image, scene)
    finally:
        bpy.data.scenes.remove(scene)


def _displayed(image: bpy.types.Image, scene: bpy.types.Scene) -> np.ndarray:
    """What the scene's colour management makes of an image, by way of a file: Blender offers no other."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "shown.png")
        try:
            image.save_render(path, scene=scene)
        except RuntimeError as error:
            if image.type == "RENDER_RESULT":
                raise InvalidRequest("There is no render yet: render the scene first.") from error
            raise InvalidRequest(
                f"The colours of {image.name} cannot be converted to sRGB: save it as PNG and choose that."
            ) from error
        file = bpy.data.images.load(path, check_existing=False)
        try:
            return _straight(_values(file), file)
        finally:
            bpy.data.images.remove(file)


@contextlib.contextmanager
def _settings_for_png(scene: bpy.types.Scene) -> Iterator[None]:
    """Save pictures with alpha and 8 bits, as they are displayed; afterwards as the artist had set it."""
    settings = scene.render.image_settings
    wanted: dict[str, Any] = {
        "media_type": "IMAGE",  # from 5.0 on, and before the format, which depends on it
        "file_format": "PNG",
        "color_mode": "RGBA",
        "color_depth": "8",
        "color_management": "FOLLOW_SCENE",
    }
    wanted = {name: value for name, value in wanted.items() if hasattr(settings, name)}
    usual = {name: getattr(settings, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(settings, name, value)
        yield
    finally:
        for name, value in usual.items():
            setattr(settings, name, value)
