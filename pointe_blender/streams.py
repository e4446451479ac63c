"""Standard output for what was asked for, whatever else Blender prints there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def prints_aside() -> Iterator[None]:
    """Let everything, Python and C alike, print to standard error meanwhile."""
    sys.stdout.flush()
    usual = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(usual, 1)
        os.close(usual)
