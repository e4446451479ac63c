"""P-FID and P-IS, from PointNet++ to the scores: closed forms, invariances, recorded answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pointe_blender.pipeline.errors import MissingModel
from pointe_blender.pipeline.metrics.classifiers import ShapeClassifier, released
from pointe_blender.pipeline.metrics.pointnet import PointNet, ball, farthest_points, normalised
from pointe_blender.pipeline.metrics.scores import frechet_distance, inception_score
from pointe_blender.pipeline.weights import Folders
from tests import drawn, parity


def test_the_frechet_distance_of_diagonal_gaussians_is_the_textbook_one() -> None:
    """Whitened samples have mean and covariance exactly."""
    random = np.random.RandomState(0)
    white = random.standard_normal((500, 4))
    white = (white - white.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False)).T)
    a, b = np.array([1.0, 2.0, 0.5, 3.0]), np.array([2.0, 1.0, 0.5, 0.0])
    shift = np.array([0.3, 0.0, -1.0, 0.2])
    expected = (shift**2).sum() + ((a - b) ** 2).sum()
    assert frechet_distance(white * a, white * b + shift) == pytest.approx(expected, abs=1e-9)
    assert frechet_distance(white * a, white * a) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_does_not_depend_on_order_or_axes() -> None:
    random = np.random.RandomState(0)
    a, b = random.standard_normal((300, 5)) * [1, 2, 3, 4, 5], random.standard_normal((200, 5)) + 0.3
    turn, _ = np.linalg.qr(random.standard_normal((5, 5)))
    distance = frechet_distance(a, b)
    assert distance > 1
    assert frechet_distance(b, a) == pytest.approx(distance)
    assert frechet_distance(a[::-1] @ turn, b @ turn) == pytest.approx(distance)


def test_the_inception_score_runs_from_one_to_the_number_of_classes() -> None:
    assert inception_score(np.tile([0.2, 0.3, 0.5], (50, 1))) == pytest.approx(1)
    assert inception_score(np.eye(40)[np.arange(400) % 40]) == pytest.approx(40)
    sure = np.concatenate([np.eye(2)[[0] * 10], np.eye(2)[[0, 1] * 5]])
    assert inception_score(sure, split=10) == pytest.approx((1 + 2) / 2)


def test_farthest_points_cover_a_line_by_halving_it() -> None:
    line = torch.zeros(2, 9, 3)
    line[:, :, 0] = torch.arange(9)
    chosen = farthest_points(line, 5, torch.tensor([0, 8]))
    assert chosen[0].tolist()[:3] == [0, 8, 4] and chosen[1].tolist()[:3] == [8, 0, 4]
    assert {*chosen[0].tolist()} == {0, 2, 4, 6, 8}


def test_a_ball_holds_the_first_points_within_its_radius_padded_with_the_first() -> None:
    line = torch.zeros(1, 6, 3)
    line[0, :, 0] = torch.arange(6)
    assert ball(line, line[:, 3:4], 1.5, 5).tolist() == [[[2, 3, 4, 2, 2]]]
    assert ball(line, line[:, 3:4], 1.5, 2).tolist() == [[[2, 3]]]


def test_clouds_are_centred_and_touch_the_unit_sphere() -> None:
    clouds = normalised(torch.rand(3, 600, 3) * 7 + 2)
    torch.testing.assert_close(clouds.mean(dim=1), torch.zeros(3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(clouds.norm(dim=2).amax(dim=1), torch.ones(3))


@pytest.fixture(scope="module")
def network() -> PointNet:
    torch.manual_seed(0)
    return PointNet().eval()


def test_features_and_probabilities_of_a_cloud(network: PointNet) -> None:
    torch.manual_seed(0)
    clouds = normalised(torch.rand(2, 600, 3))
    with torch.inference_mode():
        features, probabilities = network(clouds)
        again, _ = network(clouds)
        moved, _ = network(normalised(clouds * 3 + 1))
    assert features.shape == (2, 512) and probabilities.shape == (2, 40)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2))
    assert torch.equal(features, again)
    torch.testing.assert_close(features, moved, atol=1e-3, rtol=1e-3)


def test_names_are_the_released_ones_and_loading_is_strict(network: PointNet) -> None:
    state = network.state_dict()
    assert len(state) == 79 and sum(value.numel() for value in network.parameters()) == 5_859_496
    assert state["sa1.mlp_convs.0.weight"].shape == (128, 3, 1, 1) and state["fc3.bias"].shape == (40,)
    assert {name.split(".")[0] for name in state} == {"sa1", "sa2", "sa3", "fc1", "bn1", "fc2", "bn2", "fc3"}
    network.load_state_dict(state, strict=True)
    with pytest.raises(RuntimeError, match=r"fc3\.bias"):
        network.load_state_dict({key: state[key] for key in state if key != "fc3.bias"}, strict=True)


def test_clouds_are_classified_in_batches_of_64_as_the_places_in_a_batch_count() -> None:
    """The stand-in answers with what it saw."""
    seen: list[torch.Tensor] = []

    class Recorder(PointNet):
        def forward(self, clouds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            seen.append(clouds)
            return clouds[:, 0], torch.ones(len(clouds), 1)

    clouds = torch.rand(130, 70, 6)
    features, probabilities = ShapeClassifier(Recorder(), "cpu").features(clouds)
    assert [len(batch) for batch in seen] == [64, 64, 2] and probabilities.shape == (130, 1)
    torch.testing.assert_close(features, normalised(clouds[..., :3])[:, 0])


def test_the_released_classifier_is_asked_for_by_its_file(folders: Folders) -> None:
    with pytest.raises(MissingModel, match="pointnet"):
        released("cpu", folders)


def test_the_released_classifier_answers_as_recorded(recorded: Path, folders: Folders) -> None:
    """From the file as it is published, with weights drawn from names; colours make no difference."""
    folders.user.mkdir(parents=True)
    torch.save({"model_state_dict": drawn.built("pointnet").state_dict()}, folders.user / "pointnet.pt")
    with np.load(recorded / "pointnet.npz") as answers:
        clouds = torch.from_numpy(answers["clouds"][:2])
        clouds = torch.cat([clouds, torch.rand_like(clouds)], dim=2)
        features, probabilities = released("cpu", folders).features(clouds)
        np.testing.assert_allclose(features, answers["features"][:2], atol=1e-3)
        np.testing.assert_allclose(probabilities, answers["probabilities"][:2], atol=1e-3)


def test_metrics_answer_as_recorded(recorded: Path) -> None:
    cases = list(parity.metrics(recorded))
    assert len(cases) == 4 and not [case for case in cases if not case.passed]
