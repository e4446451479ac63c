"""Which objects were made together, from what, and how a new one takes the place of an old one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import bpy
from mathutils import Matrix, Vector

from ..pipeline.errors import InvalidRequest

GAP = 1.2  # from one thing in a row to the next, in its own widths


def is_generated(thing: bpy.types.Object | None) -> bool:
    """Whether it was made here."""
    return thing is not None and "pointe_models" in thing and "pointe_seed" in thing


def can_be_made_again(thing: bpy.types.Object | None) -> bool:
    """Whether it was made from a prompt or a picture, not from another object."""
    return is_generated(thing) and ("pointe_picture" in thing or bool(thing.get("pointe_prompt")))


def is_cloud(thing: bpy.types.Object) -> bool:
    """Whether it is the cloud of a variant, not its mesh."""
    return thing.type == "POINTCLOUD"


def ranked(thing: bpy.types.Object) -> list[list[bpy.types.Object]]:
    """The variants of its run that are still there, best first, of each its mesh and its cloud."""
    run, found = thing.get("pointe_run"), {}
    for other in bpy.data.objects:
        if other == thing or (run and other.get("pointe_run") == run and other.users_scene):
            found.setdefault(other.get("pointe_variant", 0), []).append(other)
    return [sorted(found[variant], key=is_cloud) for variant in sorted(found)]


def companions(thing: bpy.types.Object) -> list[bpy.types.Object]:
    """It and the mesh of its cloud, or the cloud of its mesh; a copy made by hand is a thing of its own."""
    same = next(variant for variant in ranked(thing) if thing in variant)
    return [thing, *(other for other in same if is_cloud(other) != is_cloud(thing))]


def arguments(thing: bpy.types.Object) -> dict[str, Any]:
    """What `operators.generate.prepare` makes exactly this variant of.

    Raises
    ------
    InvalidRequest
        Its picture is no longer in the file.
    """
    values = {"models": thing["pointe_models"], "seed": thing["pointe_seed"], **settings(thing)}
    if "pointe_picture" not in thing:
        return {"prompt": thing["pointe_prompt"], **values}
    picture = thing["pointe_picture"]
    if picture is None:
        raise InvalidRequest(
            f"The picture that {thing.name} was made from is no longer in this file: "
            "generate from another picture."
        )
    return {"picture": picture.name, **values}


def settings(thing: bpy.types.Object) -> dict[str, Any]:
    """What it was made with that is not the models' own; what says no quality is older than the choice."""
    stored = thing.get("pointe_settings")
    return {"quality": "exact", **(stored.to_dict() if stored else {})}


def select(things: Iterable[bpy.types.Object]) -> None:
    """Select these alone, as far as they are in the current view layer, the first one active."""
    layer = bpy.context.view_layer
    layer.update()  # until then it has what was removed, and not what was added
    for other in list(layer.objects.selected):
        other.select_set(False)
    seen = [thing for thing in things if thing.name in layer.objects]
    for thing in seen:
        thing.select_set(True)
    if seen:
        layer.objects.active = seen[0]


class Place(NamedTuple):
    """Of an object that was made here and may be gone when it is needed.

    Attributes
    ----------
    name, type, run
        The object's; another one may have got its name meanwhile.
    matrix
        Where it was in the world.
    """

    name: str
    type: str
    run: str
    matrix: Matrix

    @classmethod
    def of(cls, thing: bpy.types.Object) -> Place:
        return cls(thing.name, thing.type, thing.get("pointe_run", ""), thing.matrix_world.copy())

    @property
    def thing(self) -> bpy.types.Object | None:
        """The object, if it was made here, is still there and belongs to this file."""
        thing = bpy.data.objects.get(self.name)
        ours = is_generated(thing) and thing.is_editable
        return thing if ours and Place.of(thing)[:3] == self[:3] else None


def put_in_place(made: Iterable[bpy.types.Object], places: Sequence[Place]) -> list[bpy.types.Object]:
    """Let old objects show what new ones do, a cloud that of a cloud and a mesh that of a mesh.

    An old object stays what it was, with its name, place, modifiers and all that refers to it; if it is gone,
    the new one stands where it was.
    """
    stay = []
    for new in made:
        place = next((place for place in places if place.type == new.type), places[0])
        old = place.thing
        if old and old.type == new.type:
            _take_data(old, new)
            stay.append(old)
        else:
            new.matrix_world = place.matrix
            stay.append(new)
    select(stay)
    return stay


def _take_data(old: bpy.types.Object, new: bpy.types.Object) -> None:
    """Let an old object show what a new one does, under the old name; what nobody shows then goes."""
    before, name = old.data, old.data.name
    old.data = new.data
    bpy.data.objects.remove(new)
    if not before.users:
        bpy.data.batch_remove([before])
        old.data.name = name


def join_run(made: Iterable[bpy.types.Object], place: Place) -> list[bpy.types.Object]:
    """Make new objects one more variant of the run of an old one, at the end of its row."""
    made, old = list(made), place.thing
    if old is None:
        return made
    bpy.context.view_layer.update()  # or what was added a moment ago has no dimensions yet
    row = [thing for variant in ranked(old) for thing in variant]
    last = max(row, key=lambda thing: thing.matrix_world.translation.x).matrix_world.translation.copy()
    step = GAP * max(thing.dimensions.x for thing in row)
    number = 1 + max(thing.get("pointe_variant", 0) for thing in row)
    for i, new in enumerate(made, 1):
        new.matrix_world = old.matrix_world
        new.matrix_world.translation = last + Vector((i * step, 0.0, 0.0))
        new["pointe_run"], new["pointe_variant"] = old["pointe_run"], number
    return made


def describe_like(made: Iterable[bpy.types.Object], place: Place) -> list[bpy.types.Object]:
    """Make new objects part of the variant that they were made from, if that was made here."""
    made, old = list(made), place.thing
    for new in made if old else ():
        for key in [key for key in new.keys() if key.startswith("pointe_")]:
            del new[key]
        for key in [key for key in old.keys() if key.startswith("pointe_")]:
            new[key] = settings(old) if key == "pointe_settings" else old[key]
    return made
