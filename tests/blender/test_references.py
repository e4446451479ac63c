"""Reference pictures: whatever Blender shows reaches the models as it is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

from pointe_blender import history
from pointe_blender.operators import running
from pointe_blender.operators.references import POINTE_FH_picture
from pointe_blender.panels import pictures as panel
from pointe_blender.pipeline import pictures
from pointe_blender.pipeline.errors import InvalidRequest
from pointe_blender.pipeline.models import MODEL_SETS
from pointe_blender.pipeline.pictures import MAX_SIDE
from pointe_blender.scene import captures, references, thumbnail
from tests.blender.stand_in import Layout, Pipeline

Draw = Callable[..., bpy.types.Image]


@pytest.fixture(autouse=True)
def own_history(extension: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person who runs the tests is read or written."""
    monkeypatch.setattr(history, "file", lambda: tmp_path / "user" / "prompts.json")


@pytest.fixture
def drawn() -> np.ndarray:
    """(12, 16, 4) uint8 that is different in every pixel, so that nothing can be turned or swapped unseen."""
    return np.random.default_rng(0).integers(0, 256, (12, 16, 4), dtype=np.uint8)


def image_of(values: np.ndarray, *, float_buffer: bool = False, name: str = "picture") -> bpy.types.Image:
    """An image of the blend file with these values, first row at the top: uint8, or light."""
    image = bpy.data.images.new(name, values.shape[1], values.shape[0], alpha=True, float_buffer=float_buffer)
    scale = 1.0 if float_buffer else 255.0
    image.pixels.foreach_set((values[::-1] / np.float32(scale)).astype(np.float32).ravel())
    return image


def saved(values: np.ndarray, path: Path) -> Path:
    """A picture file made by Blender itself."""
    image = image_of(values)
    image.file_format = {".png": "PNG", ".tif": "TIFF", ".bmp": "BMP", ".webp": "WEBP"}[path.suffix]
    image.filepath_raw = str(path)
    image.save()
    bpy.data.images.remove(image)
    return path


def encoded(light: float) -> int:
    """sRGB of a light, IEC 61966-2-1."""
    return round(255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))


def refused(operator: Callable[..., object], **settings: object) -> str:
    """What an operator says when it cannot be carried out."""
    with pytest.raises(RuntimeError) as raised:
        operator(**settings)
    said = str(raised.value).strip().splitlines()[-1].removeprefix("Error: ")
    assert said.endswith(".") and ": " in said
    return said


# --- images to arrays --------------------------------------------------------------------------------


def test_bytes_arrive_as_they_are_and_the_right_way_up(drawn: np.ndarray) -> None:
    np.testing.assert_array_equal(references.pixels(image_of(drawn)), drawn)


@pytest.mark.parametrize("name", ["it.png", "it.tif"])
def test_files_arrive_as_they_are(drawn: np.ndarray, name: str, tmp_path: Path) -> None:
    image = bpy.data.images.load(str(saved(drawn, tmp_path / name)))
    np.testing.assert_array_equal(references.pixels(image), drawn)
    image.pack()
    (tmp_path / name).unlink()
    np.testing.assert_array_equal(references.pixels(image), drawn, "packed")


def test_an_alpha_that_says_nothing_is_left_out(drawn: np.ndarray) -> None:
    drawn[..., 3] = 255
    np.testing.assert_array_equal(references.pixels(image_of(drawn)), drawn[..., :3])


@pytest.mark.parametrize("mode", ["NONE", "CHANNEL_PACKED"])
def test_an_alpha_that_is_to_be_ignored_is(drawn: np.ndarray, mode: str, tmp_path: Path) -> None:
    image = bpy.data.images.load(str(saved(drawn, tmp_path / "it.png")))
    image.alpha_mode = mode
    np.testing.assert_array_equal(references.pixels(image), drawn[..., :3])


