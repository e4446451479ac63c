"""How much memory a run takes, told before it begins. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .architectures import ARCHITECTURES, parameters
from .models import CHECKPOINTS, MODEL_SETS, Stage

# What a run was seen to take on a CPU is at most this: per token and channel of a batch, in float32 numbers.
_NUMBERS = 16
_AROUND = {"cpu": 350 << 20, "cuda": 600 << 20, "mps": 350 << 20}  # PyTorch itself, its kernels and buffers
_QUERIES = 4096  # that the decoder of the distance field sees at once


def memory_needed(name: str, count: int, device: str) -> int:
    """About how many bytes a run takes at its peak: all networks of the set, which stay, and one evaluation.

    Networks that are in memory already are counted, too.

    Parameters
    ----------
    name
        A model set.
    count
        Variants that are sampled together.
    device
        A torch device: its memory is meant.
    """
    models, kind = MODEL_SETS[name], device.partition(":")[0]
    held = sum(4 * parameters(part.architecture) for part in models.checkpoints)
    coarse = models.base_stage.points
    worked: int = max(
        _evaluation(models.base, models.base_stage, coarse, count, kind),
        _evaluation(
            models.upsample, models.upsample_stage, coarse + models.upsample_stage.points, count, kind
        ),
        4 * _NUMBERS * _QUERIES * _config(models.sdf)["width"],
    )
    # CLIP is published in half precision and lies in main memory twice while it is widened.
    widened = 0 if kind == "cuda" else 6 * parameters(CHECKPOINTS[models.clip].architecture)
    return max(held + worked, widened) + _AROUND.get(kind, _AROUND["cpu"])


def _evaluation(checkpoint: str, stage: Stage, points: int, count: int, device: str) -> int:
    """Bytes of the activations of one call of a denoiser, guided ones being twice as many."""
    config = _config(checkpoint)
    tokens: int = points + (256 if config["condition"] == "grid" else 2)
    batch: int = count * (1 if stage.guidance in (0.0, 1.0) else 2)
    # Metal holds the attention of every token to every other; the others take it block by block.
    scores: int = batch * config["heads"] * tokens**2 if device == "mps" else 0
    numbers: int = _NUMBERS * batch * tokens * config["width"] + scores
    return 4 * numbers


def _config(checkpoint: str) -> Mapping[str, Any]:
    return ARCHITECTURES[CHECKPOINTS[checkpoint].architecture].config
