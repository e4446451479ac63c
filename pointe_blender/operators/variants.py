"""Of the variants of a run: keep one, discard some, make one again, take its settings."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import bpy
from bpy.props import BoolProperty, IntProperty

from ..scene import variants
from . import generate, running, selection

if TYPE_CHECKING:
    from mathutils import Matrix, Vector

    from ..pipeline import Result
    from ..scene.finishing import Finish

SEEDS = 1_000_000  # new ones are below it: short enough to be written down
HINT = "Select an object that Point-E has made"
HINT_AGAIN = "Select an object that was made from a prompt or a picture"


def prepare(thing: bpy.types.Object, *, new_seed: bool, in_place: bool) -> running.Task:
    """The task that makes a variant again from what is stored on it."""
    arguments: dict[str, Any] = variants.arguments(thing)
    if new_seed:
        arguments["seed"] = random.randrange(SEEDS)
    old = variants.companions(thing)
    # Whatever was asked for then: a mesh may have been added since, or a cloud deleted.
    arguments["output"] = "both" if len(old) > 1 else "cloud" if variants.is_cloud(thing) else "mesh"
    places, (finish, place) = [variants.Place.of(each) for each in old], _as_they_are(old)
    task = generate.prepare(**arguments, finish=finish)

    def insert(result: Result) -> list[bpy.types.Object]:
        made = task.insert(result)
        if not in_place:
            return variants.join_run(made, places[0])
        made = variants.put_in_place(made, places)
        for each in made:
            if each["pointe_seed"] != arguments["seed"]:
                each["pointe_seed"] = arguments["seed"]
                each.pop("pointe_score", None)
        return made

    return replace(task, insert=insert, place=place)


def _as_they_are(old: list[bpy.types.Object]) -> tuple[Finish, Matrix]:
    """The finish that gives others their size and origin, and where the first one's pipeline cube is."""
    import numpy as np

    from ..scene import finishing, objects

    clouds, frames = zip(*map(objects.to_cloud, old), strict=True)
    matrix = np.array(frames[0])
    points = clouds[0].points @ matrix[:3, :3].T + matrix[:3, 3]
    low, high = points.min(axis=0), points.max(axis=0)
    size = float((high - low).max())
    as_made = np.allclose([frame.to_scale() for frame in frames], 1.0, atol=1e-6)
    finish = replace(
        finishing.Finish.of(bpy.context.scene),
        size=0.0 if as_made else size,
        origin="BASE" if abs(low[2]) < 0.01 * size else "CENTER",
        asset=False,
    )
    return finish, old[0].matrix_world @ frames[0]