def test_light_becomes_srgb_with_straight_alpha() -> None:
    values = np.zeros((10, 10, 4), np.float32)
    values[:5] = (0.5, 0.05, 0.002, 1.0)
    values[5:] = (0.25, 0.025, 0.001, 0.5)  # the same, half covered: Blender keeps light times alpha
    shown = references.pixels(image_of(values, float_buffer=True))
    assert shown[0, 0].tolist() == [encoded(0.5), encoded(0.05), encoded(0.002), 255]
    assert shown[9, 0].tolist() == [encoded(0.5), encoded(0.05), encoded(0.002), 128]


def test_light_above_white_and_what_is_no_number_are_kept_in_bounds() -> None:
    values = np.ones((10, 10, 4), np.float32)
    values[0, :, 0], values[1, :, 0], values[2, :, 0] = 40.0, np.inf, np.nan
    shown = references.pixels(image_of(values, float_buffer=True))
    assert shown[:3, 0, 0].tolist() == [255, 255, 0] and shown.shape == (10, 10, 3)


@pytest.mark.parametrize("kind", ["OPEN_EXR", "HDR"])
def test_files_of_light(kind: str, tmp_path: Path) -> None:
    values = np.ones((10, 14, 4), np.float32)
    values[:4, :, :3] = (0.25, 0.5, 0.125)
    scene = bpy.context.scene
    scene.render.image_settings.file_format = kind
    path = tmp_path / f"it.{'exr' if kind == 'OPEN_EXR' else 'hdr'}"
    image_of(values, float_buffer=True).save_render(str(path), scene=scene)
    shown = references.pixels(references.load(path))
    assert shown.shape == (10, 14, 3)
    assert np.abs(shown[0, 0].astype(int) - [encoded(0.25), encoded(0.5), encoded(0.125)]).max() <= 1
    assert shown[9, 0].tolist() == [255, 255, 255]


def test_data_is_shown_as_it_is(drawn: np.ndarray, tmp_path: Path) -> None:
    image = bpy.data.images.load(str(saved(drawn, tmp_path / "it.png")))
    image.colorspace_settings.name = "Non-Color"
    np.testing.assert_array_equal(references.pixels(image), drawn)


def test_other_colour_spaces_are_converted_by_blender(tmp_path: Path) -> None:
    values = np.full((10, 10, 4), 255, np.uint8)
    values[..., :3] = (128, 64, 10)
    image = bpy.data.images.load(str(saved(values, tmp_path / "it.png")))
    image.colorspace_settings.name = "Linear Rec.709"
    scenes = len(bpy.data.scenes)
    shown = references.pixels(image)
    wanted = [encoded(value / 255) for value in (128, 64, 10)]
    assert np.abs(shown[0, 0, :3].astype(int) - wanted).max() <= 1
    assert len(bpy.data.scenes) == scenes


def test_grey_is_grey(tmp_path: Path) -> None:
    scene = bpy.context.scene
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "BW"
    scene.view_settings.view_transform = "Standard"
    values = np.full((10, 10, 4), (90, 90, 90, 255), np.uint8)
    image_of(values).save_render(str(tmp_path / "grey.png"), scene=scene)
    shown = references.pixels(references.load(tmp_path / "grey.png"))
    assert shown.shape == (10, 10, 3) and np.abs(shown.astype(int) - 90).max() <= 1


def test_a_phone_s_picture_stands_upright_as_in_the_shell(tmp_path: Path) -> None:
    """A JPEG of Blender's, given the Exif entry that a camera held on its side writes."""
    scene = bpy.context.scene
    scene.render.image_settings.file_format, scene.view_settings.view_transform = "JPEG", "Standard"
    values = np.full((16, 32, 4), (20, 20, 20, 255), np.uint8)
    values[:, :16] = (250, 250, 250, 255)  # white on the left: turned by 90° clockwise, at the top
    path = tmp_path / "phone.jpg"
    image_of(values).save_render(str(path), scene=scene)
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"\xff\xe1" + (8 + len(tiff)).to_bytes(2, "big") + b"Exif\0\0" + tiff
    path.write_bytes(path.read_bytes()[:2] + exif + path.read_bytes()[2:])

    image = references.load(path)
    for _ in range(2):
        shown = references.pixels(image)
        assert shown.shape == (32, 16, 3) and shown[2, 8].min() > 200 and shown[29, 8].max() < 60
        image.pack()


