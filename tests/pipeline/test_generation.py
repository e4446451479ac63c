"""The story of a generation, with the starter models."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from pointe_blender import pipeline
from pointe_blender.pipeline import (
    MissingModel,
    NoSurface,
    NotOnline,
    OutOfMemory,
    PointCloud,
    Request,
    Result,
    generate,
    generation,
    memory,
    meshing,
    ranking,
    weights,
)
from pointe_blender.pipeline.conditioning import Clip
from pointe_blender.pipeline.geometry import is_closed
from pointe_blender.pipeline.models import MODEL_SETS, STARTER
from pointe_blender.pipeline.point_e import samplers
from pointe_blender.pipeline.starter.evaluate import main_color
from pointe_blender.pipeline.weights import Folders, default_folders

SMALL = {"steps": 3, "resolution": 16, "device": "cpu"}
LIGHT = {**SMALL, "models": "light"}


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """The starter models again as "light", with a quarter of the points, for what does not need all."""
    starter = MODEL_SETS["starter"]
    stages = {
        "base_stage": replace(starter.base_stage, points=256),
        "upsample_stage": replace(starter.upsample_stage, points=768),
    }
    monkeypatch.setitem(MODEL_SETS, "light", replace(starter, name="light", **stages))


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
    assert (result.models, result.device, result.notice) == ("starter", "cpu", "")
    assert (result.seeds, result.scores) == ((1,), ())
    assert set(result.seconds) == {"load", "condition", "base", "upsample", "mesh", "total"}
    assert sum(result.seconds.values()) == pytest.approx(2 * result.seconds["total"])


@pytest.mark.parametrize("quality", ["high", "fast"])
def test_every_quality_makes_what_was_asked_for(quality):
    (cloud,) = made(Request(prompt="a blue sofa", output="cloud", device="cpu", quality=quality)).clouds
    assert cloud.points.shape == (4096, 3)
    assert main_color(cloud.colors) == "blue"


def test_equal_requests_make_equal_clouds_and_other_seeds_others():
    first, again, other = (made(Request(prompt="a mug", seed=s, output="cloud", **LIGHT)) for s in (3, 3, 4))
    assert np.array_equal(first.clouds[0].points, again.clouds[0].points)
    assert not np.array_equal(first.clouds[0].points, other.clouds[0].points)
    assert first.meshes == ()


def test_what_the_starter_world_lacks_is_said():
    result = made(Request(prompt="a mug", steps=2, output="cloud", device="cpu"))
    assert "no colour" in result.notice


def test_progress_never_falls_and_ends_with_the_result():
    updates = list(generate(Request(prompt="a blue car", output="cloud", **SMALL)))
    assert all(before.fraction <= after.fraction for before, after in pairwise(updates))
    stages = list(dict.fromkeys(update.stage for update in updates))
    assert stages == ["condition", "base", "upsample", "done"]
    assert [update.result is not None for update in updates] == [False] * (len(updates) - 1) + [True]
    previews = [update.preview for update in updates if update.preview is not None]
    assert {len(preview) for preview in previews} == {1024, 4096}
    assert all(0 <= update.step <= update.steps for update in updates)


def test_every_variant_can_be_made_again_alone():
    result = made(Request(prompt="a green tree", seed=5, count=3, output="cloud", **LIGHT))
    assert sorted(result.seeds) == [5, 6, 7]
    for seed, cloud in zip(result.seeds, result.clouds, strict=True):
        alone = made(Request(prompt="a green tree", seed=seed, output="cloud", **LIGHT))
        assert np.array_equal(alone.clouds[0].points, cloud.points)


def test_variants_come_best_first():
    """And CLIP likes the best of them better than what two steps leave."""
    result = made(
        Request(
            prompt="a yellow car",
            count=3,
            output="cloud",
            models="light",
            steps=8,
            resolution=16,
            device="cpu",
        )
    )
    assert list(result.scores) == sorted(result.scores, reverse=True)
    assert len(result.scores) == len(result.clouds) == 3
    clip = Clip.load("starter-clip", "cpu", default_folders())
    wanted = clip.text(["a yellow car"])[0]
    scores = [ranking.similarity(clip, wanted, cloud) for cloud in result.clouds]
    np.testing.assert_allclose(scores, result.scores, atol=1e-6)
    noise = made(
        Request(prompt="a yellow car", models="light", steps=2, output="cloud", device="cpu")
    ).clouds[0]
    assert ranking.similarity(clip, wanted, noise) < scores[0]


def test_a_cloud_can_have_as_many_points_as_asked():
    result = made(Request(prompt="a red mug", points=5000, output="cloud", **LIGHT))
    (cloud,) = result.clouds
    assert len(cloud) == 5000
    first = made(Request(prompt="a red mug", output="cloud", **LIGHT)).clouds[0]
    assert np.array_equal(cloud.points[:1024], first.points)
    added, distance = cloud.points[1024:], []
    for some in np.array_split(added, 8):
        distance.append(np.linalg.norm(some[:, None] - first.points, axis=-1).min(axis=1))
    assert np.concatenate(distance).mean() < 0.04


def test_a_cloud_from_elsewhere_can_be_made_denser():
    first = made(Request(prompt="a blue sofa", output="cloud", models="light", steps=6, device="cpu")).clouds[
        0
    ]
    sparse = PointCloud(first.points[:700], first.colors[:700])
    result = made(Request(cloud=sparse, points=4096, output="cloud", **LIGHT))
    (cloud,) = result.clouds
    assert len(cloud) == 4096
    assert result.meshes == ()
    np.testing.assert_allclose(cloud.points[:700], sparse.points, atol=1e-6)
    assert main_color(cloud.colors[700:]) == "blue"


def test_what_does_not_fit_is_made_in_smaller_batches(monkeypatch):
    """A device with room for one variant: three come out all the same, equal to those made at once."""
    together = made(Request(prompt="a red chair", count=3, **LIGHT))
    sample, sizes = samplers.sample, []

    def crowded(stage, networks, shape, **options):
        sizes.append(shape[0])
        if shape[0] > 1:
            raise torch.OutOfMemoryError("no room")
        return sample(stage, networks, shape, **options)

    monkeypatch.setattr(samplers, "sample", crowded)
    # Under another name the CPU stands for a GPU, which makes all variants at once.
    monkeypatch.setattr(generation, "usable_device", lambda name: "cpu:0")
    updates = list(generate(Request(prompt="a red chair", count=3, **LIGHT)))
    result = updates[-1].result
    assert sizes[:3] == [3, 3, 1]  # again with the other networks out of the way, then fewer
    assert result.seeds == together.seeds
    assert "not enough memory" in result.notice
    for one, other in zip(result.clouds, together.clouds, strict=True):
        np.testing.assert_allclose(one.points, other.points, atol=1e-3)
    assert all(before.fraction <= after.fraction for before, after in pairwise(updates))


def test_what_fits_no_gpu_is_made_on_the_cpu(monkeypatch):
    """The CPU under another name stands for a GPU on which no network has room."""
    load = weights.load

    def full(name, device, folders, precision="float32"):
        if device != "cpu":
            raise torch.OutOfMemoryError("no room")
        return load(name, device, folders, precision)

    memory.unload()
    monkeypatch.setattr(weights, "load", full)
    monkeypatch.setattr(generation, "usable_device", lambda name: "cpu:0")
    monkeypatch.setattr(memory, "available", lambda device: 1 << 40)
    result = made(Request(prompt="a red chair", models="light", steps=3, resolution=16))
    assert result.device == "cpu"
    assert "made on the CPU" in result.notice
    assert is_closed(result.meshes[0].triangles)


def test_where_nothing_fits_it_says_what_to_choose(monkeypatch):
    def full(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(samplers, "sample", full)
    with pytest.raises(OutOfMemory, match="smaller model set"):
        made(Request(prompt="a red chair", **LIGHT))


def test_where_room_is_short_networks_come_one_after_the_other(monkeypatch):
    """Room for the largest of them, not for all: the same comes out, and only the last one stays."""
    request = Request(prompt="a red chair", **LIGHT)
    at_ease = made(request)
    held = {True: 1 << 60, False: 0}
    monkeypatch.setattr(generation, "memory_needed", lambda *_: held[_[-1]])
    result = made(request)
    assert np.array_equal(result.clouds[0].points, at_ease.clouds[0].points)
    assert result.notice == ""  # it only takes the time of loading them again
    assert 0 < memory.resident_bytes() < 2 * (STARTER / "sdf.safetensors").stat().st_size


def test_what_half_precision_cannot_hold_is_computed_in_full(monkeypatch):
    """A network whose numbers are beyond float16: the run begins again in float32, and says so."""
    request = Request(prompt="a red chair", seed=2, output="cloud", **LIGHT)
    monkeypatch.setattr(generation, "half_precision", lambda device: None)
    in_full = made(request)
    load = memory.load

    def vast(name, device, folders, precision="float32"):
        network = load(name, device, folders, precision)
        if precision == "float16":
            network.backbone.resblocks[0].mlp.c_fc.weight.mul_(1e5)
        return network

    monkeypatch.setattr(memory, "load", vast)
    monkeypatch.setattr(generation, "half_precision", lambda device: "float16")
    result = made(request)
    assert np.array_equal(result.clouds[0].points, in_full.clouds[0].points)
    assert "Half precision" in result.notice
    memory.unload()


def test_remaining_time_is_told_and_ends_at_nothing():
    updates = list(generate(Request(prompt="a red chair", device="cpu", resolution=32)))
    told = [update.remaining for update in updates if update.remaining is not None]
    assert len(told) > len(updates) // 2
    assert all(seconds >= 0 for seconds in told)
    assert told[-1] == 0.0


def test_what_another_thread_forgets_at_once_is_still_had(monkeypatch):
    class Forgetful(dict):
        def __setitem__(self, key, value):
            pass

    monkeypatch.setattr(memory, "_kept", Forgetful())
    assert memory.keep("a network", lambda: "made") == "made"


def test_equal_requests_find_the_networks_in_memory():
    memory.unload()
    assert memory.resident_bytes() == 0
    made(Request(prompt="a red chair", output="cloud", **LIGHT))
    held = memory.resident_bytes()
    made(Request(prompt="a mug", output="cloud", **LIGHT))
    assert memory.resident_bytes() == held > 5_000_000
    memory.unload()
    assert memory.resident_bytes() == 0


def test_a_vector_stands_for_the_prompt_it_came_from():
    vector = Clip.load("starter-clip", "cpu", default_folders()).text(["a red chair"])[0].numpy()
    spoken, shown = (
        made(Request(output="cloud", seed=2, **what, **LIGHT))
        for what in ({"prompt": "a red chair"}, {"vector": 3 * vector})
    )
    # Normalising once more changes last bits, which sixty units of noise make visible.
    np.testing.assert_allclose(spoken.clouds[0].points, shown.clouds[0].points, atol=5e-3)


def test_a_picture_is_enough():
    picture = np.full((64, 64, 3), 255, dtype=np.uint8)
    picture[20:50, 20:44] = (200, 20, 20)
    result = made(Request(image=picture, output="cloud", **LIGHT))
    assert len(result.clouds[0]) == 1024


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
    steps = generate(Request(prompt="a red chair", **LIGHT))
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
    made(Request(prompt="a mug", **LIGHT))
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
    result = made(Request(prompt="a red chair", **LIGHT))
    assert len(result.clouds[0]) == 1024
    assert (result.meshes, result.notice) == ((), "There is none.")
    with pytest.raises(NoSurface):
        made(Request(prompt="a red chair", output="mesh", **LIGHT))
    with pytest.raises(NoSurface):
        made(Request(cloud=result.clouds[0], **LIGHT))


def test_a_second_run_finds_generate_as_the_first_did():
    """No module of the package may have the function's name, or importing it would take its place."""
    first = pipeline.generate
    made(Request(prompt="a mug", output="cloud", **LIGHT))
    assert pipeline.generate is first
