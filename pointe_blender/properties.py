"""The settings that are saved with a scene, and how they become a Request."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from . import preferences

if TYPE_CHECKING:
    from .pipeline.request import Request

_OUTPUTS = (
    ("both", "Cloud and Mesh", "A point cloud, and beside it the mesh made from it"),
    ("cloud", "Point Cloud", "Coloured points"),
    ("mesh", "Mesh", "A closed mesh with coloured vertices"),
)


def _model_sets(self: object, context: object) -> tuple[tuple[str, str, str], ...]:
    """Read when first shown, so that Blender need not load the list when it starts."""
    return _named_model_sets()


@functools.cache  # Blender keeps no strings of its own
def _named_model_sets() -> tuple[tuple[str, str, str], ...]:
    from .pipeline.models import MODEL_SETS

    return tuple((name, models.label, models.summary) for name, models in MODEL_SETS.items())


class Settings:
    """What the scene keeps and the operator takes; ranges are left to the pipeline, which explains itself."""

    prompt: StringProperty(
        name="Prompt", description="What to make, such as: a red chair", options={"SKIP_SAVE"}
    )
    image: StringProperty(
        name="Picture",
        description="Make it from this picture: one object on a plain or transparent background",
        subtype="FILE_PATH",
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
        description="Equal seeds give equal objects, other seeds other variants",
        soft_min=0,
        options={"SKIP_SAVE"},
    )
    output: EnumProperty(
        name="Output", description="What to make of it", items=_OUTPUTS, options={"SKIP_SAVE"}
    )


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


def chosen(operator: Any, scene: bpy.types.Scene) -> dict[str, Any]:
    """The fields of a request: those given to the operator, the others from the scene's settings.

    A picture is still a path; without either prompt or picture given, the scene says which one counts.
    """
    values = {
        name: getattr(operator if operator.properties.is_property_set(name) else scene.pointe, name)
        for name in Settings.__annotations__
    }
    given = [name for name in ("prompt", "image") if operator.properties.is_property_set(name)]
    for name in {"prompt", "image"} - set(given or [scene.pointe.source]):
        values[name] = None
    return values


def to_request(prompt: str | None, image: Any, **fields: Any) -> Request:
    """A checked request; a picture may be an array or a path, with Blender's leading // for relative.

    Raises
    ------
    PointEError
        The settings make no sense, or the picture cannot be read.
    """
    from .pipeline.errors import InvalidRequest
    from .pipeline.pictures import load_image
    from .pipeline.request import Request, validate

    if isinstance(image, (str, Path)):
        if not str(image):
            raise InvalidRequest("No picture is chosen: choose a picture file.")
        image = load_image(bpy.path.abspath(str(image)))
    request = Request(prompt=prompt, image=image, **{"device": preferences.device(), **fields})
    validate(request)
    return request