def test_huge_pictures_are_reduced() -> None:
    image = bpy.data.images.new("huge", 3 * MAX_SIDE, 30)
    image.generated_color = (1.0, 1.0, 1.0, 1.0)
    shown = references.pixels(image)
    assert shown.shape[:2] == (10, MAX_SIDE)


@pytest.mark.parametrize("size", [(1, 1), (7, 500), (500, 7)])
def test_a_few_pixels_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequest, match=f"only {size[0]} × {size[1]} pixels"):
        references.pixels(bpy.data.images.new("tiny", *size))


def test_a_file_that_is_gone_is_named(drawn: np.ndarray, tmp_path: Path) -> None:
    image = bpy.data.images.load(str(saved(drawn, tmp_path / "gone.png")))
    (tmp_path / "gone.png").unlink()
    image.reload()
    with pytest.raises(InvalidRequest, match=r"gone\.png is missing"):
        references.pixels(image)


def test_a_file_is_loaded_once_and_what_is_no_picture_leaves_nothing(
    drawn: np.ndarray, tmp_path: Path
) -> None:
    path = saved(drawn, tmp_path / "it.png")
    assert references.load(path) == references.load(path)
    before = set(bpy.data.images)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InvalidRequest, match=r"text\.png is no picture"):
        references.load(tmp_path / "text.png")
    with pytest.raises(InvalidRequest, match=r"There is no file .*none\.png"):
        references.load(tmp_path / "none.png")
    with pytest.raises(InvalidRequest, match="No picture is chosen"):
        references.load(Path(""))
    assert set(bpy.data.images) == before


# --- the render, the view, the clipboard -------------------------------------------------------------


