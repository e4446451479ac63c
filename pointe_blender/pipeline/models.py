"""Model sets: checkpoints that work together, how they are sampled, and what they take.

Facts only; nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from .architectures import ARCHITECTURES, STARTER, STARTER_CONFIG, Architecture, build
from .checkpoints import CHECKPOINTS, Checkpoint, HubFile

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
        One of the released ones, "heun", "dpm" and "euler_ancestral", or of those with one evaluation a step,
        "unipc" and "dpmpp".
    order
        Of "unipc".
    steps, sigma_min, sigma_max, rho, s_churn
        Karras noise levels, in units of the scaled data.
    whole_levels
        Whether the network is told the noise level in whole numbers, as the released samplers do.
    guidance
        Scale of classifier-free guidance; 0 and 1 mean none.
    guided_above
        Noise levels down to this one are guided; below it guidance changes nothing that is seen.
    half_below
        Noise levels below this one may be computed in half precision; 0: none.
    start
        From noise, or from the coarse cloud with noise of `sigma_max` on it.
    conditioned
        Whether the network sees the prompt or image.
    sigma_data
        Deviation of the scaled data, for "edm".
    """

    points: int
    diffusion: Literal["cosine", "linear", "edm"]
    sampler: Literal["heun", "dpm", "euler_ancestral", "unipc", "dpmpp"] = "heun"
    order: int = 3
    steps: int = 64
    sigma_min: float = 1e-3
    sigma_max: float = 120.0
    rho: float = 7.0
    s_churn: float = 3.0
    whole_levels: bool = True
    guidance: float = 3.0
    guided_above: float = 0.0
    half_below: float = 0.0
    start: Literal["noise", "coarse"] = "noise"
    conditioned: bool = True
    sigma_data: float | None = None

    @property
    def guided(self) -> bool:
        """Whether this guidance asks for an unconditional branch at all."""
        return self.guidance not in (0, 1)


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
    schedule
        Its row in `schedules.json`: how the stages are sampled when not as they are here.
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
    schedule: str
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
        schedule="released-guided" if grid else "released",
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
        schedule="starter",
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
    """A checkpoint that belongs to no set alone, listed like a set of its own."""

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
POINTNET = SharedPart(
    name="pointnet",
    label="PointNet++",
    summary="Sees what clouds are of, to measure how good they are: P-FID and P-IS of pointe evaluate",
    licence="MIT",
)
INSTALLABLE: dict[str, ModelSet | SharedPart] = {
    **MODEL_SETS,
    **{part.name: part for part in (CLIP, POINTNET)},
}
