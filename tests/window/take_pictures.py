"""The pictures of the documentation, taken anew in a real Blender: `python build.py pictures`.

window.py says what it needs. Pictures are cut to what is meant and stored under docs/pictures/.
"""

from __future__ import annotations

import shutil
import sys

import numpy as np
from PIL import Image

from tests.window.window import COMMAND, PACKAGES, ROOT, drive, prepare

TARGET = ROOT / "docs" / "pictures"
COLORS = 192
EDGES = 8, 24  # pixels at the left and at the right of a panel: its rim, its tabs and scroll bar
MARGIN = 8  # pixels that stay below the last thing in a panel


def main() -> int:
    """Take every picture; return an exit code."""
    if not COMMAND or not PACKAGES:
        print(
            "build.py: pictures are taken in a Blender with its window: say in POINTE_BLENDER how to start "
            "one, and in POINTE_PACKAGES where it finds PyTorch (see tests/window/window.py).",
            file=sys.stderr,
        )
        return 1
    folder = ROOT / "out" / "pictures"
    prepare(folder)
    shutil.copy(ROOT / "tests" / "data" / "chair.png", folder)
    TARGET.mkdir(exist_ok=True)
    for states in sys.argv[1:] or ("missing", "preferences", "work", "output"):
        report = drive(folder, "drive_docs.py", states, PACKAGES)
        for name, box in report["boxes"].items():
            path = TARGET / f"{name}.png"
            picture = cut(Image.open(folder / f"{name}.png").convert("RGB"), box)
            picture.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
            print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1000} kB")
    return 0


def cut(screen: Image.Image, box: dict[str, int]) -> Image.Image:
    """The part that is meant, without most of what is empty below its panel."""
    picture = screen.crop((box["left"], box["top"], box["right"], box["bottom"]))
    if "panel" not in box:
        return picture
    pixels = np.asarray(picture, dtype=np.int16)[:, box["panel"] - box["left"] + EDGES[0] : -EDGES[1]]
    empty = np.all(np.abs(pixels - pixels[-5, 0]) <= 2, axis=(1, 2))
    last = int(np.flatnonzero(~empty[:-4])[-1])
    return picture.crop((0, 0, picture.width, min(picture.height, max(box["least"], last + MARGIN))))


if __name__ == "__main__":
    sys.exit(main())
