"""Point-E in Blender: a prompt or a picture becomes a coloured point cloud and a mesh.

Importing this package imports neither bpy nor torch; `pointe_blender.pipeline` never needs bpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    import bpy
    import numpy as np


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from . import addon

    addon.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled or Blender quits."""
    from . import addon

    addon.unregister()


def generate(
    prompt: str | None = None,
    *,
    image: str | Path | np.ndarray | None = None,
    models: str = "starter",
    seed: int = 0,
    output: Literal["cloud", "mesh", "both"] = "both",
    quality: Literal["fast", "high", "exact"] = "fast",
    **settings: Any,
) -> list[bpy.types.Object]:
    """Make objects in Blender's current scene; waits until they are there.

    Parameters
    ----------
    prompt
        What to make, such as "a red chair".
    image
        Make it from a picture instead: a file, the name of an image in the blend file, or an
        (H, W, 3 or 4) uint8 sRGB array.
    models
        Name of a model set.
    seed
        Equal seeds give equal objects; of several variants each has a seed of its own, from this one on.
    output
        What to make of it.
    quality
        "fast": as good as "exact" in a fraction of the time; the same seed may give another object.
        "high": what a seed leads to when the process is worked out precisely.
        "exact": OpenAI's released procedure step by step, for results equal to the official program's.
    **settings
        Further fields of `pipeline.Request`: count, steps, guidance, points, resolution, device.

    Returns
    -------
    The new objects, selected: of each variant, the best first, the mesh, then the cloud.

    Raises
    ------
    pipeline.errors.PointEError
        With a sentence that says what is wrong and what to do.
    """
    from .operators.generate import generate_now

    fields = {"models": models, "seed": seed, "output": output, "quality": quality, **settings}
    return generate_now(prompt, image, **fields)
