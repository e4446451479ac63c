"""Where new objects are linked and what is selected then."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import bpy


def link(objects: Sequence[bpy.types.Object], scene: bpy.types.Scene, collection: str) -> None:
    """Put objects into the collection of that name or the one in use; select them, the first one active."""
    layer = bpy.context.view_layer if scene == bpy.context.scene else scene.view_layers[0]
    home = _named_collection(scene, collection) if collection else _collection_in_use(scene, layer)
    for thing in objects:
        home.objects.link(thing)
    for other in list(layer.objects.selected):
        other.select_set(False, view_layer=layer)
    with suppress(RuntimeError):  # the collection is excluded from the view layer
        for thing in objects:
            thing.select_set(True, view_layer=layer)
        layer.objects.active = objects[0]


def _named_collection(scene: bpy.types.Scene, name: str) -> bpy.types.Collection:
    collection = bpy.data.collections.get(name) or bpy.data.collections.new(name)
    if collection not in scene.collection.children_recursive:
        scene.collection.children.link(collection)
    return collection


def _collection_in_use(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> bpy.types.Collection:
    """The active one, or the scene's own if that one is hidden."""
    active = layer.active_layer_collection
    return active.collection if active.is_visible and active.collection.is_editable else scene.collection
