"""What exists: architectures, checkpoints with their sources, and the sets that work together.

Facts only; files are the business of `weights`. Nothing here imports torch until a network is built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import nn

STARTER = Path(__file__).parent / "starter"  # the models that ship inside: weights and config.json


@dataclass(frozen=True)
class Architecture:
    """A kind of network and the keyword arguments of its class."""

    kind: Literal["denoiser", "sdf", "pointnet", "clip"]
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
_STARTER = json.loads((STARTER / "config.json").read_text(encoding="utf-8"))
_NETWORKS = _STARTER["networks"]

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
    "starter-sdf": Architecture("sdf", _NETWORKS["sdf"]),
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

    architecture = ARCHITECTURES[name]
    with torch.device(device):
        match architecture.kind:
            case "denoiser":
                from .point_e.transformer import PointDiffusionTransformer

                return PointDiffusionTransformer(**architecture.config)
            case "sdf":
                from .point_e.sdf import PointCloudSDF

                return PointCloudSDF(**architecture.config)
            case "pointnet":
                from .metrics.pointnet import PointNet

                return PointNet(**architecture.config)
            case "clip":
                from .conditioning import build_network

                return build_network(architecture.config)


class HubFile(NamedTuple):
    """A file on the Hugging Face Hub."""

    repo: str
    repo_type: Literal["model", "dataset", "space"]
    path: str


@dataclass(frozen=True)
class Checkpoint:
    """Weights for one architecture, and where they come from.

    Attributes
    ----------
    file
        Its name at the source, and in a folder of the user's.
    megabytes
        About how large the download is.
    urls, hub
        Sources, tried in this order; both empty when it ships inside the package.
    size, sha256
        Exact bytes and hash of the file, `None` where nobody published them.
    key
        Where the state dict lies inside the file; `None`: the file is one.
    """

    name: str
    architecture: str
    file: str
    megabytes: int
    urls: tuple[str, ...] = ()
    hub: HubFile | None = None
    size: int | None = None
    sha256: str | None = None
    licence: str = "MIT"
    key: str | None = None

    @property
    def packaged(self) -> bool:
        """Whether it ships inside the package."""
        return not self.urls and self.hub is None


def _official(name: str, file: str, megabytes: int, *, copied: bool = False, **known: Any) -> Checkpoint:
    """A checkpoint at OpenAI's address; `copied`: the Hub has the same file."""
    hub = HubFile("MirageML/point-e", "space", f"point_e_model_cache/{file}") if copied else None
    url = f"https://openaipublic.azureedge.net/main/point-e/{file}"
    return Checkpoint(name, name, file, megabytes, (url,), hub, **known)


def _starter(part: str) -> Checkpoint:
    name, file = f"starter-{part}", f"{part}.safetensors"
    return Checkpoint(name, name, file, 3, licence="GPL-3.0-or-later")


_TEXTVEC_HASH = "c01c13df8f2f6ebdc4daf360625350a3715e7cd3ed4ac93e577f9f1958bfccc4"
_UPSAMPLE_HASH = "07881c369ee0bef1a45b8ff1f464626a099a6023eef4197e4a445f5dce37ed20"
_CAP3D = "pointE_finetuned_with_825kdata.pth"
_CAP3D_HASH = "703a73076fd8218e957c59a053503b0778d6af5d5e7ad13394a35fd36148f98b"
_CLIP_HASH = "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"

CHECKPOINTS: dict[str, Checkpoint] = {
    checkpoint.name: checkpoint
    for checkpoint in (
        _official("base40M-textvec", "base_40m_textvec.pt", 161, copied=True, sha256=_TEXTVEC_HASH),
        _official("base40M-imagevec", "base_40m_imagevec.pt", 161),
        _official("base40M-uncond", "base_40m_uncond.pt", 160),
        _official("base40M", "base_40m.pt", 162, copied=True),
        _official("base300M", "base_300m.pt", 1247, copied=True),
        _official("base1B", "base_1b.pt", 4977, copied=True),
        _official("upsample", "upsample_40m.pt", 162, copied=True, sha256=_UPSAMPLE_HASH),
        _official("sdf", "sdf.pt", 38, copied=True),
        _official("pointnet", "pointnet.pt", 23, key="model_state_dict"),
        Checkpoint(
            "cap3d-textvec",
            "base40M-textvec",
            _CAP3D,
            484,
            hub=HubFile("tiange/Cap3D", "dataset", f"misc/our_finetuned_models/{_CAP3D}"),
            sha256=_CAP3D_HASH,
            licence="ODC-By-1.0",
            key="model_state_dict",
        ),
        Checkpoint(
            "clip-vit-l-14",
            "clip-vit-l-14",
            "ViT-L-14.pt",
            933,
            (f"https://openaipublic.azureedge.net/clip/models/{_CLIP_HASH}/ViT-L-14.pt",),
            HubFile("MirageML/point-e", "space", "point_e_model_cache/ViT-L-14.pt"),
            size=932_768_134,
            sha256=_CLIP_HASH,
        ),
        _starter("clip"),
        _starter("base"),
        _starter("upsample"),
        _starter("sdf"),
    )
}


