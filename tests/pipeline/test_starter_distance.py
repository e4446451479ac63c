"""The starter distance network: bounded, without jumps, and the same however it is asked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointe_blender.pipeline.architectures import parameters
from pointe_blender.pipeline.models import build
from pointe_blender.pipeline.starter import distance
from pointe_blender.pipeline.starter.distance import LocalSDF

SMALL = {"width": 32, "n_ctx": 256, "layers": 1, "heads": 2, "neighbours": 8, "frequencies": 3}


@pytest.fixture
def network() -> LocalSDF:
    torch.manual_seed(0)
    return LocalSDF(**SMALL).eval()  # type: ignore[arg-type]


@pytest.fixture
def cloud() -> Tensor:
    """(2, 3, 200): anything."""
    return torch.rand(2, 3, 200, generator=torch.Generator().manual_seed(1)) - 0.5


@pytest.fixture
def places() -> Tensor:
    """(2, 3, 300): in the field's cube."""
    return 1.02 * (torch.rand(2, 3, 300, generator=torch.Generator().manual_seed(2)) - 0.5)


def gap(places: Tensor, cloud: Tensor) -> Tensor:
    """(B, M): how far the nearest point is."""
    return torch.cdist(places.transpose(1, 2), cloud.transpose(1, 2)).amin(2)


def test_no_surface_is_farther_than_the_nearest_point(
    network: LocalSDF, cloud: Tensor, places: Tensor
) -> None:
    """Whatever the weights say, beyond the slack."""
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(4.0)
        found = network(places, cloud)
    limit = gap(places, cloud) + network.slack
    assert (found.abs() <= limit + 1e-6).all()
    assert (found.abs() > 0.5 * limit).float().mean() > 0.1, "which is more than they keep by themselves"


def test_the_field_does_not_jump_where_other_points_become_the_nearest(network: LocalSDF) -> None:
    """On both sides of the very places where a segment's set of neighbours changes."""
    generator = torch.Generator().manual_seed(3)
    network = network.double()
    cloud, start, end = (torch.rand(1, 3, n, generator=generator).double() - 0.5 for n in (200, 400, 400))

    def nearest(places: Tensor) -> Tensor:
        apart = torch.cdist(places.transpose(1, 2), cloud.transpose(1, 2))
        return apart.topk(network.neighbours, largest=False).indices.sort(-1).values[0]

    low, high = torch.zeros(400).double(), torch.full((400,), 0.02).double()

    def along(t: Tensor) -> Tensor:
        return start + t * (end - start)

    first = nearest(start)
    changing = (nearest(along(high)) != first).any(-1)
    assert changing.sum() > 50
    for _ in range(40):
        middle = (low + high) / 2
        same = (nearest(along(middle)) == first).all(-1)
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    with torch.no_grad():
        before, after = (network(along(t), cloud)[0, changing] for t in (low, high))
        others = network(along(high + 0.01), cloud)[0, changing]
    # The float32 inside has about 1e-7; what leaves counts for a ten thousandth.
    assert (before - after).abs().max() < 2e-5
    assert (others - after).abs().median() > 1e-4


def test_the_order_of_points_and_of_places_does_not_matter(
    network: LocalSDF, cloud: Tensor, places: Tensor
) -> None:
    points, rows = torch.randperm(cloud.shape[2]), torch.randperm(places.shape[2])
    with torch.no_grad():
        found = network(places, cloud)
        torch.testing.assert_close(network(places, cloud[..., points]), found, atol=1e-5, rtol=0)
        torch.testing.assert_close(network(places[..., rows], cloud), found[:, rows], atol=1e-5, rtol=0)


def test_batches_are_their_clouds_alone(network: LocalSDF, cloud: Tensor, places: Tensor) -> None:
    with torch.no_grad():
        together = network(places, cloud)
        alone = torch.cat([network(places[i : i + 1], cloud[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_places_are_read_a_few_at_a_time(
    network: LocalSDF, cloud: Tensor, places: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which changes nothing; in training all at once, as a gradient keeps them anyway."""
    seen: list[int] = []
    read = network._read
    monkeypatch.setattr(
        network, "_read", lambda part, encoded: (seen.append(part.shape[1]), read(part, encoded))[1]
    )
    whole = network(places, cloud).detach()
    monkeypatch.setattr(distance, "AT_ONCE", 128)
    with torch.no_grad():
        parts = network(places, cloud)
    assert seen == [300, 128, 128, 44]
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=0)


def test_clouds_of_any_number_of_points_are_read(network: LocalSDF, places: Tensor) -> None:
    for count in (network.neighbours, 100, 1000):
        with torch.no_grad():
            found = network(places, torch.rand(2, 3, count) - 0.5)
        assert found.shape == (2, 300) and torch.isfinite(found).all()


def test_a_place_on_a_point_is_read_as_any_other(network: LocalSDF, cloud: Tensor) -> None:
    """Also where all its neighbours are one point, again and again."""
    with torch.no_grad():
        found = network(cloud, cloud)
        same = network(torch.zeros(1, 3, 4), torch.zeros(1, 3, 50))
    assert (found.abs() <= network.slack + 1e-4).all() and (same.abs() <= network.slack + 1e-4).all()


def test_the_shipped_architecture_is_counted_without_building() -> None:
    network = build("starter-sdf")
    assert isinstance(network, LocalSDF)
    assert parameters("starter-sdf") == sum(value.numel() for value in network.parameters())


def balls(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Clouds (B, 3, 256) of balls, places (B, 3, 192) around their surfaces, and the distances there."""
    radius = 0.2 + 0.2 * torch.rand(count, 1, 1, generator=generator)
    center = 0.1 * (2 * torch.rand(count, 3, 1, generator=generator) - 1)

    def directions(n: int) -> Tensor:
        return torch.nn.functional.normalize(torch.randn(count, 3, n, generator=generator), dim=1)

    off = 0.1 * torch.randn(count, 1, 192, generator=generator).clamp(-1.8, 1.8)
    return center + radius * directions(256), center + (radius - off) * directions(192), off[:, 0]


def test_a_short_training_learns_which_side_is_inside() -> None:
    """Of balls: from points alone, without their normals, to a fraction of what the bound leaves open."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(5)
    network = LocalSDF(**SMALL)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    for _ in range(100):
        points, places, target = balls(4, generator)
        optimizer.zero_grad()
        (network(places, points) - target).abs().mean().backward()
        optimizer.step()
    points, places, target = balls(16, generator)
    with torch.no_grad():
        found = network.eval()(places, points)
    clear = target.abs() > 0.02
    assert (found[clear].sign() == target[clear].sign()).float().mean() > 0.97
    assert (found - target).abs().mean() < 0.25 * target.abs().mean()
