"""Networks whose weights are drawn from the names of their tensors, so that two programs hold the same."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor, nn

from pointe_blender.pipeline import models


def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of this name: normal numbers seeded by it, at the scale that suits its part in a network."""
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    if leaf == "running_var":
        values = 1 + 0.1 * np.abs(values)
    elif leaf == "weight" and len(shape) == 1:
        values = 1 + 0.1 * values
    elif leaf in ("running_mean", "bias") or leaf.endswith("_bias") or len(shape) < 2:
        values = 0.1 * values
    else:
        values = values / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def built(name: str) -> nn.Module:
    """The released architecture with weights from names, never twice in memory."""
    # CLIP also holds a mask that is no part of its state; it is small enough to be built first.
    network = models.build(name, "cpu" if name == "clip-vit-l-14" else "meta")
    configured = models.ARCHITECTURES[name].config
    state = {
        key: torch.tensor(configured[key]) if key in configured else drawn(key, tuple(value.shape))
        for key, value in network.state_dict().items()
    }
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def normal(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Normal numbers (float32) of a seed."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))
