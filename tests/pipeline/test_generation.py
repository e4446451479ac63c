"""The story of a generation, with the starter models."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from pointe_blender import pipeline
from pointe_blender.pipeline import (
    MissingModel,
    NoSurface,
    NotOnline,
    PointCloud,
    Request,
    Result,
    generate,
    meshing,
)
from pointe_blender.pipeline.conditioning import Clip
from pointe_blender.pipeline.meshing import is_closed
from pointe_blender.pipeline.starter.evaluate import main_color
from pointe_blender.pipeline.weights import Folders, default_folders

SMALL = {"steps": 3, "resolution": 16, "device": "cpu"}


def made(request: Request) -> Result:
    result = [update.result for update in generate(request)][-1]
    assert result is not None
    return result


def test_a_prompt_becomes_a_cloud_and_a_closed_mesh():
    result = made(Request(prompt="a red chair", seed=1, device="cpu", resolution=32))
    (cloud,), (mesh,) = result.clouds, result.meshes
    assert cloud.points.shape == cloud.colors.shape == (4096, 3)
    assert cloud.points.dtype == cloud.colors.dtype == np.float32
    assert np.abs(cloud.points).max() <= 0.51
    assert main_color(cloud.colors) == "red"
    assert is_closed(mesh.triangles)
    assert main_color(mesh.colors) == "red"
    assert (result.seed, result.models, result.device, result.notice) == (1, "starter", "cpu", "")
    assert set(result.seconds) == {"condition", "base", "upsample", "mesh", "total"}


def test_equal_requests_make_equal_clouds_and_other_seeds_others():
    first, again, other = (made(Request(prompt="a mug", seed=s, output="cloud", **SMALL)) for s in (3, 3, 4))
    assert np.array_equal(first.clouds[0].points, again.clouds[0].points)
    assert not np.array_equal(first.clouds[0].points, other.clouds[0].points)
    assert first.meshes == ()
    assert "no colour" in first.notice


def test_progress_never_falls_and_ends_with_the_result():
    updates = list(generate(Request(prompt="a blue car", output="cloud", **SMALL)))
    assert all(before.fraction <= after.fraction for before, after in pairwise(updates))
    stages = list(dict.fromkeys(update.stage for update in updates))
    assert stages == ["condition", "base", "upsample", "done"]
    assert [update.result is not None for update in updates] == [False] * (len(updates) - 1) + [True]
    previews = [update.preview for update in updates if update.preview is not None]
    assert {len(preview) for preview in previews} == {1024, 4096}
    assert all(0 <= update.step <= update.steps for update in updates)


def test_variants_are_made_together():
    result = made(Request(prompt="a green tree", count=2, output="cloud", **SMALL))
    one, two = result.clouds
    assert len(one) == len(two) == 4096
    assert not np.array_equal(one.points, two.points)


def test_a_vector_stands_for_the_prompt_it_came_from():
    vector = Clip.load("starter-clip", "cpu", default_folders()).text(["a red chair"])[0].numpy()
    spoken, shown = (
        made(Request(output="cloud", seed=2, **what, **SMALL))
        for what in ({"prompt": "a red chair"}, {"vector": 3 * vector})
    )
    # Normalising once more changes last bits, which sixty units of noise make visible.
    np.testing.assert_allclose(spoken.clouds[0].points, shown.clouds[0].points, atol=1e-3)


def test_a_picture_is_enough():
    picture = np.full((64, 64, 3), 255, dtype=np.uint8)
    picture[20:50, 20:44] = (200, 20, 20)
    result = made(Request(image=picture, output="cloud", **SMALL))
    assert len(result.clouds[0]) == 4096


def test_any_cloud_can_be_meshed():
    direction = np.random.default_rng(0).normal(size=(3000, 3))
    points = (0.4 * direction / np.linalg.norm(direction, axis=1, keepdims=True)).astype(np.float32)
    cloud = PointCloud(points, np.tile(np.float32([0, 0, 1]), (3000, 1)))
    result = made(Request(cloud=cloud, resolution=24, device="cpu"))
    (mesh,) = result.meshes
    assert result.clouds == (cloud,)
    assert is_closed(mesh.triangles)
    assert (mesh.colors == [0, 0, 1]).all()
    assert abs(np.linalg.norm(mesh.vertices, axis=1).mean() - 0.4) < 0.05


def test_closing_the_generator_stops_it():
    steps = generate(Request(prompt="a red chair", **SMALL))
    while next(steps).stage != "base":
        pass
    steps.close()
    assert list(steps) == []


def test_the_cpu_never_sees_float64(monkeypatch):
    """Apple GPUs have none; whatever is moved to a device passes through `Tensor.to`."""
    moved = []
    original = torch.Tensor.to

    def watched(tensor, *args, **kwargs):
        moved.append(tensor.dtype)
        return original(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", watched)
    made(Request(prompt="a mug", **SMALL))
    assert moved
    assert torch.float64 not in moved


def test_a_set_that_is_not_installed_needs_the_network(tmp_path):
    with pytest.raises((MissingModel, NotOnline), match="clip-vit-l-14"):
        list(
            generate(
                Request(prompt="a corgi", models="official-text"), folders=Folders(tmp_path, online=False)
            )
        )
    assert list(tmp_path.iterdir()) == []


def test_a_cloud_without_a_surface_is_kept_and_the_notice_says_so(monkeypatch):
    def no_surface(*_):
        raise NoSurface("There is none.")
        yield

    monkeypatch.setattr(meshing, "mesh_from_cloud", no_surface)
    result = made(Request(prompt="a red chair", **SMALL))
    assert len(result.clouds[0]) == 4096
    assert (result.meshes, result.notice) == ((), "There is none.")
    with pytest.raises(NoSurface):
        made(Request(prompt="a red chair", output="mesh", **SMALL))
    with pytest.raises(NoSurface):
        made(Request(cloud=result.clouds[0], **SMALL))


def test_a_second_run_finds_generate_as_the_first_did():
    """No module of the package may have the function's name, or importing it would take its place."""
    first = pipeline.generate
    made(Request(prompt="a mug", output="cloud", **SMALL))
    assert pipeline.generate is first
