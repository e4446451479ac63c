"""A scene of its own for a moment: operators and modifiers at work, unseen by the artist's scenes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bpy


@contextmanager
def staged(things: Sequence[bpy.types.Object]) -> Iterator[bpy.types.ViewLayer]:
    """The evaluated view layer of a new scene that shows these objects; for operators it is the current one.

    The first object is active there and all are selected, whatever they are in other scenes.
    """
    scene = bpy.data.scenes.new("Point-E")
    layer = scene.view_layers[0]
    try:
        for thing in things:
            scene.collection.objects.link(thing)
            thing.select_set(True, view_layer=layer)
        layer.objects.active = things[0]
        layer.update()
        names = ("active_object", "object", "edit_object")
        lists = ("selected_objects", "selected_editable_objects")
        context = {**dict.fromkeys(names, things[0]), **{name: list(things) for name in lists}}
        with bpy.context.temp_override(scene=scene, view_layer=layer, **context):
            yield layer
    finally:
        bpy.data.scenes.remove(scene)


def evaluated(thing: bpy.types.Object) -> bpy.types.Mesh:
    """A new mesh of what an object's modifiers make of it, whether a scene shows the object or not."""
    with staged([thing]) as layer:
        depsgraph = layer.depsgraph
        return bpy.data.meshes.new_from_object(
            thing.evaluated_get(depsgraph), preserve_all_data_layers=True, depsgraph=depsgraph
        )
