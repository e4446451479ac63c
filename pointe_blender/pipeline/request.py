"""What travels: the settings of a run going in, its progress and result coming out."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Literal, SupportsFloat, SupportsIndex

from .errors import InvalidRequest
from .geometry import Mesh, PointCloud

if TYPE_CHECKING:
    import numpy as np

MAX_PROMPT = 1000
MAX_SEED = 2**31 - 1
MAX_COUNT = 64
MAX_STEPS = 1024
MAX_GUIDANCE = 20
RESOLUTIONS = (16, 256)
POINTS = (4096, 1_000_000)
OUTPUTS = ("cloud", "mesh", "both")
QUALITIES = ("fast", "high", "exact")


@dataclass(frozen=True, eq=False)
class Request:
    """One thing to make. Plain Python and arrays, picklable.

    Exactly one of `prompt`, `image`, `vector` and `cloud` says what; `None` elsewhere means
    the default of the model set.

    Attributes
    ----------
    prompt
        Up to 1000 characters of text.
    image
        (H, W, 3 or 4) uint8, sRGB with straight alpha.
    vector
        (D,) float32 CLIP vector; normalised before use.
    cloud
        A cloud to be meshed or, with `points`, made denser; no other cloud is sampled.
    models
        Name of a model set, see `models.MODEL_SETS`.
    seed
        0 to 2³¹ − 1. Variant i of `count` has the seed `seed` + i and draws of its own, so it can be made
        again alone.
    count
        How many variants, 1 to 64.
    output
        "cloud", "mesh" or "both".
    quality
        "exact": the models' own sampler, evaluation for evaluation, in float32. "high": what it would make
        without its chance and in infinitely many steps, from the same seed. "fast": as good and as varied,
        in the fewest evaluations; another object than "exact" makes of the same seed.
    steps
        Noise levels of every stage, 2 to 1024, instead of those that the quality asks for.
    guidance
        Scale of classifier-free guidance in the base stage, 0 to 20; 0 and 1 mean none.
    points
        Of each cloud, 4096 to 1,000,000; what the base model and one pass of the upsampler make is 4096,
        further passes add the rest.
    resolution
        Lattice points along each side of the distance field, 16 to 256.
    device
        "auto", "cpu", "cuda", "cuda:1", "mps".
    """

    prompt: str | None = None
    image: np.ndarray | None = None
    vector: np.ndarray | None = None
    cloud: PointCloud | None = None
    models: str = "starter"
    seed: int = 0
    count: int = 1
    output: Literal["cloud", "mesh", "both"] = "both"
    quality: Literal["fast", "high", "exact"] = "fast"
    steps: int | None = None
    guidance: float | None = None
    points: int | None = None
    resolution: int | None = None
    device: str = "auto"

    @property
    def wants_mesh(self) -> bool:
        return self.output != "cloud"


@dataclass(frozen=True, eq=False)
class Result:
    """What a run made.

    Attributes
    ----------
    clouds, meshes
        One per variant, the best first; `meshes` is empty when none was asked for, or when the notice says
        why.
    seeds
        Of each variant.
    scores
        Of each variant, the cosine between CLIP's vectors of its pictures and of what was asked for; empty
        for a single variant and where there is nothing to compare with.
    models, device
        What was used.
    seconds
        Wall-clock seconds by stage name, those of loading networks as "load", and "total".
    notice
        A sentence for the user, such as a prompt outside the model's world; empty when there is none.
    """

    clouds: tuple[PointCloud, ...]
    meshes: tuple[Mesh, ...]
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    models: str
    device: str
    seconds: dict[str, float]
    notice: str = ""


@dataclass(frozen=True, eq=False)
class Progress:
    """One update of a run.

    Attributes
    ----------
    stage
        "download", "condition", "base", "upsample", "densify", "rank", "mesh" or "done".
    step, steps
        Finished and total steps of this stage; megabytes while downloading.
    fraction
        Of the whole run, 0 to 1, never falling.
    device
        Where the networks run, such as "cpu"; empty until known.
    remaining
        Seconds that the rest will take at the present pace; `None` until there is one.
    preview
        The cloud as it forms (first variant), or `None`.
    result
        Set on the last update only.
    """

    stage: str
    step: int
    steps: int
    fraction: float
    device: str = ""
    remaining: float | None = None
    preview: PointCloud | None = None
    result: Result | None = None


def validate(request: Request) -> None:
    """Check everything that can be checked without a model.

    Raises
    ------
    InvalidRequest
        With what is wrong and what to do.
    """
    given = [request.prompt, request.image, request.vector, request.cloud]
    if sum(value is not None for value in given) != 1:
        raise InvalidRequest("Give exactly one of a prompt, a picture, a CLIP vector and a point cloud.")
    if request.prompt is not None:
        _validate_prompt(request.prompt)
    if request.image is not None:
        image = request.image
        if image.ndim != 3 or image.shape[2] not in (3, 4) or image.dtype != "uint8" or 0 in image.shape:
            raise InvalidRequest(
                "The picture must be an array of height × width × 3 or 4 bytes: load it with load_image."
            )
    if request.vector is not None and (request.vector.ndim != 1 or not _finite(request.vector)):
        raise InvalidRequest("The CLIP vector must be one row of finite numbers.")
    if request.cloud is not None:
        _validate_cloud(request.cloud)
    _within("seed", request.seed, 0, MAX_SEED)
    _within("number of variants", request.count, 1, MAX_COUNT)
    if request.steps is not None:
        _within("number of steps", request.steps, 2, MAX_STEPS)
    if request.seed + request.count - 1 > MAX_SEED:
        raise InvalidRequest(f"The seeds of the variants end at {MAX_SEED}: choose a smaller seed.")
    if request.points is not None:
        _within("number of points", request.points, *POINTS)
        if request.cloud is not None and len(request.cloud) >= request.points:
            raise InvalidRequest(f"The cloud has {len(request.cloud)} points already: choose more than that.")
    if request.cloud is not None and request.output == "cloud" and request.points is None:
        raise InvalidRequest("There is nothing to do with the cloud: ask for a mesh or for more points.")
    if request.resolution is not None:
        _within("mesh resolution", request.resolution, *RESOLUTIONS)
    guidance: object = request.guidance
    if guidance is not None and not (
        isinstance(guidance, SupportsFloat) and 0 <= float(guidance) <= MAX_GUIDANCE
    ):
        raise InvalidRequest(
            f"The guidance {request.guidance} is out of range: choose one from 0 to {MAX_GUIDANCE}."
        )
    if request.output not in OUTPUTS:
        raise InvalidRequest(f"The output {request.output!r} is unknown: choose one of {', '.join(OUTPUTS)}.")
    if request.quality not in QUALITIES:
        raise InvalidRequest(
            f"The quality {request.quality!r} is unknown: choose one of {', '.join(QUALITIES)}."
        )


def _validate_prompt(prompt: object) -> None:
    if not isinstance(prompt, str):
        raise InvalidRequest(f"The prompt {prompt!r} is not text: put it in quotes.")
    if not prompt.strip():
        raise InvalidRequest("The prompt is empty: describe one object, such as 'a red chair'.")
    if len(prompt) > MAX_PROMPT:
        raise InvalidRequest(f"The prompt has {len(prompt)} characters: shorten it to {MAX_PROMPT} at most.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in prompt):
        raise InvalidRequest(
            "The prompt contains control characters: type it again as plain text on one line."
        )


def _validate_cloud(cloud: PointCloud) -> None:
    if cloud.points.ndim != 2 or cloud.points.shape[1] != 3 or cloud.colors.shape != cloud.points.shape:
        raise InvalidRequest("A point cloud needs N × 3 points and as many colours.")
    if len(cloud) < 4:
        raise InvalidRequest(f"The point cloud has {len(cloud)} points: choose one with at least 4.")
    if not (_finite(cloud.points) and _finite(cloud.colors)):
        raise InvalidRequest("The point cloud has points that are not numbers: delete them first.")


def _within(what: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, SupportsIndex):
        raise InvalidRequest(f"The {what} {value!r} is not a whole number: choose one from {low} to {high}.")
    if not low <= index(value) <= high:
        raise InvalidRequest(f"The {what} {value} is out of range: choose one from {low} to {high}.")


def _finite(values: np.ndarray) -> bool:
    import numpy as np  # Blender starts without it

    return bool(np.isfinite(values).all())
