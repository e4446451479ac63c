"""`python -m pointe_blender "a red chair" --output chair.ply`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main(sys.argv[1:]))
