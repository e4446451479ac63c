"""What exists: checkpoints with their sources, the sets that work together, and what they take.

Facts only; files are the business of `store` and `weights`. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from .architectures import ARCHITECTURES, STARTER, STARTER_CONFIG, Architecture, build

__all__ = [
    "ARCHITECTURES",
    "CHECKPOINTS",
    "INSTALLABLE",
    "MODEL_SETS",
    "STARTER",
    "Architecture",
    "Checkpoint",
    "HubFile",
    "ModelSet",
    "SharedPart",
    "Stage",
    "build",
]


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


def _starter(part: str, sha256: str) -> Checkpoint:
    name, file = f"starter-{part}", f"{part}.safetensors"
    return Checkpoint(name, name, file, 3, sha256=sha256, licence="GPL-3.0-or-later")


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
        _starter("clip", "dcb42669d33192c018d238773cac96b377e386161417226c93b3e1c6eca45fa6"),
        _starter("base", "e2d550c385fca0a17ef223196d116e70b1b4003955eb9d1dd119a380a819b10d"),
        _starter("upsample", "1427b91004c7d9dca4f816bf75cbd3d7583fd46a4cccf3aa9498bc9aaafbf4ec"),
        _starter("sdf", "38e337cf18c82ece132844459516385a2d0689957a0201d0347f542a91109833"),
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
    background, margin
        sRGB bytes around the object in the pictures they learnt from, and how far it stays from the edges,
        in parts of the side.
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
    background: tuple[int, int, int] = (255, 255, 255)
    margin: float = 0.125

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
        summary="Ships inside: a small world of objects and colours, in seconds and without a network",
        takes=frozenset({"text", "image"}),
        clip="starter-clip",
        base="starter-base",
        upsample="starter-upsample",
        sdf="starter-sdf",
        base_stage=Stage(**STARTER_CONFIG["stages"]["base"]),
        upsample_stage=Stage(**STARTER_CONFIG["stages"]["upsample"]),
        resolution=64,
        condition=STARTER_CONFIG["networks"]["base"]["condition"],
        licence="GPL-3.0-or-later",
        background=(236, 236, 236),  # starter/data.py: mostly between 217 and 255
        margin=0.06,
    ),
    _official_set(
        "official-text",
        "Point-E text",
        "Prompts in free words: quick and rough, single objects in simple colours (40M)",
        "base40M-textvec",
    ),
    _official_set(
        "cap3d-text",
        "Cap3D text",
        "Prompts in free words: OpenAI's model trained further on captions of 825,000 objects",
        "cap3d-textvec",
        licence="ODC-By-1.0",
    ),
    _official_set(
        "official-40M",
        "Point-E image 40M",
        "A picture of one object: the quickest, with rough shapes",
        "base40M",
    ),
    _official_set(
        "official-300M",
        "Point-E image 300M",
        "A picture of one object: closer shapes, and still bearable on a CPU",
        "base300M",
    ),
    _official_set(
        "official-1B",
        "Point-E image 1B",
        "A picture of one object: the best shapes; made for a GPU",
        "base1B",
    ),
    _official_set(
        "official-imagevec",
        "Point-E image vector",
        "What a picture shows rather than how it looks: variations on a theme (40M)",
        "base40M-imagevec",
    ),
)
MODEL_SETS: dict[str, ModelSet] = {models.name: models for models in _SETS}


@dataclass(frozen=True)
class SharedPart:
    """A checkpoint that several sets need, listed like a set of its own."""

    name: str
    label: str
    summary: str
    licence: str

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The one."""
        return (CHECKPOINTS[self.name],)


CLIP = SharedPart(
    name="clip-vit-l-14",
    label="CLIP",
    summary="Reads prompts and pictures for all of OpenAI's sets, and ranks what they make",
    licence="MIT",
)
INSTALLABLE: dict[str, ModelSet | SharedPart] = {**MODEL_SETS, CLIP.name: CLIP}
