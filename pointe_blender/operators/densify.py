"""More points for whatever is selected."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, IntProperty

from ..scene import variants
from . import generate, running, selection

if TYPE_CHECKING:
    from ..pipeline import Result


def prepare(thing: bpy.types.Object, points: int, in_place: bool) -> running.Task:
    """Take the points out of Blender; the task holds them, and no reference to the object."""
    from ..scene import finishing, sampling

    context, place = bpy.context, variants.Place.of(thing)
    cloud, matrix = sampling.cloud_of(thing, context.evaluated_depsgraph_get())
    in_place = in_place and variants.is_generated(thing) and variants.is_cloud(thing) and thing.is_editable
    task = generate.prepare(
        cloud=cloud,
        title=f"{thing.name} dense",
        finish=replace(finishing.Finish.of(context.scene), asset=False) if in_place else None,
        matrix=place.matrix.inverted_safe() @ matrix if in_place else matrix,
        models=context.scene.pointe.models,
        quality=context.scene.pointe.quality,
        points=points,
        output="cloud",
    )

    def insert(result: Result) -> list[bpy.types.Object]:
        made = task.insert(result)
        made = variants.put_in_place(made, [place]) if in_place else variants.describe_like(made, place)
        for cloud in made:
            cloud["pointe_settings"] = {**variants.settings(cloud), "points": points}
        return made

    return replace(task, insert=insert, place=matrix)


class POINTE_OT_densify(bpy.types.Operator):
    bl_idname = "pointe.densify"
    bl_label = "Densify"
    bl_description = "Make each selected object a cloud of more points, as many as asked"

    points: IntProperty(
        name="Points",
        description="How many points the cloud will have, 4096 to 1000000",
        default=16384,
        soft_min=4096,
        soft_max=100_000,
        step=1024,
    )
    replace: BoolProperty(
        name="Replace",
        description="Add the points to a cloud that was made here; if off, the denser cloud is a new object",
        default=True,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        cls.poll_message_set(selection.HINT)
        return bool(selection.usable(context))

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._asked = True
        return context.window_manager.invoke_props_dialog(self, confirm_text="Densify")

    def execute(self, context: bpy.types.Context) -> set[str]:
        prepares = [partial(prepare, thing, self.points, self.replace) for thing in selection.usable(context)]
        return selection.carry_out_each(self, prepares, background=self._asked)

    _asked = False  # whether someone sits before the dialog, who need not wait


CLASSES = (POINTE_OT_densify,)