def one_of_each(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Of every selected variant one object."""
    chosen, seen = [], set()
    for thing in context.selected_objects:
        if variants.can_be_made_again(thing) and thing not in seen:
            chosen.append(thing)
            seen.update(variants.companions(thing))
    return chosen


def _is_possible(
    operator: type[bpy.types.Operator], context: bpy.types.Context, there: bool, hint: str
) -> bool:
    """Whether what it needs is there; outside Object Mode undo would not bring back what was deleted."""
    at_rest = context.mode == "OBJECT"
    operator.poll_message_set(hint if at_rest else "Leave the present mode for Object Mode first")
    return there and at_rest


class POINTE_OT_regenerate(bpy.types.Operator):
    bl_idname = "pointe.regenerate"
    bl_label = "Regenerate"
    bl_description = "Make the selected variants again from what is stored with them"

    new_seed: BoolProperty(
        name="New Seed",
        description="Make another one with the same settings instead of the same one again",
        options={"SKIP_SAVE"},
    )
    replace: BoolProperty(
        name="Replace",
        description="Put it in the place of the old one; if off, it is added to the row",
        default=True,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        what = "Make another one with the same settings" if properties.new_seed else "Make exactly this again"
        where = "in its place" if properties.replace else "and add it to the row"
        return f"{what}, {where}"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        there = any(map(variants.can_be_made_again, context.selected_objects))
        return _is_possible(cls, context, there, HINT_AGAIN)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return self._carry_out(context, background=True)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self._carry_out(context, background=False)

    def _carry_out(self, context: bpy.types.Context, *, background: bool) -> set[str]:
        again = partial(prepare, new_seed=self.new_seed, in_place=self.replace)
        prepares = [partial(again, thing) for thing in one_of_each(context)]
        return selection.carry_out_each(self, prepares, background=background)


class POINTE_OT_keep(bpy.types.Operator):
    bl_idname = "pointe.keep"
    bl_label = "Keep This One"
    bl_description = (
        "Delete the other variants of the active object's run and move it to where the first stood"
    )
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        thing = context.active_object
        there = variants.is_generated(thing) and len(variants.ranked(thing)) > 1
        return _is_possible(cls, context, there, "There are no other variants of the active object")

    def execute(self, context: bpy.types.Context) -> set[str]:
        ranked = variants.ranked(context.active_object)
        kept = next(variant for variant in ranked if context.active_object in variant)
        shift = _standing(ranked[0], kept) - _standing(kept, ranked[0])
        bpy.data.batch_remove([thing for variant in ranked if variant is not kept for thing in variant])
        for thing in kept:
            thing.matrix_world.translation += shift
        return {"FINISHED"}


def _standing(variant: list[bpy.types.Object], other: list[bpy.types.Object]) -> Vector:
    """Where a variant stands: its first object of a kind that another one has too."""
    kinds = {thing.type for thing in other}
    thing = next((thing for thing in variant if thing.type in kinds), variant[0])
    return thing.matrix_world.translation.copy()


class POINTE_OT_discard(bpy.types.Operator):
    bl_idname = "pointe.discard"
    bl_label = "Discard"
    bl_description = "Delete the selected variants, clouds and meshes"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        there = any(map(variants.is_generated, context.selected_objects))
        return _is_possible(cls, context, there, HINT)

    def execute(self, context: bpy.types.Context) -> set[str]:
        selected = filter(variants.is_generated, context.selected_objects)
        bpy.data.batch_remove({each for thing in selected for each in variants.companions(thing)})
        return {"FINISHED"}


class POINTE_OT_choose(bpy.types.Operator):
    bl_idname = "pointe.choose"
    bl_label = "Choose Variant"
    bl_description = "Select this variant, to keep, discard or make it again"
    bl_options: ClassVar = {"UNDO", "INTERNAL"}

    rank: IntProperty(name="Rank", description="1 is the best", default=1, min=1, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _is_possible(cls, context, variants.is_generated(context.active_object), HINT)

    def execute(self, context: bpy.types.Context) -> set[str]:
        ranked = variants.ranked(context.active_object)
        variants.select(ranked[min(self.rank, len(ranked)) - 1])
        return {"FINISHED"}


class POINTE_OT_reuse_settings(bpy.types.Operator):
    bl_idname = "pointe.reuse_settings"
    bl_label = "Reuse Settings"
    bl_description = "Copy what the active object was made from and with back to the settings"
    bl_options: ClassVar = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set(HINT_AGAIN)
        return variants.can_be_made_again(context.active_object)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            self._reuse(variants.arguments(context.active_object), context.scene.pointe)
        except Exception as error:
            return running.refuse(self, error)
        return {"FINISHED"}

    @staticmethod
    def _reuse(values: dict[str, Any], settings: bpy.types.PropertyGroup) -> None:
        for name in ("count", "output", "quality", "steps", "guidance", "resolution", "points", "crop"):
            settings.property_unset(name)
        picture = values.pop("picture", None)
        settings.source = "image" if picture else "prompt"
        if picture:
            settings.picture = bpy.data.images[picture]
        for name, value in values.items():
            setattr(settings, name, value)


CLASSES = (
    POINTE_OT_regenerate,
    POINTE_OT_keep,
    POINTE_OT_discard,
    POINTE_OT_choose,
    POINTE_OT_reuse_settings,
)
