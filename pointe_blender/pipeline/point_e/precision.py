"""Half precision: where it pays, what of a network is computed in it, and whether it held.

Matrix products and attention are computed in it; the residual stream, the norms, and what embeds and reads
the points stay float32.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_COMPUTES = re.compile(r"(backbone|encoder|decoder)\.resblocks\.\d+\.(attn|mlp)\.")


def half_precision(device: str) -> str | None:
    """The half precision that is faster than float32 on a device and close to it; `None` where none is.

    float16 on a GPU; bfloat16 on a CPU with instructions for it, as one without only emulates them.
    """
    if device.startswith(("cuda", "mps")):
        return "float16"
    # The oldest PyTorch we work with cannot say.
    features: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bfloat16" if features.get("avx512_bf16") or features.get("amx_bf16") else None


def in_precision(name: str, tensor: Tensor, precision: str) -> Tensor:
    """A parameter as a network of this precision holds it; itself where nothing changes."""
    return tensor.to(getattr(torch, precision)) if _COMPUTES.match(name) else tensor


class OverflowWatch:
    """Whether anything watched was not finite: remembered on the device, asked for when there is time."""

    def __init__(self) -> None:
        self._seen: Tensor | None = None

    def watch(self, x: Tensor) -> Tensor:
        """`x` itself; the device never waits."""
        bad = x.isfinite().all().logical_not()
        self._seen = bad if self._seen is None else self._seen | bad
        return x

    def happened(self) -> bool:
        """Whether it did since the last time this was asked; waits for the device."""
        seen, self._seen = self._seen, None
        return seen is not None and bool(seen)
