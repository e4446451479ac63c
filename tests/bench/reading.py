"""What comes before sampling, in a warm process: loading networks, reading prompts and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count

import numpy as np

from pointe_blender.pipeline import memory, weights
from pointe_blender.pipeline.conditioning import Clip
from pointe_blender.pipeline.models import ARCHITECTURES, CHECKPOINTS, MODEL_SETS
from pointe_blender.pipeline.weights import Folders

from .generations import QUALITIES, STAGES
from .networks import precision
from .table import Row
from .timing import median_seconds


def loads(name: str, device: str, folders: Folders, times: int) -> Iterator[Row]:
    """Each network of a set from its file in the system's cache, in the precisions it is used in."""
    models = MODEL_SETS[name]
    used = [(models.sdf, "float32")]
    for stage in STAGES:
        used += [(getattr(models, stage), precision(models, stage, device, quality)) for quality in QUALITIES]
    for part, held in dict.fromkeys(sorted(used)):
        load = partial(weights.load, part, device, folders, held)
        yield Row("Load", f"{part}, {held}", name, device, "", median_seconds(load, device, times))


def clip(name: str, device: str, folders: Folders, times: int) -> Iterator[Row]:
    """CLIP's vectors, and its grid where a base model sees that; once with the loading before it."""
    models = MODEL_SETS[name]
    size = ARCHITECTURES[CHECKPOINTS[models.clip].architecture].config["vision_cfg"]["image_size"]
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    numbers = count()

    def model() -> Clip:
        return Clip.load(models.clip, device, folders)

    looks = {"image vector": lambda: model().image([image])}
    if "text" in models.takes:  # a new prompt each time, as an old one is remembered
        looks = {"text vector": lambda: model().text([f"chair {next(numbers)}"]), **looks}
    if models.condition == "grid":
        looks["image grid"] = lambda: model().grid([image])
    for what, look in looks.items():
        yield Row("CLIP", what, name, device, "", median_seconds(look, device, times))
    first = next(iter(looks))

    def anew() -> None:
        memory.forget(models.clip)
        looks[first]()

    yield Row(
        "CLIP", f"{first}, its tower loaded for it", name, device, "", median_seconds(anew, device, times)
    )
    memory.unload()
