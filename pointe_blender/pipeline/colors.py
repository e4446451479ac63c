"""sRGB, which pictures, clouds and files have, and linear light, in which Blender computes."""

from __future__ import annotations

import numpy as np


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] to linear light (IEC 61966-2-1), float32."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def srgb(light: np.ndarray) -> np.ndarray:
    """The inverse of `linear`; light outside [0, 1] is clipped."""
    light = np.clip(light, 0.0, 1.0)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return encoded.astype(np.float32)