@dataclass(frozen=True)
class Stage:
    """How one network of a set is sampled.

    Attributes
    ----------
    points
        How many points it makes.
    diffusion
        A released noise schedule with its eps prediction, or Karras et al.'s preconditioning.
    sampler
        "heun", "dpm" or "euler_ancestral".
    steps, sigma_min, sigma_max, rho, s_churn
        Karras noise levels, in units of the scaled data.
    guidance
        Scale of classifier-free guidance; 0 and 1 mean none.
    start
        From noise, or from the coarse cloud with noise of `sigma_max` on it.
    conditioned
        Whether the network sees the prompt or image.
    sigma_data
        Deviation of the scaled data, for "edm".
    """

    points: int
    diffusion: Literal["cosine", "linear", "edm"]
    sampler: Literal["heun", "dpm", "euler_ancestral"] = "heun"
    steps: int = 64
    sigma_min: float = 1e-3
    sigma_max: float = 120.0
    rho: float = 7.0
    s_churn: float = 3.0
    guidance: float = 3.0
    start: Literal["noise", "coarse"] = "noise"
    conditioned: bool = True
    sigma_data: float | None = None


@dataclass(frozen=True)
class ModelSet:
    """Checkpoints that work together, and how they are sampled.

    Attributes
    ----------
    label, summary
        A name and a sentence for the user.
    takes
        What it can be asked with.
    clip, base, upsample, sdf
        Names of checkpoints.
    resolution
        Lattice points along each side of the distance field, unless asked otherwise.
    condition
        What the conditioned networks see: a CLIP vector, or the grid of an image.
    """

    name: str
    label: str
    summary: str
    takes: frozenset[Literal["text", "image"]]
    clip: str
    base: str
    upsample: str
    sdf: str
    base_stage: Stage
    upsample_stage: Stage
    resolution: int
    condition: Literal["vector", "grid"]
    licence: str

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Everything it needs."""
        return tuple(CHECKPOINTS[name] for name in (self.clip, self.base, self.upsample, self.sdf))


_BASE = Stage(1024, "cosine")
_UPSAMPLE = Stage(3072, "linear", sigma_max=160.0, s_churn=0.0)
_UNCONDITIONED = replace(_UPSAMPLE, guidance=0.0, conditioned=False)


def _official_set(name: str, label: str, summary: str, base: str, licence: str = "MIT") -> ModelSet:
    """A released base model with the released upsampler, sdf network and CLIP.

    The upsampler sees the grid of the image, or nothing where the base model is asked with a vector.
    """
    config = ARCHITECTURES[CHECKPOINTS[base].architecture].config
    grid = config["condition"] == "grid"
    return ModelSet(
        name=name,
        label=label,
        summary=summary,
        takes=frozenset({"text" if base.endswith("textvec") else "image"}),
        clip="clip-vit-l-14",
        base=base,
        upsample="upsample",
        sdf="sdf",
        base_stage=_BASE,
        upsample_stage=_UPSAMPLE if grid else _UNCONDITIONED,
        resolution=128,
        condition=config["condition"],
        licence=licence,
    )


_SETS = (
    ModelSet(
        name="starter",
        label="Starter",
        summary="Ships inside: a small world of objects and colours, quick and without a network.",
        takes=frozenset({"text", "image"}),
        clip="starter-clip",
        base="starter-base",
        upsample="starter-upsample",
        sdf="starter-sdf",
        base_stage=Stage(**_STARTER["stages"]["base"]),
        upsample_stage=Stage(**_STARTER["stages"]["upsample"]),
        resolution=64,
        condition=_NETWORKS["base"]["condition"],
        licence="GPL-3.0-or-later",
    ),
    _official_set("official-text", "Point-E text", "OpenAI's model for prompts (40M).", "base40M-textvec"),
    _official_set(
        "cap3d-text",
        "Cap3D text",
        "OpenAI's model for prompts, trained further on captions of 825,000 objects.",
        "cap3d-textvec",
        licence="ODC-By-1.0",
    ),
    _official_set("official-40M", "Point-E image 40M", "OpenAI's smallest model for images.", "base40M"),
    _official_set("official-300M", "Point-E image 300M", "OpenAI's middle model for images.", "base300M"),
    _official_set("official-1B", "Point-E image 1B", "OpenAI's best model for images.", "base1B"),
    _official_set(
        "official-imagevec",
        "Point-E image vector",
        "OpenAI's model for what an image shows, not how it looks (40M).",
        "base40M-imagevec",
    ),
)
MODEL_SETS: dict[str, ModelSet] = {models.name: models for models in _SETS}
