"""One thing of a batch: what to make, how its files are called, and how to tell whether it has changed."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..formats import wanted
from ..pipeline.errors import InvalidRequest
from .outputs import Style

if TYPE_CHECKING:
    import numpy as np

    from ..pipeline.request import Request

LONGEST = 100  # bytes of a name that is made from a prompt; file systems take 255 with all that is added
TOGETHER = 8  # things that differ in the seed alone and are made in one run
# Windows knows devices by these names, whatever comes behind a dot.
DEVICES = {"con", "prn", "aux", "nul", *(f"{kind}{i}" for kind in ("com", "lpt") for i in range(10))}


@dataclass(frozen=True)
class Item:
    """What to make.

    Attributes
    ----------
    line
        Where it stands in the prompts file.
    name
        Of its files, without their endings.
    formats
        The endings, such as (".glb", ".usd").
    prompt, image
        One of them; the image is a file.
    models, seed, count, quality, steps, guidance, resolution, points
        As in `Request`.
    """

    line: int = 0
    name: str = ""
    formats: tuple[str, ...] = (".glb",)
    prompt: str | None = None
    image: Path | None = None
    models: str = "starter"
    seed: int = 0
    count: int = 1
    quality: Literal["fast", "high", "exact"] = "fast"
    steps: int | None = None
    guidance: float | None = None
    resolution: int | None = None
    points: int | None = None

    @property
    def stems(self) -> list[str]:
        """A file name for each variant."""
        return [self.name] if self.count == 1 else [f"{self.name}-{i + 1}" for i in range(self.count)]


@dataclass(frozen=True)
class Manner:
    """What holds for every item.

    Attributes
    ----------
    device
        As in `Request`.
    crop
        Whether the object is cut out of a picture.
    style
        How files are written.
    """

    device: str = "auto"
    crop: bool = True
    style: Style = field(default_factory=Style)


def request(item: Item, manner: Manner, image: np.ndarray | None = None) -> Request:
    """What the pipeline is asked for; `image` is the item's picture as the models are to see it."""
    from ..pipeline.request import Request

    return Request(
        prompt=item.prompt,
        image=image,
        models=item.models,
        seed=item.seed,
        count=item.count,
        output=wanted(item.formats),
        quality=item.quality,
        steps=item.steps,
        guidance=item.guidance,
        resolution=item.resolution,
        points=item.points,
        device=manner.device,
    )


def check(item: Item) -> None:
    """Refuse what can be refused without computing anything or reading the picture.

    Raises
    ------
    InvalidRequest
        With what is wrong and what to do.
    """
    from ..pipeline.plan import chosen
    from ..pipeline.request import validate

    if (item.prompt is None) == (item.image is None):
        both = "neither a prompt nor an image" if item.prompt is None else "both a prompt and an image"
        raise InvalidRequest(f"There is {both}: give one of them.")
    validate(request(replace(item, prompt="a picture" if item.prompt is None else item.prompt), Manner()))
    if item.image is not None and not item.image.is_file():
        raise InvalidRequest(f"There is no file {item.image}: choose another picture.")
    chosen(item.models, "text" if item.image is None else "image")
    check_name(item.name)


def check_name(name: str) -> None:
    """Refuse a name that is not one file's on every system.

    Raises
    ------
    InvalidRequest
    """
    forbidden = [
        letter for letter in name if letter in '/\\:*?"<>|' or unicodedata.category(letter)[0] == "C"
    ]
    device = name.partition(".")[0].strip().casefold() in DEVICES
    if forbidden or device or not name.strip() or name[0] in ". " or name[-1] in ". ":
        raise InvalidRequest(f"The name {name!r} cannot be that of a file: use letters, digits and hyphens.")
    if len(name.encode()) > 2 * LONGEST:
        raise InvalidRequest(f"The name {name[:20]}… is too long: use {2 * LONGEST} bytes at most.")


def slug(text: str) -> str:
    """A prompt as a file name: "A red chair!" becomes "a-red-chair", of whatever script."""
    name = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", text).casefold()).strip("-")
    if name and len(name.encode()) <= LONGEST and name not in DEVICES:
        return name
    short = name.encode()[: LONGEST - 9].decode(errors="ignore").strip("-")
    return f"{short}-{hashlib.sha256(text.encode()).hexdigest()[:8]}".lstrip("-")


def digest(item: Item, manner: Manner) -> str:
    """Tells whether an item is still the one that was made: everything that its files depend on.

    Raises
    ------
    OSError
        The picture cannot be read.
    """
    asked: dict[str, Any] = asdict(item) | {"finish": dict(manner.style.finish)}
    del asked["line"], asked["name"]
    if item.quality == "exact":
        del asked["quality"]  # all that was made before there was a choice was exact, and stays finished
    if item.image is not None:
        with open(item.image, "rb") as file:
            asked |= {"image": hashlib.file_digest(file, "sha256").hexdigest(), "crop": manner.crop}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def together(items: Sequence[Item]) -> list[tuple[Item, ...]]:
    """Items in the order in which they are made, those that one run can make side by side.

    Model sets follow each other, so that each is loaded once. What is grouped depends on the items alone,
    never on what was made before: what comes out of a run may depend, in its last digits, on what is made
    beside it.
    """
    families: dict[Item, list[Item]] = {}
    for item in items:
        alike = replace(item, line=0, name="", seed=0) if item.count == 1 else item
        families.setdefault(alike, []).append(item)
    groups: list[tuple[Item, ...]] = []
    for family in families.values():
        group: list[Item] = []
        for item in sorted(family, key=lambda item: (item.seed, item.line)):
            if group and (item.seed != group[-1].seed + 1 or len(group) == TOGETHER):
                groups.append(tuple(group))
                group = []
            group.append(item)
        groups.append(tuple(group))
    order = list(dict.fromkeys(item.models for item in items))
    return sorted(groups, key=lambda group: (order.index(group[0].models), group[0].line))