@pytest.fixture
def rendered(extension: None) -> Callable[[tuple[float, float, float]], np.ndarray]:
    """Render a plane of a colour (light) that fills the left half; the rest is transparent."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 1, False
    scene.cycles.pixel_filter_type = "BOX"
    scene.render.resolution_x, scene.render.resolution_y = 32, 20
    scene.render.film_transparent, scene.render.dither_intensity = True, 0.0
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format = "JPEG"
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.type, camera.data.ortho_scale = "ORTHO", 2.0
    camera.location = (1, 0, 5)
    bpy.ops.mesh.primitive_plane_add(size=2)
    scene.collection.objects.link(camera)
    scene.camera = camera
    material = bpy.data.materials.new("light")
    if material.node_tree is None:  # before 5.0
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    emission = tree.nodes.new("ShaderNodeEmission")
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(emission.outputs[0], output.inputs["Surface"])
    bpy.context.object.data.materials.append(material)

    def render(light: tuple[float, float, float]) -> None:
        shader = bpy.data.materials["light"].node_tree.nodes["Emission"]  # undo leaves no older reference
        shader.inputs["Color"].default_value = (*light, 1.0)
        bpy.ops.render.render()

    return render


def test_the_render_is_taken_as_it_is_displayed(rendered: Callable) -> None:
    scene = bpy.context.scene
    rendered((0.5, 0.1, 0.02))
    bpy.ops.pointe.take_picture(source="RENDER")
    image = scene.pointe.picture
    assert scene.pointe.source == "image"
    assert image.name == "Point-E Render" and image.packed_file and tuple(image.size) == (32, 20)
    shown = references.pixels(image)
    wanted = [encoded(0.5), encoded(0.1), encoded(0.02), 255]
    assert np.abs(shown[10, 4].astype(int) - wanted).max() <= 1
    assert shown[10, 28, 3] == 0
    np.testing.assert_array_equal(
        references.pixels(bpy.data.images["Render Result"]), shown, "the result itself can be chosen, too"
    )
    assert scene.render.image_settings.file_format == "JPEG", "the artist's settings stay"


def test_another_render_takes_the_place_of_the_last_unless_something_was_made_from_it(
    rendered: Callable,
) -> None:
    settings = bpy.context.scene.pointe

    def red() -> int:
        return int(references.pixels(settings.picture)[10, 4, 0])

    def kept() -> list[str]:
        return [image.name for image in bpy.data.images if image.get(references.SOURCE)]

    for light in (0.1, 0.5):
        rendered((light, 0, 0))
        bpy.ops.pointe.take_picture("EXEC_DEFAULT", True, source="RENDER")
        assert abs(red() - encoded(light)) <= 1 and kept() == ["Point-E Render"]
    bpy.ops.ed.undo()
    settings = bpy.context.scene.pointe
    assert abs(red() - encoded(0.1)) <= 1 and kept() == ["Point-E Render"]

    thing = bpy.data.objects.new("made from it", None)
    bpy.context.scene.collection.objects.link(thing)
    thing["pointe_picture"] = settings.picture
    rendered((0.9, 0, 0))
    bpy.ops.pointe.take_picture(source="RENDER")
    assert abs(red() - encoded(0.9)) <= 1 and len(kept()) == 2
    assert abs(int(references.pixels(thing["pointe_picture"])[10, 4, 0]) - encoded(0.1)) <= 1


def test_what_is_not_there_is_said_in_a_sentence(extension: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures.shutil, "which", lambda name: None)
    take = bpy.ops.pointe.take_picture
    assert "render the scene first" in refused(take, source="RENDER")
    assert "open one" in refused(take, source="VIEWPORT")
    wanted = "install xclip" if sys.platform == "linux" else "copy one"
    assert wanted in refused(take, source="CLIPBOARD")
    assert bpy.context.scene.pointe.picture is None and bpy.context.scene.pointe.source == "prompt"
    assert wanted in running.state.error and wanted in running.state.log, "it can be copied"


def test_a_copied_picture_is_read_by_the_system_s_program(
    drawn: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for xclip prints a file, as the real one prints what was copied."""
    file = saved(drawn, tmp_path / "copied.png")
    program = tmp_path / "bin" / "xclip"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$2" = clipboard ] && [ "$4" = image/png ] && cat "{file}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    for _ in range(2):
        bpy.ops.pointe.take_picture(source="CLIPBOARD")
    image = bpy.context.scene.pointe.picture
    np.testing.assert_array_equal(references.pixels(image), drawn)
    assert image.name == "Point-E Clipboard" and image.packed_file
    assert [i.name for i in bpy.data.images if i.has_data] == ["Point-E Clipboard"]

    program.write_text("#!/bin/sh\nexit 1\n")
    assert "no picture on the clipboard" in refused(bpy.ops.pointe.take_picture, source="CLIPBOARD")


@pytest.mark.parametrize("text", ["{path}", '"{path}"', "file://{address}", "{path}\n"])
def test_a_copied_path_is_the_picture_it_leads_to(text: str, drawn: np.ndarray, tmp_path: Path) -> None:
    path = saved(drawn, tmp_path / "a chair.png")
    text = text.format(path=path, address=str(path).replace(" ", "%20"))
    manager = SimpleNamespace(clipboard=text)
    image = captures.clipboard(SimpleNamespace(window_manager=manager, screen=None))
    assert bpy.path.abspath(image.filepath) == str(path)


@pytest.mark.parametrize("text", ["", "a red chair", "two\nlines.png", "notes.txt"])
def test_other_copied_text_is_no_picture(text: str) -> None:
    assert captures._copied_path(text) is None


