"""Pictures of what is at hand: the render, the 3D View, the clipboard. All end as images of the file."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

import bpy
import numpy as np

from ..pipeline.errors import InvalidRequest
from . import references

VIEW_SIDE = 1024  # the longest side of a picture of the 3D View
_EMPTY = "There is no picture on the clipboard: copy one, or the path of a picture file."
_NO_READER = (
    "Pictures on this clipboard cannot be read: install xclip, or wl-clipboard on Wayland, "
    "or copy the path of a picture file."
)
# Programs that print the picture on the clipboard: on X11 Blender cannot read it itself.
_READERS = (
    ("wl-paste", "--type", "image/png"),
    ("xclip", "-selection", "clipboard", "-target", "image/png", "-out"),
)


def render(context: bpy.types.Context) -> bpy.types.Image:
    """The render result, through its view transform.

    Raises
    ------
    InvalidRequest
        Nothing was rendered yet.
    """
    result = next((image for image in bpy.data.images if image.type == "RENDER_RESULT"), None)
    if result is None:
        raise InvalidRequest("There is no render yet: render the scene first.")
    return references.keep(references.pixels(result), "RENDER", "Point-E Render")


def viewport(context: bpy.types.Context) -> bpy.types.Image:
    """What the 3D View shows, in its own shading, without overlays; its background becomes transparent.

    Raises
    ------
    InvalidRequest
        There is no 3D View, or nothing in it.
    """
    area = view3d(context)
    if area is None or bpy.app.background:
        raise InvalidRequest("There is no 3D View to take a picture of: open one.")
    shown = _drawn(context, area)
    if not shown[..., 3].any():
        raise InvalidRequest("There is nothing to see in the 3D View: turn it towards an object.")
    return references.keep(shown, "VIEWPORT", "Point-E View")


def clipboard(context: bpy.types.Context) -> bpy.types.Image:
    """The picture on the clipboard, or the one whose path is there.

    Raises
    ------
    InvalidRequest
        There is none.
    """
    if path := _copied_path(context.window_manager.clipboard):
        return references.load(path)
    image = _read_by_program() or _pasted(context)
    if image is None:
        blind = sys.platform == "linux" and not any(shutil.which(program) for program, *_ in _READERS)
        raise InvalidRequest(_NO_READER if blind else _EMPTY)
    try:
        return references.keep(references.pixels(image), "CLIPBOARD", "Point-E Clipboard")
    finally:
        bpy.data.images.remove(image)


def view3d(context: bpy.types.Context) -> bpy.types.Area | None:
    """The 3D View that the mouse is over, or the largest one."""
    if context.area and context.area.type == "VIEW_3D":
        return context.area
    areas = context.screen.areas if context.screen else ()
    views = [area for area in areas if area.type == "VIEW_3D"]
    return max(views, key=lambda area: area.width * area.height, default=None)


def _drawn(context: bpy.types.Context, area: bpy.types.Area) -> np.ndarray:
    """(H, W, 4) uint8 sRGB, straight alpha, of a 3D View drawn off screen."""
    import gpu

    space = area.spaces.active
    region = next(region for region in area.regions if region.type == "WINDOW")
    scale = min(1.0, VIEW_SIDE / max(region.width, region.height))
    width, height = (max(1, round(length * scale)) for length in (region.width, region.height))
    screen = gpu.types.GPUOffScreen(width, height)
    try:
        with _without_overlays(space), screen.bind():
            screen.draw_view3d(
                context.scene,
                context.view_layer,
                space,
                region,
                space.region_3d.view_matrix,
                space.region_3d.window_matrix,
                do_color_management=True,
                draw_background=False,
            )
            buffer = gpu.state.active_framebuffer_get().read_color(0, 0, width, height, 4, 0, "UBYTE")
    finally:
        screen.free()
    buffer.dimensions = width * height * 4
    shown = np.array(buffer, np.uint8).reshape(height, width, 4)[::-1]
    # Colours come multiplied by their alpha.
    colors = shown[..., :3] * (255.0 / np.maximum(shown[..., 3:], 1))
    return np.concatenate((colors.clip(0, 255).round().astype(np.uint8), shown[..., 3:]), -1)


@contextlib.contextmanager
def _without_overlays(space: bpy.types.SpaceView3D) -> Iterator[None]:
    usual = space.overlay.show_overlays
    space.overlay.show_overlays = False
    try:
        yield
    finally:
        space.overlay.show_overlays = usual


def _copied_path(text: str) -> Path | None:
    """The picture file that a clipboard's text is about: its path or address, perhaps in quotes."""
    text = text.strip().strip("\"'")
    if not text or "\n" in text:
        return None
    path = Path(unquote(urlparse(text).path) if text.startswith("file:") else text)
    return path if path.suffix.lower() in bpy.path.extensions_image else None


def _pasted(context: bpy.types.Context) -> bpy.types.Image | None:
    """A new image by Blender's own paste; none where it cannot.

    It wants an Image Editor, so an area is one for a moment, rather not the one with the button.
    """
    areas = list(context.screen.areas) if context.screen else []
    if not areas or bpy.app.background:
        return None
    area = next((area for area in areas if area != context.area), areas[0])
    known, usual = set(bpy.data.images), area.ui_type
    area.ui_type = "IMAGE_EDITOR"
    try:
        editor = area.spaces.active
        shown = editor.image
        with context.temp_override(area=area):
            if bpy.ops.image.clipboard_paste.poll():
                bpy.ops.image.clipboard_paste()
        editor.image = shown
    finally:
        area.ui_type = usual
    return next((image for image in bpy.data.images if image not in known), None)


def _read_by_program() -> bpy.types.Image | None:
    """A new image from the programs that X11 and Wayland have for it."""
    for command in _READERS:
        if not shutil.which(command[0]):
            continue
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(command, capture_output=True, timeout=5)
            if done.returncode == 0 and done.stdout:
                return _decoded(done.stdout)
    return None


def _decoded(data: bytes) -> bpy.types.Image | None:
    """A new image of a picture file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clipboard.png"
        path.write_bytes(data)
        image = bpy.data.images.load(str(path))
        image.pack()
    if 0 in image.size:
        bpy.data.images.remove(image)
        return None
    return image
