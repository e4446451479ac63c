"""The catalogue: every released architecture by its exact tensors, every source by its address."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pointe_blender.pipeline import models

# Parameters as released, and a hash of every tensor's name and shape in the released checkpoints.
RELEASED = {
    "base40M-textvec": (40_333_836, "3a0d765c53aa384e"),
    "base40M-imagevec": (40_333_836, "3a0d765c53aa384e"),
    "base40M-uncond": (39_940_108, "c7be966c3cda2110"),
    "base40M": (40_466_956, "9395db16c9adb2a1"),
    "base300M": (311_778_316, "2c1215368c58bce6"),
    "base1B": (1_244_311_564, "358842c32cc68145"),
    "upsample": (40_470_540, "7791e07186e9d878"),
    "sdf": (9_481_985, "659e74265f0941e2"),
    "pointnet": (5_859_496, "8bedf3ef3f4bf83f"),
    "clip-vit-l-14": (427_616_513, "2c3352c736b1d5c9"),
}


@pytest.mark.parametrize("name", RELEASED)
def test_architecture_has_exactly_the_released_tensors(name: str) -> None:
    network = models.build(name, "meta")
    lines = sorted(f"{key} {list(value.shape)}" for key, value in network.state_dict().items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    assert (sum(p.numel() for p in network.parameters()), digest) == RELEASED[name]


def test_textvec_and_imagevec_are_one_architecture() -> None:
    assert models.ARCHITECTURES["base40M-textvec"] == models.ARCHITECTURES["base40M-imagevec"]


def test_upsampler_keeps_its_configured_buffers() -> None:
    state = models.build("upsample").state_dict()
    assert state["channel_scales"].tolist() == pytest.approx([2, 2, 2, *[0.007843137255] * 3])
    assert state["channel_biases"].tolist() == [0, 0, 0, -1, -1, -1]


@pytest.mark.parametrize("name", [name for name in models.ARCHITECTURES if name.startswith("starter")])
def test_starter_networks_build_from_their_configuration(name: str) -> None:
    network = models.build(name, "meta")
    assert 100_000 < sum(p.numel() for p in network.parameters()) < 12_000_000


@pytest.mark.parametrize("checkpoint", models.CHECKPOINTS.values(), ids=models.CHECKPOINTS)
def test_checkpoint_says_where_it_comes_from(checkpoint: models.Checkpoint) -> None:
    assert models.CHECKPOINTS[checkpoint.name] is checkpoint
    assert checkpoint.architecture in models.ARCHITECTURES
    assert checkpoint.licence in ("MIT", "ODC-By-1.0", "GPL-3.0-or-later")
    assert checkpoint.packaged == checkpoint.name.startswith("starter")
    assert all(url.startswith("https://") and url.endswith(f"/{checkpoint.file}") for url in checkpoint.urls)
    if checkpoint.hub is not None:
        assert checkpoint.hub.path.endswith(f"/{checkpoint.file}")
    if checkpoint.sha256 is not None:
        assert re.fullmatch("[0-9a-f]{64}", checkpoint.sha256)


def test_downloads_are_as_large_as_their_tensors() -> None:
    for name, (parameters, _) in RELEASED.items():
        bytes_each = 2 if name == "clip-vit-l-14" else 4  # CLIP is published in half precision
        expected = models.CHECKPOINTS[name].megabytes * 1e6 / bytes_each
        assert parameters == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("models_", models.MODEL_SETS.values(), ids=models.MODEL_SETS)
def test_set_fits_together(models_: models.ModelSet) -> None:
    kinds = [models.ARCHITECTURES[part.architecture] for part in models_.checkpoints]
    field = "local-sdf" if models_.name == "starter" else "sdf"
    assert [part.kind for part in kinds] == ["clip", "denoiser", "denoiser", field]
    clip, base, upsample, _ = (part.config for part in kinds)
    width = clip["embed_dim"] if models_.condition == "vector" else clip["vision_cfg"]["width"]
    assert (base["condition"], base["condition_dim"]) == (models_.condition, width)
    assert upsample["low_res"]
    assert models_.upsample_stage.conditioned <= (upsample["condition"] == models_.condition)
    assert models_.upsample_stage.points <= upsample["n_ctx"]
    assert models_.takes and models_.label and models_.summary
    assert models_.licence in ("MIT", "ODC-By-1.0", "GPL-3.0-or-later")


def test_released_sets_are_sampled_as_released() -> None:
    text, image = models.MODEL_SETS["official-text"], models.MODEL_SETS["official-40M"]
    base = models.Stage(1024, "cosine", sigma_max=120.0, s_churn=3.0, guidance=3.0)
    upsample = models.Stage(3072, "linear", sigma_max=160.0, s_churn=0.0, guidance=3.0)
    assert (text.base_stage, image.base_stage, image.upsample_stage) == (base, base, upsample)
    assert (text.upsample_stage.guidance, text.upsample_stage.conditioned) == (0.0, False)
    assert {s.base_stage.steps for s in models.MODEL_SETS.values() if s.name != "starter"} == {64}


def test_catalogue_is_read_without_torch() -> None:
    code = "import sys; from pointe_blender.pipeline import models, weights; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
