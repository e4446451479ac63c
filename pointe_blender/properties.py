"""The settings that are saved with a scene, and how they become a Request."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from . import history, preferences

if TYPE_CHECKING:
    from .pipeline.request import Request

OWN = 0  # "as the models have it", of the whole numbers
OWN_GUIDANCE = -1.0

_OUTPUTS = (
    ("both", "Cloud and Mesh", "A point cloud, and beside it the mesh made from it"),
    ("cloud", "Point Cloud", "Coloured points"),
    ("mesh", "Mesh", "A closed mesh with coloured vertices"),
)
_QUALITIES = (
    (
        "fast",
        "Fast",
        "As good as Exact in a fraction of the time; the same seed may give another object",
    ),
    (
        "high",
        "High",
        "What a seed leads to when the process is worked out precisely: for finals, and to compare settings",
    ),
    (
        "exact",
        "Exact",
        "OpenAI's released procedure step by step, for results equal to the official program's",
    ),
)


def _model_sets(self: object, context: object) -> tuple[tuple[str, str, str], ...]:
    """Read when first shown, so that Blender need not load the list when it starts."""
    return _named_model_sets()


@functools.cache  # Blender keeps no strings of its own
def _named_model_sets() -> tuple[tuple[str, str, str], ...]:
    from .pipeline.models import MODEL_SETS

    return tuple((name, models.label, models.summary) for name, models in MODEL_SETS.items())


class Settings:
    """What the scene keeps and the operator takes; what has limits of its own is checked by the pipeline."""

    prompt: StringProperty(
        name="Prompt",
        description="What to make, such as: a red chair",
        search=history.suggestions,
        search_options={"SUGGESTION"},
        options={"SKIP_SAVE"},
    )
    models: EnumProperty(
        name="Models",
        description="Which networks make it",
        items=_model_sets,
        options={"SKIP_SAVE"},
    )
    seed: IntProperty(
        name="Seed",
        description="Equal seeds give equal objects; the variants of a run have this seed and those after it",
        soft_min=0,
        options={"SKIP_SAVE"},
    )
    count: IntProperty(
        name="Variants",
        description="How many to make in one run; they stand in a row, the best one first",
        default=1,
        soft_min=1,
        soft_max=8,
        options={"SKIP_SAVE"},
    )
    output: EnumProperty(
        name="Output", description="What to make of it", items=_OUTPUTS, options={"SKIP_SAVE"}
    )
    quality: EnumProperty(
        name="Quality",
        description="How much time to take for it",
        items=_QUALITIES,
        options={"SKIP_SAVE"},
    )
    steps: IntProperty(
        name="Steps",
        description="Sampling steps of every stage; 0 for those of the quality",
        default=OWN,
        soft_min=0,
        soft_max=128,
        options={"SKIP_SAVE"},
    )
    guidance: FloatProperty(
        name="Guidance",
        description="How closely to follow the prompt or the picture; -1 for the models' own value",
        default=OWN_GUIDANCE,
        soft_min=-1.0,
        soft_max=10.0,
        precision=1,
        options={"SKIP_SAVE"},
    )
    resolution: IntProperty(
        name="Resolution",
        description="Lattice points along each side of the volume the mesh is cut from, 16 to 256; "
        "0 for the models' own number",
        default=OWN,
        soft_min=0,
        soft_max=256,
        options={"SKIP_SAVE"},
    )
    points: IntProperty(
        name="Points",
        description="Points of a cloud, 4096 or more; 0 for the models' own 4096",
        default=OWN,
        soft_min=0,
        soft_max=100_000,
        step=1024,
        options={"SKIP_SAVE"},
    )


def _source_changed(settings: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    from .scene import thumbnail

    thumbnail.show(settings.id_data)


class PointeSettings(Settings, bpy.types.PropertyGroup):
    """`scene.pointe`."""

    source: EnumProperty(
        name="From",
        description="What it is made from",
        items=(
            ("prompt", "Prompt", "Make it from words"),
            ("image", "Picture", "Make it from a picture"),
        ),
    )
    picture: PointerProperty(
        name="Picture",
        description="Make it from this picture: one object on a plain or transparent background",
        type=bpy.types.Image,
        update=_source_changed,
    )
    crop: BoolProperty(
        name="Crop and Centre",
        description="Cut the object out of a plain or transparent background, as the models expect it",
        default=True,
        update=_source_changed,
    )
    size: FloatProperty(
        name="Size",
        description="Length of the longest side; 0 leaves it as it was made, at most about 1 m",
        default=1.0,
        min=0.0,
        soft_max=10.0,
        subtype="DISTANCE",
        unit="LENGTH",
    )
    origin: EnumProperty(
        name="Origin",
        description="Where the object's origin lies",
        items=(
            ("BASE", "Base", "In the middle of its underside"),
            ("CENTER", "Centre", "In the middle of its bounding box"),
        ),
    )
    place: EnumProperty(
        name="Place",
        description="Where it is put",
        items=(
            ("CURSOR", "3D Cursor", "At the 3D cursor"),
            ("GROUND", "Ground", "On the ground, at the world's origin"),
        ),
    )
    collection: PointerProperty(
        name="Collection",
        description="Where new objects are linked; the active collection if none is chosen",
        type=bpy.types.Collection,
    )
    shading: EnumProperty(
        name="Shading",
        description="How the faces of a mesh are lit",
        items=(
            ("SMOOTH", "Smooth", "Rounded over the edges"),
            ("FLAT", "Flat", "Every face for itself"),
        ),
    )
    faces: IntProperty(
        name="Faces",
        description="About how many triangles are left, by a modifier that stays editable; 0 keeps all",
        min=0,
        soft_max=100_000,
        step=1000,
    )
    remesh: FloatProperty(
        name="Remesh",
        description="Size of the even faces that a Remesh modifier makes; 0 for none",
        min=0.0,
        soft_max=0.1,
        precision=3,
        subtype="DISTANCE",
        unit="LENGTH",
    )
    texture: EnumProperty(
        name="Texture",
        description="Unwrap the mesh and bake its colours into a picture of this size; "
        "Remesh and Decimate are applied first",
        items=(
            ("0", "None", "Colours stay at the vertices"),
            ("512", "512", "512 × 512 pixels"),
            ("1024", "1024", "1024 × 1024 pixels"),
            ("2048", "2048", "2048 × 2048 pixels"),
        ),
    )
    asset: BoolProperty(
        name="Mark as Asset",
        description="Show what is made in the Asset Browser, with a picture, tags and the prompt",
    )


class OperatorSettings(Settings):
    """What operators take beside the scene's settings."""

    image: StringProperty(
        name="Picture",
        description="Make it from this picture file: one object on a plain or transparent background",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )


def chosen(operator: Any, scene: bpy.types.Scene) -> dict[str, Any]:
    """The arguments of `operators.generate.prepare`: those given to the operator, the others from the scene.

    `picture` is a path, the name of an image in the file, or `None`. Without either prompt or picture
    given, the scene says which one counts.
    """
    settings = scene.pointe
    values = {
        name: getattr(operator if operator.properties.is_property_set(name) else settings, name)
        for name in Settings.__annotations__
    }
    given = [name for name in ("prompt", "image") if operator.properties.is_property_set(name)]
    counting = given or [settings.source]
    if "prompt" not in counting:
        values["prompt"] = None
    values["picture"] = None
    if "image" in given:
        values["picture"] = Path(operator.image)
    elif "image" in counting:
        values["picture"] = settings.picture.name if settings.picture else ""
    return values


def to_request(**fields: Any) -> Request:
    """A checked request on the device of the preferences; values that mean the models' own are left out.

    Raises
    ------
    PointEError
        The settings make no sense.
    """
    from .pipeline.request import Request, validate

    for name in ("steps", "resolution", "points"):
        if fields.get(name) == OWN:
            del fields[name]
    if fields.get("guidance") == OWN_GUIDANCE:
        del fields["guidance"]
    request = Request(**{"device": preferences.device(), **fields})
    validate(request)
    return request
