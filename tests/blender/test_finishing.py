"""A mesh ready to use: closed whatever is done to it, with its colours, and still changeable."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import bpy
import numpy as np
import pytest

from pointe_blender.operators import running
from pointe_blender.pipeline import Mesh, Request, Result
from pointe_blender.pipeline.colors import srgb
from pointe_blender.pipeline.errors import InvalidRequest
from pointe_blender.scene import finishing, objects, staging, textures
from pointe_blender.scene.finishing import Finish
from tests.blender.stand_in import Layout, red_cloud

SMOOTH = {"size": 2.0, "origin": "CENTER"}


def bumpy() -> Mesh:
    """A closed surface of 5120 triangles, each vertex in the colour of its place."""
    import bmesh

    shape, mesh = bmesh.new(), bpy.data.meshes.new("shape")
    bmesh.ops.create_icosphere(shape, subdivisions=5, radius=0.5)
    shape.to_mesh(mesh)
    shape.free()
    vertices = np.array([vertex.co for vertex in mesh.vertices], np.float32)
    triangles = np.array([polygon.vertices for polygon in mesh.polygons], np.int32)
    bpy.data.meshes.remove(mesh)
    vertices *= 1 - 0.2 * np.sin(9 * vertices[:, :1]) ** 2
    vertices /= np.ptp(vertices, axis=0).max()
    return Mesh(vertices, triangles, vertices + 0.5)


@pytest.fixture
def finished(extension: None) -> Callable[..., bpy.types.Object]:
    """Insert a coloured mesh with a finish."""

    def insert(**finish: object) -> bpy.types.Object:
        result = Result((red_cloud(),), (bumpy(),), (0,), (), "starter", "cpu", {"total": 0.1})
        asked = Request(prompt="a bump", output="mesh")
        (thing,) = objects.insert(result, asked, "a bump", "Scene", Finish(**{**SMOOTH, **finish}))
        return thing

    return insert


def is_closed(mesh: bpy.types.Mesh) -> bool:
    """Whether every edge belongs to two faces that run along it in opposite directions."""
    edges = np.array(
        [
            key
            for face in mesh.polygons
            for key in zip(face.vertices, [*face.vertices[1:], face.vertices[0]], strict=True)
        ]
    )
    there, back = ({tuple(edge) for edge in way} for way in (edges, edges[:, ::-1]))
    return len(there) == len(edges) and there == back


def color_error(mesh: bpy.types.Mesh) -> float:
    """How far the colours of a mesh of twice the size are from those of their places, sRGB."""
    points, colors = (
        np.empty((len(mesh.vertices), 3), np.float32),
        np.empty((len(mesh.vertices), 4), np.float32),
    )
    mesh.attributes["position"].data.foreach_get("vector", points.ravel())
    mesh.attributes["Color"].data.foreach_get("color", colors.ravel())
    return float(np.abs(srgb(colors[:, :3]) - (points / 2 + 0.5)).max())


def volume(mesh: bpy.types.Mesh) -> float:
    mesh.calc_loop_triangles()
    corners = np.array([[mesh.vertices[i].co for i in face.vertices] for face in mesh.loop_triangles])
    return float(np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6)


def test_as_made_it_is_closed_and_has_no_modifiers(finished: Callable[..., bpy.types.Object]) -> None:
    thing = finished()
    assert is_closed(thing.data) and not thing.modifiers
    assert color_error(thing.data) < 1e-5


@pytest.mark.parametrize("shading", ["SMOOTH", "FLAT"])
@pytest.mark.parametrize("remesh", [0.0, 0.1])
def test_smooth_or_flat_with_and_without_remesh(
    finished: Callable[..., bpy.types.Object], shading: str, remesh: float
) -> None:
    mesh = staging.evaluated(finished(shading=shading, remesh=remesh))
    assert {face.use_smooth for face in mesh.polygons} == {shading == "SMOOTH"}


@pytest.mark.parametrize("faces", [100, 1000, 3000])
def test_decimate_leaves_as_many_faces_as_asked_for(
    finished: Callable[..., bpy.types.Object], faces: int
) -> None:
    thing = finished(faces=faces)
    mesh = staging.evaluated(thing)
    assert len(mesh.polygons) == pytest.approx(faces, rel=0.02)
    assert is_closed(mesh) and volume(mesh) == pytest.approx(volume(thing.data), rel=0.06)
    assert color_error(mesh) < 0.1
    thing.modifiers["Decimate"].ratio = 1.0
    assert len(staging.evaluated(thing).polygons) == 5120, "the artist can take it back"


def test_more_faces_than_there_are_need_no_modifier(finished: Callable[..., bpy.types.Object]) -> None:
    assert not finished(faces=10_000).modifiers


def test_remesh_keeps_the_colours_and_stays_editable(finished: Callable[..., bpy.types.Object]) -> None:
    thing = finished(remesh=0.05)
    mesh = staging.evaluated(thing)
    assert is_closed(mesh) and volume(mesh) == pytest.approx(volume(thing.data), rel=0.02)
    assert len(mesh.polygons[0].vertices) == 4, "Blender's even quads"
    assert color_error(mesh) < 0.03
    assert mesh.attributes.active_color_name == "Color", "so that Solid shading shows it"
    assert [material.name for material in mesh.materials] == ["Point-E Color"]
    thing.modifiers["Remesh"].voxel_size = 0.1
    coarser = staging.evaluated(thing)
    assert len(coarser.polygons) < len(mesh.polygons) / 3 and color_error(coarser) < 0.06
    thing.modifiers["Remesh"].show_viewport = False
    assert len(staging.evaluated(thing).polygons) == 5120


def test_remesh_and_decimate_together(finished: Callable[..., bpy.types.Object]) -> None:
    thing = finished(remesh=0.04, faces=1500)
    mesh = staging.evaluated(thing)
    assert [modifier.name for modifier in thing.modifiers] == [
        "Point-E Original",
        "Remesh",
        "Point-E Colors",
        "Decimate",
    ]
    assert len(mesh.polygons) == pytest.approx(1500, rel=0.02)
    assert is_closed(mesh) and color_error(mesh) < 0.08


def test_a_remesh_that_would_never_end_is_made_coarser(finished: Callable[..., bpy.types.Object]) -> None:
    thing = finished()
    finishing.finish_mesh(thing, Finish(remesh=1e-9))
    assert thing.modifiers["Remesh"].voxel_size == pytest.approx(2.0 / 1000)


def test_finishing_again_replaces_what_was_there(finished: Callable[..., bpy.types.Object]) -> None:
    thing = finished(remesh=0.1, faces=500)
    thing.modifiers.new("Bend", "SIMPLE_DEFORM")
    finishing.finish_mesh(thing, Finish(faces=300))
    assert [modifier.name for modifier in thing.modifiers] == ["Bend", "Decimate"], "the artist's own stays"


def test_a_texture_has_the_colours_of_the_surface(finished: Callable[..., bpy.types.Object]) -> None:
    thing = finished(faces=1000, texture=256)
    mesh = thing.data
    (material,) = mesh.materials
    image = next(node.image for node in material.node_tree.nodes if node.type == "TEX_IMAGE")
    assert tuple(image.size) == (256, 256) and image.packed_file
    assert not thing.modifiers and len(mesh.polygons) == pytest.approx(1000, rel=0.02)
    assert is_closed(mesh)
    pixels = np.array(image.pixels[:]).reshape(256, 256, 4)
    uv = np.empty((len(mesh.loops), 2), np.float32)
    mesh.uv_layers.active.data.foreach_get("uv", uv.ravel())
    assert uv.min() >= 0.0 and uv.max() <= 1.0
    middles = uv.reshape(-1, 3, 2).mean(axis=1)
    seen = pixels[(middles[:, 1] * 256).astype(int), (middles[:, 0] * 256).astype(int), :3]
    centers = np.array([face.center for face in mesh.polygons])
    assert np.quantile(np.abs(seen - (centers / 2 + 0.5)).max(axis=1), 0.99) < 0.05


def test_baking_leaves_the_artists_scene_alone(finished: Callable[..., bpy.types.Object]) -> None:
    scene = bpy.context.scene
    engine = scene.render.engine
    thing = finished(texture=64)
    assert bpy.context.scene == scene and scene.render.engine == engine
    assert bpy.context.mode == "OBJECT" and bpy.context.view_layer.objects.active == thing
    assert [other.name for other in bpy.data.objects] == ["a bump"]
    assert [mesh.name for mesh in bpy.data.meshes] == ["a bump"]
    assert [material.name for material in bpy.data.materials if material.users] == ["a_bump_colors"]
    assert [other.name for other in bpy.data.scenes] == [scene.name]


def test_a_textured_object_still_goes_back_to_the_pipeline(finished: Callable[..., bpy.types.Object]) -> None:
    thing = finished(faces=1000, texture=64, size=7.0)
    cloud, back = objects.to_cloud(thing)
    assert np.abs(cloud.points).max() == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(cloud.colors, cloud.points + 0.5, atol=0.05)
    assert back.to_scale().x == pytest.approx(7.0, rel=1e-6)


def test_a_bake_that_fails_leaves_the_object_as_it_was(
    finished: Callable[..., bpy.types.Object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(things: object) -> None:
        raise RuntimeError("no memory")

    thing = finished()
    monkeypatch.setattr(textures, "staged", fail)
    kinds = (bpy.data.images, bpy.data.materials, bpy.data.objects, bpy.data.meshes)
    before, materials = list(map(len, kinds)), list(thing.data.materials)
    with pytest.raises(RuntimeError):
        textures.bake(thing, 64)
    assert list(map(len, kinds)) == before and list(thing.data.materials) == materials


def test_without_cycles_a_texture_is_refused_before_anything_is_made(
    extension: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bpy.context.scene.pointe.texture = "512"
    assert Finish.of(bpy.context.scene).texture == 512
    bpy.ops.preferences.addon_disable(module="cycles")
    try:
        with pytest.raises(InvalidRequest, match="Cycles"):
            Finish.of(bpy.context.scene)
        with pytest.raises(InvalidRequest, match="Cycles"):
            textures.check()
    finally:
        bpy.ops.preferences.addon_enable(module="cycles")


def test_the_settings_of_the_scene_are_the_finish(extension: None) -> None:
    settings = bpy.context.scene.pointe
    assert Finish.of(bpy.context.scene) == Finish(), "both have the same defaults"
    settings.size, settings.origin, settings.place = 2.5, "CENTER", "GROUND"
    settings.shading, settings.faces, settings.remesh, settings.asset = "FLAT", 500, 0.25, True
    settings.collection = bpy.data.collections.new("Chairs")
    expected = Finish(2.5, "CENTER", "GROUND", "Chairs", "FLAT", 500, 0.25, 0, True)
    assert Finish.of(bpy.context.scene) == expected


@pytest.mark.parametrize("place", ["CURSOR", "GROUND"])
@pytest.mark.parametrize("origin", ["BASE", "CENTER"])
def test_what_forms_does_so_where_the_result_will_stand(extension: None, place: str, origin: str) -> None:
    scene = bpy.context.scene
    scene.cursor.location = (1.0, 2.0, 3.0)
    finish = Finish(size=4.0, origin=origin, place=place)
    result = Result((red_cloud(),), (), (0,), (), "starter", "cpu", {"total": 0.1})
    (thing,) = objects.insert(result, Request(prompt="a", output="cloud"), "a", scene.name, finish)
    _, back = objects.to_cloud(thing)
    bpy.context.view_layer.update()
    np.testing.assert_allclose(
        np.array(finish.matrix(scene)), np.array(thing.matrix_world @ back), atol=0.01 * 4.0
    )


def test_the_panel_offers_every_setting_and_the_radius_of_a_cloud(extension: None) -> None:
    from pointe_blender.panels import output

    layout = Layout()
    output.draw_finish(layout, bpy.context.scene.pointe)
    assert set(layout.fields) == {field.name for field in dataclasses.fields(Finish)}
    result = Result((red_cloud(),), (), (0,), (), "starter", "cpu", {"total": 0.1})
    asked = Request(prompt="a", output="cloud")
    (thing,) = objects.insert(result, asked, "a", "Scene", Finish())
    for active, expected in ((None, 0), (thing, 1)):
        layout = Layout()
        output.draw_radius(layout, active)
        assert len(layout.fields) == expected


def test_a_mesh_without_faces_is_refused_and_nothing_is_left(extension: None) -> None:
    empty = bpy.data.objects.new("empty", bpy.data.meshes.new("empty"))
    bpy.context.collection.objects.link(empty)
    with pytest.raises(InvalidRequest, match="no faces"):
        textures.bake(empty, 64)
    assert not bpy.data.images and not empty.data.materials


class TestOperators:
    """On what is selected."""

    def test_the_present_settings_are_given_to_what_is_there(
        self, finished: Callable[..., bpy.types.Object]
    ) -> None:
        thing = finished()
        settings = bpy.context.scene.pointe
        settings.size, settings.faces, settings.asset = 3.0, 800, True
        assert bpy.ops.pointe.finish() == {"FINISHED"}
        assert max(thing.dimensions) == pytest.approx(3.0, rel=0.02)
        assert len(staging.evaluated(thing).polygons) == pytest.approx(800, rel=0.02)
        assert thing.asset_data is not None

    def test_bake(self, finished: Callable[..., bpy.types.Object]) -> None:
        thing = finished()
        assert bpy.ops.pointe.bake_texture(pixels=32) == {"FINISHED"}
        assert bpy.data.images["a_bump_colors"].size[0] == 32
        assert bpy.ops.pointe.bake_texture(pixels=64) == {"FINISHED"}, "again"
        assert len(thing.data.uv_layers) == 1 and len(thing.data.materials) == 1

    def test_mark_as_asset(self, finished: Callable[..., bpy.types.Object]) -> None:
        thing = finished()
        assert bpy.ops.pointe.mark_asset() == {"FINISHED"}
        assert thing.asset_data.description == "a bump"

    @pytest.mark.parametrize("name", ["finish", "bake_texture", "mark_asset"])
    def test_what_goes_wrong_stays_in_the_panel_with_a_log(
        self, finished: Callable[..., bpy.types.Object], name: str
    ) -> None:
        finished().data.clear_geometry()
        with pytest.raises(RuntimeError) as raised:
            getattr(bpy.ops.pointe, name)()
        said = str(raised.value).strip()
        assert said == f"Error: {running.state.error}" and "\n" not in said
        assert running.state.error in running.state.log

    @pytest.mark.parametrize("name", ["finish", "bake_texture", "mark_asset"])
    def test_they_need_something_that_was_made_here(self, extension: None, name: str) -> None:
        operator = getattr(bpy.ops.pointe, name)
        assert not operator.poll()
        bpy.ops.mesh.primitive_cube_add()
        assert not operator.poll()
        assert operator.get_rna_type().description
