"""How much memory a run takes, told before it begins. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from .architectures import ARCHITECTURES, parameters
from .models import CHECKPOINTS, MODEL_SETS, ModelSet
from .schedules import stage_of

# What was seen to be taken on a CPU is at most this, in float32 numbers.
_STREAM = 11  # per token and channel: the stream, its queries, keys and values, what attention makes of them
_HIDDEN = {"cpu": 3 * 2**21, "cuda": 2**27, "mps": 2**27}  # what an MLP and a matrix product hold at a time
_SCORES = {"cpu": 0, "cuda": 0, "mps": 2**26}  # those between tokens, where they are not kept in caches
_QUERIES = 2**12  # of the distance field, seen at once
_AROUND = {"cpu": 400 << 20, "cuda": 600 << 20, "mps": 400 << 20}  # bytes: PyTorch, its kernels and buffers


class _Need(NamedTuple):
    """Bytes that a part of a run takes for as long as its network is held, and besides while it computes."""

    kept: int
    passing: int


def memory_needed(name: str, count: int, device: str, quality: str = "fast", held: bool = True) -> int:
    """About how many bytes a run takes at its peak.

    Networks that are in memory already are counted, too.

    Parameters
    ----------
    name
        A model set.
    count
        Variants: a GPU samples them together, a CPU one after the other.
    device
        A torch device: its memory is meant.
    quality
        "exact", "high" or "fast".
    held
        Whether all networks of the set stay in memory, or each makes room for the next.
    """
    models, kind = MODEL_SETS[name], device.partition(":")[0]
    batch = 1 if kind == "cpu" else count
    parts = [
        _clip(models, count),
        _sampling(models, "base", batch, kind, quality),
        _sampling(models, "upsample", batch, kind, quality),
        _distances(models, kind),
    ]
    if held:
        return _AROUND[kind] + sum(part.kept for part in parts) + max(part.passing for part in parts)
    return _AROUND[kind] + max(part.kept + part.passing for part in parts)


def evaluation_needed(architecture: str, batch: int, tokens: int, device: str) -> int:
    """About how many bytes one evaluation of a denoiser takes besides its weights.

    Parameters
    ----------
    architecture
        A key of `ARCHITECTURES`.
    batch
        Sequences that it computes together.
    tokens
        Length of a sequence.
    device
        A torch device, without number.
    """
    config = ARCHITECTURES[architecture].config
    return _computed(batch * tokens * config["width"], batch * config["heads"] * tokens**2, device)


def _clip(models: ModelSet, count: int) -> _Need:
    """The tower that a prompt or a picture needs; variants are ranked by how they look."""
    architecture = CHECKPOINTS[models.clip].architecture
    config = ARCHITECTURES[architecture].config
    text = config["text_cfg"]
    words = text["vocab_size"] + text["context_length"] + config["embed_dim"]
    reads = _matrices(text) + words * text["width"]
    looks = parameters(architecture) - reads
    used = reads * ("text" in models.takes) + looks * ("image" in models.takes or count > 1)
    return _Need(4 * used, 0)


def _sampling(
    models: ModelSet, name: Literal["base", "upsample"], batch: int, device: str, quality: str
) -> _Need:
    """A denoiser in the precisions that it is used in, and one evaluation of it."""
    stage = stage_of(models, name, quality)
    architecture = CHECKPOINTS[models.base if name == "base" else models.upsample].architecture
    config = ARCHITECTURES[architecture].config
    weights, halved = 4 * parameters(architecture), 2 * _matrices(config)
    if stage.half_below and device != "cpu":
        weights -= halved
    elif 0 < stage.half_below <= stage.sigma_max:
        weights += halved  # below that level alone: both are there
    grid, guided = config["condition"] == "grid", stage.guided
    seen = stage.points + (models.base_stage.points if config.get("low_res") else 0)
    seen += 256 if grid and stage.conditioned else 2
    # Of a grid nothing but one token is left without condition: too unlike to share a batch.
    computed = evaluation_needed(architecture, 2 * batch if guided and not grid else batch, seen, device)
    # CUDA graphs keep the memory of what they have recorded: either branch, or both together and one alone.
    recorded = computed * (2 if guided else 1) if device == "cuda" else 0
    return _Need(weights + recorded, computed)


def _distances(models: ModelSet, device: str) -> _Need:
    """The network of the distance field, a cloud as it reads it, and a batch of queries."""
    architecture = CHECKPOINTS[models.sdf].architecture
    config = ARCHITECTURES[architecture].config
    width, seen = config["width"], config["n_ctx"]
    field = 4 * models.resolution**3 if device == "cpu" else 0
    if ARCHITECTURES[architecture].kind == "local-sdf":  # every query has channels for each of its neighbours
        encoded = 4 * seen * (width + 3)
        computed = 4 * _QUERIES * (seen + 5 * config["neighbours"] * width)
    else:
        scores = config["decoder_heads"] * max(seen, _QUERIES) * seen
        encoded = 2 * 4 * config["decoder_layers"] * seen * width
        computed = _computed(max(seen, _QUERIES) * width, scores, device)
    return _Need(4 * parameters(architecture), computed + encoded + field)


def _computed(numbers: int, scores: int, device: str) -> int:
    """Bytes of the activations of a transformer whose stream has so many numbers."""
    return 4 * (_STREAM * numbers + min(8 * numbers, _HIDDEN[device]) + min(2 * scores, _SCORES[device]))


def _matrices(config: Mapping[str, Any]) -> int:
    """Numbers in the blocks' matrices: of a transformer, nearly all."""
    count: int = 12 * config["layers"] * config["width"] ** 2
    return count
