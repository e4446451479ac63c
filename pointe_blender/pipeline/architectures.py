"""Architectures: every kind of network there is, by name; no weights.

Nothing here imports torch until a network is built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

STARTER = Path(__file__).parent / "starter"  # the models that ship inside: weights and config.json
STARTER_CONFIG = json.loads((STARTER / "config.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Architecture:
    """A kind of network and the keyword arguments of its class."""

    kind: Literal["denoiser", "sdf", "local-sdf", "pointnet", "judge", "clip"]
    config: Mapping[str, Any] = field(default_factory=dict)


def _denoiser(width: int, layers: int, heads: int, **config: Any) -> Architecture:
    return Architecture("denoiser", {"width": width, "layers": layers, "heads": heads, **config})


_VECTOR = {"condition": "vector", "condition_dim": 768}
_GRID = {"condition": "grid", "condition_dim": 1024}
_COARSE = {
    "n_ctx": 3072,
    "low_res": True,
    "cond_ctx": 1024,
    "channel_scales": (2.0, 2.0, 2.0, 0.007843137255, 0.007843137255, 0.007843137255),
    "channel_biases": (0.0, 0.0, 0.0, -1.0, -1.0, -1.0),
}
_SDF = {
    "width": 256,
    "n_ctx": 4096,
    "encoder_layers": 8,
    "encoder_heads": 4,
    "decoder_layers": 4,
    "decoder_heads": 4,
}
_VIT_L_14 = {
    "embed_dim": 768,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": 24, "width": 1024, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 768, "heads": 12, "layers": 12},
}
_NETWORKS = STARTER_CONFIG["networks"]

ARCHITECTURES: dict[str, Architecture] = {
    "base40M-textvec": _denoiser(512, 12, 8, **_VECTOR),
    "base40M-imagevec": _denoiser(512, 12, 8, **_VECTOR),
    "base40M-uncond": _denoiser(512, 12, 8),
    "base40M": _denoiser(512, 12, 8, **_GRID),
    "base300M": _denoiser(1024, 24, 16, **_GRID),
    "base1B": _denoiser(2048, 24, 32, **_GRID),
    "upsample": _denoiser(512, 12, 8, **_GRID, **_COARSE),
    "sdf": Architecture("sdf", _SDF),
    "pointnet": Architecture("pointnet"),
    "clip-vit-l-14": Architecture("clip", _VIT_L_14),
    "starter-clip": Architecture("clip", _NETWORKS["clip"]),
    "starter-base": Architecture("denoiser", _NETWORKS["base"]),
    "starter-upsample": Architecture("denoiser", _NETWORKS["upsample"]),
    "starter-sdf": Architecture("local-sdf", _NETWORKS["sdf"]),
    "starter-judge": Architecture("judge", _NETWORKS["judge"]),
}


def build(name: str, device: str = "cpu") -> nn.Module:
    """Build a bare architecture in float32; its weights are random or, on "meta", absent.

    Parameters
    ----------
    name
        A key of `ARCHITECTURES`.
    device
        A torch device; "meta" takes neither memory nor time.
    """
    import torch

    from .skeletons import without_values

    architecture = ARCHITECTURES[name]
    with without_values() if device == "meta" else torch.device(device):
        match architecture.kind:
            case "denoiser":
                from .point_e.transformer import PointDiffusionTransformer

                return PointDiffusionTransformer(**architecture.config)
            case "sdf":
                from .point_e.sdf import PointCloudSDF

                return PointCloudSDF(**architecture.config)
            case "local-sdf":
                from .starter.distance import LocalSDF

                return LocalSDF(**architecture.config)
            case "pointnet":
                from .metrics.pointnet import PointNet

                return PointNet(**architecture.config)
            case "judge":
                from .starter.judge import JudgeNetwork

                return JudgeNetwork(**architecture.config)
            case "clip":
                from .conditioning import build_network

                return build_network(architecture.config)


def parameters(name: str) -> int:
    """How many numbers a network learns, counted without building it."""
    architecture = ARCHITECTURES[name]
    config = architecture.config
    match architecture.kind:
        case "denoiser":
            return _of_denoiser(**config)
        case "sdf":
            width: int = config["width"]
            cross: int = config["decoder_layers"] * (12 * width**2 + 15 * width)
            return _of_blocks(width, config["encoder_layers"]) + cross + 11 * width + 1
        case "local-sdf":
            return _of_local_sdf(**config)
        case "pointnet":
            return 5_859_496
        case "judge":
            return _of_judge(**config)
        case "clip":
            return _of_clip(config["embed_dim"], config["vision_cfg"], config["text_cfg"])


def _of_local_sdf(width: int, layers: int, frequencies: int, **_: object) -> int:
    waves = 3 + 6 * frequencies
    return _of_blocks(width, layers) + 3 * width**2 + 2 * waves * width + 10 * width + 2


def _of_judge(width: int, features: int, kinds: int, colors: int) -> int:
    alone, beside = 2 * width**2 + 13 * width, 2 * width * features + features**2 + 2 * features
    return alone + beside + features**2 + 3 * features + (features + 1) * (kinds + colors)


def _of_blocks(width: int, layers: int) -> int:
    """Self-attention, MLP and the two norms before them."""
    return layers * (12 * width**2 + 13 * width)


def _of_denoiser(
    width: int,
    layers: int,
    *,
    input_channels: int = 6,
    output_channels: int = 12,
    condition: str | None = None,
    condition_dim: int = 0,
    low_res: bool = False,
    **_: object,
) -> int:
    around = 8 * width**2 + 9 * width + output_channels * (width + 1)  # time, norms, the way out
    points = (input_channels + 1) * width * (2 if low_res else 1)
    seen = (condition_dim + 1) * width if condition else 0
    norm = 2 * condition_dim if condition == "grid" else 0
    return _of_blocks(width, layers) + around + points + seen + norm


def _of_clip(out: int, vision: Mapping[str, Any], text: Mapping[str, Any]) -> int:
    width, patch = vision["width"], vision["patch_size"]
    cells = (vision["image_size"] // patch) ** 2
    eye: int = _of_blocks(width, vision["layers"]) + width * (3 * patch**2 + cells + 2 + 4 + out)
    words = text["vocab_size"] + text["context_length"]
    reader: int = _of_blocks(text["width"], text["layers"]) + text["width"] * (words + 2 + out)
    return eye + reader + 1  # and the scale of the logits
