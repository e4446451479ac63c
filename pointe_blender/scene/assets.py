"""Objects for the Asset Browser: a preview picture, tags, and the prompt as description.

Blender's own previews are rendered in the background, which a Blender without a window never gets to; this
picture is there at once.
"""

from __future__ import annotations

import re

import bpy
import numpy as np

from ..pipeline import PointCloud
from ..pipeline.drawing import picture_of

SIZE = 256  # pixels along each side of a preview
MOST_TAGS = 12
SMALL_WORDS = {"and", "for", "from", "its", "the", "that", "with"}


def mark(thing: bpy.types.Object, cloud: PointCloud) -> None:
    """Mark an object made here as an asset.

    Parameters
    ----------
    cloud
        How it looks, in the pipeline's cube.
    """
    thing.asset_mark()
    prompt = thing["pointe_prompt"]
    thing.asset_data.description = prompt or f"Made from a picture: {thing.name}"
    for tag in tags(prompt, thing):
        thing.asset_data.tags.new(tag, skip_if_exists=True)
    preview = thing.preview_ensure()
    preview.image_size = SIZE, SIZE
    preview.image_pixels_float.foreach_set(_pixels(cloud).ravel())


def tags(prompt: str, thing: bpy.types.Object) -> list[str]:
    """What to find it by: where it comes from, what it is, and the words of the prompt."""
    kind = "mesh" if thing.type == "MESH" else "point cloud"
    words = [word for word in re.findall(r"[^\W\d_]{3,}", prompt.lower()) if word not in SMALL_WORDS]
    return list(dict.fromkeys(["Point-E", thing["pointe_models"], kind, *words]))[:MOST_TAGS]


def _pixels(cloud: PointCloud) -> np.ndarray:
    """(SIZE, SIZE, 4) float32 sRGB premultiplied with alpha, from the bottom row up."""
    picture = picture_of(cloud, SIZE) / np.float32(255)
    # Drawn black on white, what is not there stays white.
    there = picture_of(PointCloud(cloud.points, np.zeros_like(cloud.colors)), SIZE)[..., :1] == 0
    return np.concatenate((picture * there, there), axis=2, dtype=np.float32)[::-1]