# --- files that are dropped --------------------------------------------------------------------------


def test_a_dropped_file_becomes_the_picture(drawn: np.ndarray, tmp_path: Path) -> None:
    path = saved(drawn, tmp_path / "chair.png")
    bpy.ops.pointe.drop_picture("EXEC_DEFAULT", True, filepath=str(path))
    settings = bpy.context.scene.pointe
    assert settings.source == "image" and settings.picture.name == "chair.png"
    bpy.ops.ed.undo()
    assert bpy.context.scene.pointe.picture is None
    bpy.ops.ed.redo()
    assert bpy.context.scene.pointe.picture.name == "chair.png"
    assert "none.png" in refused(bpy.ops.pointe.drop_picture, filepath=str(tmp_path / "none.png"))
    assert "none.png" in running.state.error
    bpy.ops.pointe.drop_picture(filepath=str(path))
    assert not running.state.error


def test_every_picture_format_can_be_dropped_on_a_3d_view_only() -> None:
    handled = POINTE_FH_picture.bl_file_extensions.split(";")
    assert {".png", ".jpg", ".webp", ".exr", ".hdr", ".tif", ".bmp"} <= set(handled)
    for area, there in (
        (SimpleNamespace(type="VIEW_3D"), True),
        (SimpleNamespace(type="TEXT_EDITOR"), False),
    ):
        assert POINTE_FH_picture.poll_drop(SimpleNamespace(area=area)) is there
    assert not POINTE_FH_picture.poll_drop(SimpleNamespace(area=None))


# --- what the models see -----------------------------------------------------------------------------


@pytest.fixture
def chair(extension: None) -> bpy.types.Image:
    """A small red box far from the middle of a wide grey picture."""
    values = np.full((60, 200, 4), (120, 120, 120, 255), np.uint8)
    values[10:30, 150:160] = (200, 30, 20, 255)
    return image_of(values, name="chair")


def test_a_run_gets_the_object_as_its_models_expect_it(pipeline: Pipeline, chair: bpy.types.Image) -> None:
    settings = bpy.context.scene.pointe
    settings.source, settings.picture = "image", chair
    for settings.models in ("starter", "official-40M"):
        bpy.ops.pointe.generate(output="cloud")
        image, models = pipeline.requests[-1].image, MODEL_SETS[settings.models]
        assert image.shape[0] == image.shape[1] and tuple(image[0, 0]) == models.background
        assert (image == (200, 30, 20)).all(-1).sum() == 20 * 10

    settings.crop = False
    bpy.ops.pointe.generate(output="cloud")
    np.testing.assert_array_equal(pipeline.requests[-1].image, references.pixels(chair))


def test_an_array_and_a_file_are_cropped_as_well(chair: bpy.types.Image, tmp_path: Path) -> None:
    shown = references.pixels(chair)
    image, name = references.for_models(shown, "starter")
    assert name is None and len(image) < 30
    path = saved(np.dstack((shown, np.full((60, 200), 255, np.uint8))), tmp_path / "chair.png")
    same, name = references.for_models(path, "starter")
    assert name == "chair.png" and np.array_equal(same, image)
    whole, _ = references.for_models("chair", "starter", crop=False)
    np.testing.assert_array_equal(whole, shown)
    with pytest.raises(InvalidRequest, match="No picture is chosen"):
        references.for_models("", "starter")
    with pytest.raises(InvalidRequest, match="table is not in this file"):
        references.for_models("table", "starter")


