"""Whether Blender can draw by OpenGL: where it cannot, it does not fail but ends, and all work with it."""

from __future__ import annotations

import ctypes
import functools
import sys

import bpy

_SURFACELESS = 0x31DD  # EGL_PLATFORM_SURFACELESS_MESA


@functools.cache
def available() -> bool:
    """Asked of EGL, which Blender needs on Linux when it has no window; other systems bring OpenGL."""
    if sys.platform != "linux" or not bpy.app.background:
        return True
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    for ask in (egl.eglGetDisplay, egl.eglGetPlatformDisplay):
        ask.restype = ctypes.c_void_p
    displays = (egl.eglGetDisplay(None), egl.eglGetPlatformDisplay(_SURFACELESS, None, None))
    return any(shown and egl.eglInitialize(ctypes.c_void_p(shown), None, None) for shown in displays)
