"""The variants of a run: ranked, kept, discarded, made again; and what the panel shows of them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

import pointe_blender
from pointe_blender.operators import running
from pointe_blender.operators import variants as operators
from pointe_blender.panels.variants import POINTE_MT_object, POINTE_PT_object, draw_object_menu
from pointe_blender.pipeline.colors import srgb
from pointe_blender.scene import variants
from tests.blender.stand_in import RED, Layout, Pipeline


def make(count: int = 3, **fields: object) -> list[bpy.types.Object]:
    """Variants of seeds from 10 on, best first: the stand-in finds the last seed best."""
    made = pointe_blender.generate("a red ball", seed=10, count=count, **fields)
    bpy.context.view_layer.update()
    return made


def select(*things: bpy.types.Object) -> None:
    bpy.ops.object.select_all(action="DESELECT")
    for thing in things:
        thing.select_set(True)
    bpy.context.view_layer.objects.active = things[0] if things else None


def points(thing: bpy.types.Object) -> np.ndarray:
    position = thing.data.attributes["position"].data
    values = np.empty((len(position), 3), np.float32)
    position.foreach_get("vector", values.ravel())
    return values


def place(thing: bpy.types.Object) -> list[float]:
    bpy.context.view_layer.update()
    return list(thing.matrix_world.translation)


def shown() -> set[str]:
    return {thing.name for thing in bpy.data.objects if thing.users_scene}


def seeds(ranked: list[list[bpy.types.Object]]) -> list[set[int]]:
    return [{thing["pointe_seed"] for thing in variant} for variant in ranked]


def test_they_are_ranked_best_first_each_with_its_mesh_and_cloud(pipeline: Pipeline) -> None:
    made = make()
    ranked = variants.ranked(made[3])
    assert [set(variant) for variant in ranked] == [set(made[i : i + 2]) for i in (0, 2, 4)]
    assert seeds(ranked) == [{12}, {11}, {10}]
    make()
    assert len(variants.ranked(made[0])) == 3, "another run is another matter"


# --- keep and discard


@pytest.mark.parametrize("chosen", [0, 3, 4])
def test_the_kept_one_moves_to_where_the_first_stood(pipeline: Pipeline, chosen: int) -> None:
    made = make()
    kept, places = made[chosen // 2 * 2 :][:2], [place(thing) for thing in made[:2]]
    select(made[chosen])
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.pointe.keep() == {"FINISHED"}
    assert shown() == {thing.name for thing in kept}
    np.testing.assert_allclose([place(thing) for thing in kept], places, atol=1e-6)
    assert not bpy.ops.pointe.keep.poll(), "there is nothing more to choose from"
    bpy.ops.ed.undo()
    assert len(shown()) == 6


def test_keeping_moves_a_variant_of_which_only_the_mesh_is_left(pipeline: Pipeline) -> None:
    mesh, *_, last_mesh, last_cloud = make()
    start = place(mesh)
    bpy.data.objects.remove(last_cloud)
    select(last_mesh)
    bpy.ops.pointe.keep()
    assert place(last_mesh) == pytest.approx(start)


def test_discarding_deletes_the_cloud_with_its_mesh(pipeline: Pipeline) -> None:
    made = make()
    names = [thing.name for thing in made]
    select(made[0], made[3])
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.pointe.discard() == {"FINISHED"}
    assert shown() == set(names[4:])
    bpy.ops.ed.undo()
    assert shown() == set(names)


def test_a_copy_made_by_hand_survives_the_original(pipeline: Pipeline) -> None:
    mesh, _ = make(1)
    copy = mesh.copy()
    bpy.context.collection.objects.link(copy)
    select(mesh)
    bpy.ops.pointe.discard()
    assert shown() == {copy.name}


def test_what_others_made_is_not_touched(pipeline: Pipeline) -> None:
    make()
    bpy.ops.mesh.primitive_cube_add()
    for name in ("keep", "discard", "regenerate", "reuse_settings", "choose"):
        select(bpy.data.objects["Cube"])
        assert not getattr(bpy.ops.pointe, name).poll()
    select(*variants.ranked(bpy.data.objects["a red ball"])[0], bpy.data.objects["Cube"])
    bpy.ops.pointe.discard()
    assert "Cube" in shown()


@pytest.mark.parametrize("name", ["keep", "discard", "regenerate", "choose"])
def test_outside_object_mode_where_undo_has_no_objects_nothing_is_changed(
    pipeline: Pipeline, name: str
) -> None:
    mesh, *_ = make()
    select(mesh)
    operator = getattr(bpy.ops.pointe, name)
    assert operator.poll()
    bpy.ops.object.mode_set(mode="EDIT")
    with pytest.raises(RuntimeError, match="Object Mode"):
        operator()
    assert len(shown()) == 6


# --- make again


def test_regenerating_makes_exactly_that_variant_in_its_place(pipeline: Pipeline) -> None:
    made = make(steps=8, guidance=2.0, points=5000, resolution=24, quality="high")
    mesh, cloud = made[2:4]
    before = points(mesh), points(cloud)
    mesh.location, mesh.scale, mesh.name = (7.0, 8.0, 9.0), (3.0, 3.0, 3.0), "mine"
    mesh.modifiers.new("Bevel", "BEVEL")
    for name in ("prompt", "seed", "steps"):  # what the panel says does not matter
        setattr(bpy.context.scene.pointe, name, {"prompt": "else", "seed": 99, "steps": 4}[name])
    for data in (mesh.data, cloud.data):  # painted over
        paint = data.attributes["Color"].data
        paint.foreach_set("color", np.ones(len(paint) * 4, np.float32))
    blocks, names = len(bpy.data.meshes), (mesh.data.name, cloud.data.name)
    select(mesh)
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.pointe.regenerate() == {"FINISHED"}

    request = pipeline.requests[-1]
    assert len(bpy.data.meshes) == blocks and (mesh.data.name, cloud.data.name) == names
    assert (request.prompt, request.seed, request.count) == ("a red ball", 11, 1)
    assert (request.steps, request.guidance, request.points, request.resolution) == (8, 2.0, 5000, 24)
    assert (request.models, request.output, request.quality) == ("starter", "both", "high")
    assert len(shown()) == 6 and variants.ranked(mesh)[1] == [mesh, cloud]
    assert place(mesh) == [7.0, 8.0, 9.0] and list(mesh.scale) == [3.0] * 3 and "Bevel" in mesh.modifiers
    np.testing.assert_allclose(points(mesh), before[0], atol=1e-5)
    np.testing.assert_allclose(points(cloud), before[1], atol=1e-5)
    for data in (mesh.data, cloud.data):
        assert srgb(np.array(data.attributes["Color"].data[0].color[:3])) == pytest.approx(RED, abs=1e-5)
    assert mesh["pointe_score"] == 0.375 and mesh["pointe_seed"] == 11
    assert bpy.context.active_object in (mesh, cloud) and set(bpy.context.selected_objects) == {mesh, cloud}


@pytest.mark.parametrize("quality", ["fast", "high", "exact"])
def test_it_is_made_again_in_its_own_quality(pipeline: Pipeline, quality: str) -> None:
    mesh, _ = make(1, quality=quality)
    select(mesh)
    for new_seed in (False, True):
        bpy.ops.pointe.regenerate(new_seed=new_seed)
        assert pipeline.requests[-1].quality == quality
    assert f"Quality {quality.capitalize()}" in drawn().text
    assert bpy.ops.pointe.reuse_settings() == {"FINISHED"}
    assert bpy.context.scene.pointe.quality == quality


def test_what_is_older_than_the_choice_of_quality_was_exact(pipeline: Pipeline) -> None:
    mesh, cloud = make(1, steps=8)
    for thing in (mesh, cloud):
        thing["pointe_settings"] = {"steps": 8}  # as it was stored then
    select(mesh)
    bpy.ops.pointe.regenerate()
    request = pipeline.requests[-1]
    assert (request.quality, request.steps) == ("exact", 8)
    assert "Quality Exact" in drawn().text
    assert bpy.ops.pointe.reuse_settings() == {"FINISHED"}
    assert bpy.context.scene.pointe.quality == "exact"


def test_a_mesh_moved_and_scaled_by_hand_is_the_same_after_it(pipeline: Pipeline) -> None:
    mesh, _ = make(1)
    before = points(mesh)
    mesh.location, mesh.scale = (7.0, 8.0, 9.0), (3.0, 3.0, 3.0)
    select(mesh)
    bpy.ops.pointe.regenerate()
    np.testing.assert_allclose(points(mesh), before, atol=1e-5)


@pytest.mark.parametrize("deleted", ["mesh", "cloud"])
def test_only_what_is_still_there_is_made_again(pipeline: Pipeline, deleted: str) -> None:
    mesh, cloud = make(1)
    gone, left = (mesh, cloud) if deleted == "mesh" else (cloud, mesh)
    bpy.data.objects.remove(gone)
    select(left)
    bpy.ops.pointe.regenerate()
    assert shown() == {left.name}
    assert pipeline.requests[-1].output == ("cloud" if deleted == "mesh" else "mesh")


def test_another_seed_joins_the_row(pipeline: Pipeline) -> None:
    made = make()
    select(made[0])
    assert bpy.ops.pointe.regenerate(new_seed=True, replace=False) == {"FINISHED"}
    ranked = variants.ranked(made[0])
    assert len(ranked) == 4 and [thing.type for thing in ranked[3]] == [thing.type for thing in made[:2]]
    assert pipeline.requests[-1].seed not in (10, 11, 12) and pipeline.requests[-1].count == 1
    assert {thing["pointe_seed"] for thing in ranked[3]} == {pipeline.requests[-1].seed}
    xs = [place(thing)[0] for thing in [*made, *ranked[3]]]
    widths = [thing.dimensions.x for thing in [*made, *ranked[3]]]
    assert all(right - left >= width for left, right, width in zip(xs, xs[1:], widths, strict=False))
    assert {round(place(thing)[2], 4) for thing in ranked[3]} == {round(place(made[0])[2], 4)}


def test_another_seed_can_take_the_place(pipeline: Pipeline) -> None:
    mesh, cloud = make()[:2]
    where = place(mesh)
    select(mesh)
    bpy.ops.pointe.regenerate(new_seed=True)
    assert len(shown()) == 6 and place(mesh) == where
    assert mesh["pointe_seed"] == cloud["pointe_seed"] == pipeline.requests[-1].seed != 12
    assert "pointe_score" not in mesh, "that was the score of the other one"


def test_all_selected_variants_are_made_again_each_once(pipeline: Pipeline) -> None:
    made = make()
    select(*made[:3])
    bpy.ops.pointe.regenerate()
    assert [request.seed for request in pipeline.requests[1:]] == [12, 11]
    assert len(shown()) == 6


def test_a_picture_is_found_again_in_the_file(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    image = bpy.data.images.new("chair.png", 32, 32)
    bpy.context.scene.pointe.source, bpy.context.scene.pointe.picture = "image", image
    bpy.ops.pointe.generate(output="mesh")
    (mesh,) = bpy.context.selected_objects
    assert mesh["pointe_picture"] == image
    assert bpy.ops.pointe.regenerate() == {"FINISHED"}
    np.testing.assert_array_equal(pipeline.requests[0].image, pipeline.requests[1].image)
    bpy.data.images.remove(image)
    with pytest.raises(RuntimeError, match="no longer in this file"):
        bpy.ops.pointe.regenerate()
    with pytest.raises(RuntimeError, match="no longer in this file"):
        bpy.ops.pointe.reuse_settings()


def test_what_was_made_from_an_object_cannot_be_made_again_from_words(pipeline: Pipeline) -> None:
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.pointe.mesh_from_points()
    assert variants.is_generated(bpy.context.active_object)
    assert not bpy.ops.pointe.regenerate.poll() and not bpy.ops.pointe.reuse_settings.poll()


def test_what_is_deleted_meanwhile_appears_anew_where_it_was(
    pipeline: Pipeline, until_idle: Callable[[], None]
) -> None:
    mesh, cloud = make(1)
    mesh.location = (7.0, 8.0, 9.0)
    where = place(mesh)
    select(mesh)
    running.submit(lambda: operators.prepare(mesh, new_seed=False, in_place=True))
    bpy.data.batch_remove([mesh, cloud])
    until_idle()
    made = bpy.context.active_object
    assert made.type == "MESH" and len(shown()) == 2
    np.testing.assert_allclose(place(made), where, atol=1e-4)


def test_cancelling_leaves_the_old_one_as_it_is(pipeline: Pipeline, until_idle: Callable[[], None]) -> None:
    mesh, _ = make(1)
    select(mesh)
    before, count = points(mesh), len(bpy.data.meshes)
    pipeline.pace = lambda: running.state.current.job.cancel()
    running.submit(lambda: operators.prepare(mesh, new_seed=True, in_place=True))
    until_idle()
    np.testing.assert_array_equal(points(mesh), before)
    assert mesh["pointe_seed"] == 10 and len(bpy.data.meshes) == count


def test_it_is_made_again_in_its_scene_while_another_one_is_shown(
    pipeline: Pipeline, until_idle: Callable[[], None]
) -> None:
    mesh, _ = make(1)
    select(mesh)
    running.submit(lambda: operators.prepare(mesh, new_seed=True, in_place=True))
    bpy.context.window.scene = bpy.data.scenes.new("other")
    until_idle()
    assert running.state.error == "" and mesh["pointe_seed"] == pipeline.requests[-1].seed
    assert len(shown()) == 2 and not bpy.context.scene.objects


def test_settings_of_models_that_are_gone_are_refused_with_a_log(pipeline: Pipeline) -> None:
    mesh, *_ = make(1)
    mesh["pointe_models"] = "gone"
    select(mesh)
    with pytest.raises(RuntimeError, match="gone"):
        bpy.ops.pointe.reuse_settings()
    assert "gone" in running.state.error and "Traceback" in running.state.log


def test_settings_come_back_to_the_panel(pipeline: Pipeline) -> None:
    mesh, *_ = make(output="mesh", steps=8, guidance=2.5, quality="high")
    settings = bpy.context.scene.pointe
    settings.prompt, settings.count, settings.points, settings.source = "else", 4, 9000, "image"
    select(mesh)
    assert bpy.ops.pointe.reuse_settings() == {"FINISHED"}
    assert (settings.source, settings.prompt, settings.seed, settings.count) == (
        "prompt",
        "a red ball",
        12,
        1,
    )
    assert (settings.output, settings.steps, settings.guidance) == ("mesh", 8, 2.5)
    assert settings.quality == "high"
    assert (settings.points, settings.resolution) == (0, 0)


def test_choosing_a_variant_selects_its_mesh_and_cloud(pipeline: Pipeline) -> None:
    made = make()
    select(made[0])
    assert bpy.ops.pointe.choose(rank=3) == {"FINISHED"}
    assert set(bpy.context.selected_objects) == set(made[4:]) and bpy.context.active_object in made[4:]


# --- the panel


def drawn() -> Layout:
    layout = Layout()
    POINTE_PT_object.draw(SimpleNamespace(layout=layout), bpy.context)
    return layout


def test_the_panel_lists_the_variants_best_first_with_seed_and_score(pipeline: Pipeline) -> None:
    made = make(steps=8)
    select(made[2])
    text = drawn().text
    assert "a red ball" in text and "Starter" in text and "Steps 8" in text and "Variant 2 of 3" in text
    assert text.index("Seed 12  (0.50)") < text.index("Seed 11  (0.38)") < text.index("Seed 10  (0.25)")
    buttons = drawn().buttons
    assert buttons.count("pointe.choose") == 3 and buttons.count("pointe.regenerate") == 2
    assert {"pointe.keep", "pointe.discard", "pointe.mesh_from_points", "pointe.densify"} <= set(buttons)


def test_the_panel_of_a_single_one_offers_no_choice(pipeline: Pipeline) -> None:
    select(make(1)[0])
    assert "pointe.keep" not in drawn().buttons and "pointe.regenerate" in drawn().buttons


def test_of_other_objects_it_offers_mesh_and_points(pipeline: Pipeline) -> None:
    assert "Select a mesh" in drawn().text
    bpy.ops.mesh.primitive_cube_add()
    assert drawn().buttons == ["pointe.mesh_from_points", "pointe.densify"] and drawn().text == ""


def test_the_object_menu_has_all_that_the_panels_offer_for_objects(extension: None) -> None:
    layout = Layout()
    draw_object_menu(SimpleNamespace(layout=layout), bpy.context)
    assert ("menu", (POINTE_MT_object.__name__,), {}) in layout.calls
    POINTE_MT_object.draw(SimpleNamespace(layout=layout), bpy.context)
    assert [name.removeprefix("pointe.") for name in layout.buttons] == [
        "mesh_from_points",
        "densify",
        "regenerate",
        "regenerate",
        "reuse_settings",
        "keep",
        "discard",
        "finish",
        "bake_texture",
        "mark_asset",
    ]
    assert layout.operator_context == "INVOKE_REGION_WIN", "they run in the background"
