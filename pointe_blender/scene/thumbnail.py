"""What the models will see of the chosen picture, as an icon that is made when something changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import bpy
import bpy.utils.previews

from ..setup.chores import redraw

if TYPE_CHECKING:
    import numpy as np

SIDE = 192  # pixels
KEPT = 8  # pictures, so that windows with different scenes do not take turns

Key = tuple[int, bool, str]  # the image's session_uid, whether it is cropped, for which models


class Thumbnail(NamedTuple):
    """An icon, and what there is to say about it."""

    icon: int
    notice: str


_previews: Any = None  # Blender's collection of icons, there from the first picture on
_made: dict[Key, Thumbnail] = {}
_wanted: set[str] = set()  # names of scenes whose thumbnail was to be drawn and is not there


def of(scene: bpy.types.Scene) -> Thumbnail | None:
    """The thumbnail of the scene's picture if it is made already; otherwise it will be, and shows itself."""
    key = _key(scene)
    if key is None:
        return None
    if key not in _made:
        _wanted.add(scene.name)  # drawing must neither take long nor change anything
        if not bpy.app.timers.is_registered(_make_wanted):
            bpy.app.timers.register(_make_wanted, first_interval=0.0)
    return _made.get(key)


def show(scene: bpy.types.Scene) -> None:
    """Make the thumbnail of the scene's picture as it is now."""
    key = _key(scene)
    if key is None:
        return
    global _previews
    _previews = _previews or bpy.utils.previews.new()
    while len(_made) >= KEPT:
        _forget(next(iter(_made)))
    _forget(key)
    shown, notice = _seen(scene.pointe)
    icon = 0
    if shown is not None:
        preview = _previews.new(str(key))
        preview.image_size = (shown.shape[1], shown.shape[0])
        preview.image_pixels_float.foreach_set(_upside_down(shown))
        icon = preview.icon_id
    _made[key] = Thumbnail(icon, notice)
    redraw()


def forget_all() -> None:
    """Give the icons back to Blender."""
    global _previews
    if bpy.app.timers.is_registered(_make_wanted):
        bpy.app.timers.unregister(_make_wanted)
    _made.clear()
    _wanted.clear()
    if _previews:
        bpy.utils.previews.remove(_previews)
        _previews = None


def _make_wanted() -> None:
    """Called by a timer."""
    scenes = [scene for scene in bpy.data.scenes if scene.name in _wanted]
    _wanted.clear()
    for scene in scenes:
        show(scene)


def _forget(key: Key) -> None:
    if _made.pop(key, None) and str(key) in _previews:
        del _previews[str(key)]


def _key(scene: bpy.types.Scene) -> Key | None:
    settings = scene.pointe
    if settings.picture is None:
        return None
    return settings.picture.session_uid, settings.crop, settings.models


def _seen(settings: bpy.types.PropertyGroup) -> tuple[np.ndarray | None, str]:
    """(S, S, 3) uint8 as the models get it, and what there is to say about it."""
    from ..pipeline import framing, pictures
    from ..pipeline.errors import InvalidRequest
    from . import references

    try:
        framed = pictures.prepare(references.pixels(settings.picture), settings.models, settings.crop)
    except InvalidRequest as error:
        return None, str(error)
    return framing.reduced(framing.middle(framed.image), SIDE), framed.notice


def _upside_down(shown: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> the float32 RGBA of a preview, whose first row is at the bottom."""
    import numpy as np

    values = np.ones((*shown.shape[:2], 4), np.float32)
    values[..., :3] = shown[::-1] / np.float32(255.0)
    return values.ravel()
