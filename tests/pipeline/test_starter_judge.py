"""The starter world's classifier: right on real objects, and what P-FID within this world says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pointe_blender.pipeline.architectures import parameters
from pointe_blender.pipeline.geometry import PointCloud
from pointe_blender.pipeline.metrics.scores import frechet_distance, inception_score
from pointe_blender.pipeline.models import build
from pointe_blender.pipeline.starter import judge
from pointe_blender.pipeline.starter.data import make
from pointe_blender.pipeline.starter.kinds import KINDS
from pointe_blender.pipeline.starter.world import COLORS, Label


def stacked(clouds: list[PointCloud]) -> Tensor:
    """(B, 1024, 6), as classifiers are given them."""
    rows = [np.concatenate((cloud.points[:1024], cloud.colors[:1024]), 1) for cloud in clouds]
    return torch.from_numpy(np.stack(rows)).float()


@pytest.fixture(scope="module")
def real() -> Tensor:
    """(48, 1024, 6) real objects."""
    return stacked(judge.references(48, seed=1))


def test_real_objects_are_told_apart_by_kind_and_color() -> None:
    labels = [Label(kind, color) for kind in KINDS for color in ("red", "blue", "white")]
    clouds = make(labels, 4_000_001, views=0, wordings=1).points[:, :1024].float()
    named = judge.load("cpu").answers(clouds)
    right = [
        (kind == label.kind, color == label.color) for (kind, color), label in zip(named, labels, strict=True)
    ]
    kinds, colors = np.mean(right, axis=0)
    assert kinds > 0.94 and colors > 0.9


def test_a_batch_is_its_clouds_alone_in_any_order_of_points(real: Tensor) -> None:
    classifier = judge.load("cpu")
    features, kinds = classifier.features(real)
    assert features.shape == (48, 256) and kinds.shape == (48, len(KINDS))
    torch.testing.assert_close(kinds.sum(1), torch.ones(48))
    alone, _ = classifier.features(real[7:8, torch.randperm(1024)])
    torch.testing.assert_close(alone, features[7:8], atol=1e-4, rtol=0)


def test_equal_seeds_draw_equal_objects() -> None:
    first, again, other = (judge.references(3, seed) for seed in (5, 5, 6))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.points, b.points) and np.array_equal(a.colors, b.colors)
    assert not np.array_equal(first[0].points, other[0].points)


def test_real_objects_are_nearer_to_others_than_blurred_ones_are(real: Tensor) -> None:
    classifier = judge.load("cpu")
    others = classifier.features(stacked(judge.references(48, seed=2)))[0].numpy()
    plain, kinds = classifier.features(real)
    blurred = real.clone()
    blurred[..., :3] += 0.1 * torch.randn(blurred[..., :3].shape, generator=torch.Generator().manual_seed(0))
    away, fewer = classifier.features(blurred)
    assert frechet_distance(away.numpy(), others) > 1.5 * frechet_distance(plain.numpy(), others)
    assert 1 < inception_score(fewer.numpy()) < inception_score(kinds.numpy()) <= len(KINDS)


def test_the_shipped_architecture_is_counted_without_building() -> None:
    network = build("starter-judge")
    assert parameters("starter-judge") == sum(value.numel() for value in network.parameters())
    assert (
        network.get_submodule("kinds").weight.shape[0],
        network.get_submodule("colors").weight.shape[0],
    ) == (
        len(KINDS),
        len(COLORS),
    )
