"""Weights for the released architectures, drawn from the names of their tensors, in a models folder.

What a network computes with them means nothing, and takes as long as with the released ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from safetensors.torch import save_file

from pointe_blender.pipeline.models import ARCHITECTURES, CHECKPOINTS, MODEL_SETS, ModelSet
from pointe_blender.pipeline.point_e.precision import half_precision
from pointe_blender.pipeline.schedules import stage_of
from pointe_blender.pipeline.weights import Folders
from tests.drawn import built


def models_folder(sets: Iterable[str], path: Path) -> Folders:
    """A folder with every checkpoint of these sets that does not ship inside the package."""
    names = {part.name for name in sets for part in MODEL_SETS[name].checkpoints if not part.packaged}
    for name in sorted(names):
        architecture = CHECKPOINTS[name].architecture
        network = built(architecture)
        if ARCHITECTURES[architecture].kind == "clip":
            network.half()  # as published
        save_file(network.state_dict(), path / f"{name}.safetensors")
    return Folders(path, online=False)


def precision(models: ModelSet, stage: Literal["base", "upsample"], device: str, quality: str) -> str:
    """What a stage's network is held in at a quality: half precision if it is used at all."""
    half = half_precision(device) if stage_of(models, stage, quality).half_below else None
    return half or "float32"