@pytest.mark.parametrize("alpha", [False, True])
def test_shell_and_blender_show_the_models_the_same(drawn: np.ndarray, alpha: bool, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    values = np.full((60, 90, 4), (150, 160, 170, 0 if alpha else 255), np.uint8)
    values[20:32, 50:66] = drawn
    path = saved(values, tmp_path / "it.png")
    for models in ("starter", "official-40M"):
        for crop in (True, False):
            in_blender, _ = references.for_models(path, models, crop)
            in_the_shell = pictures.prepare(pictures.load_image(path), models, crop).image
            np.testing.assert_array_equal(in_blender, in_the_shell[..., : in_blender.shape[2]])


def draw() -> Layout:
    layout = Layout()
    panel.draw_picture(layout, bpy.context)
    return layout


@pytest.fixture
def icons(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[np.ndarray]]:
    """Without a window Blender makes no icons: what would be in them."""
    shown: list[np.ndarray] = []
    monkeypatch.setattr(thumbnail, "_upside_down", lambda seen: (shown.append(seen), original(seen))[1])
    yield shown


original = thumbnail._upside_down


def test_the_panel_shows_what_the_models_will_see(chair: bpy.types.Image, icons: list[np.ndarray]) -> None:
    settings = bpy.context.scene.pointe
    settings.source = "image"
    assert draw().fields == ["crop"] and not icons
    settings.picture = chair
    draw(), draw()
    assert len(icons) == 1, "drawing computes nothing"
    assert icons[0].shape == (22, 22, 3) or tuple(icons[0][0, 0]) == MODEL_SETS["starter"].background
    settings.crop = False
    assert tuple(icons[1][0, 0]) == (120, 120, 120) and len(icons) == 2

    settings.models = "official-40M"
    assert "Looking" in draw().text and len(icons) == 2, "made soon, not while drawing"
    assert bpy.app.timers.is_registered(thumbnail._make_wanted)
    thumbnail._make_wanted()
    assert "Looking" not in draw().text and len(icons) == 3


def test_the_panel_says_when_no_object_can_be_told(chair: bpy.types.Image) -> None:
    settings = bpy.context.scene.pointe
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 4), dtype=np.uint8)
    noise[..., 3] = 255
    settings.picture = image_of(noise, name="noise")
    assert "No object can be told" in draw().text
    settings.picture = chair
    assert "No object" not in draw().text
    settings.picture = bpy.data.images.new("tiny", 2, 2)
    assert "only 2 × 2 pixels" in draw().text


# --- prompts -----------------------------------------------------------------------------------------


def offered(text: str = "") -> list[str]:
    return history.suggestions(bpy.context.scene.pointe, bpy.context, text)


def test_prompts_are_offered_the_latest_first_and_once() -> None:
    assert offered() == []
    for prompt in ("a red chair", "a blue chair", "une théière", "a red chair"):
        history.remember(prompt)
    assert offered() == ["a red chair", "une théière", "a blue chair"]
    assert offered(" CHAIR ") == ["a red chair", "a blue chair"]
    assert offered("dragon") == []


def test_the_history_is_bounded_and_can_be_cleared() -> None:
    for i in range(history.KEPT + 5):
        history.remember(f"chair {i}")
    assert len(offered()) == history.KEPT and offered()[0] == f"chair {history.KEPT + 4}"
    bpy.ops.pointe.clear_history()
    assert offered() == [] and not history.file().exists()
    assert not bpy.ops.pointe.clear_history.poll()


@pytest.mark.parametrize("content", ["", "[", '{"a": 1}', "[1, null]", "\x00"])
def test_a_damaged_history_is_an_empty_one(content: str) -> None:
    history.file().parent.mkdir()
    history.file().write_text(content)
    assert offered() == []
    history.remember("a red chair")
    assert offered() == ["a red chair"]


def test_a_folder_that_takes_no_files_stops_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(history, "file", lambda: tmp_path / "file" / "prompts.json")
    history.remember("a red chair")
    assert offered() == []


def test_a_run_is_remembered(pipeline: Pipeline) -> None:
    bpy.ops.pointe.generate(prompt="a red chair")
    assert offered() == ["a red chair"]
    assert [path.name for path in history.file().parent.iterdir()] == ["prompts.json"]
