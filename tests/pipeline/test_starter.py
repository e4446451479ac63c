"""The starter world and how its models are trained."""

import math
from dataclasses import replace
from random import Random

import pytest
import torch
from torch import nn

from pointe_blender.pipeline import conditioning
from pointe_blender.pipeline.models import ARCHITECTURES, build
from pointe_blender.pipeline.starter import data, kinds, solids, vocabulary, world
from pointe_blender.pipeline.starter.train import Trainer, optimizers, warm_start_upsampler

LABELS = [world.Label(kind, "red") for kind in world.KINDS]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.fixture
def objects(generator: torch.Generator) -> solids.Objects:
    """One red object of every kind."""
    return solids.normalised(world.build_all(LABELS, Random(5)), generator)


def test_a_ball_and_a_ring_have_their_analytic_distances(generator):
    red = (1.0, 0.0, 0.0)
    ring = solids.Solid(False, 0.3, 0.0, 0.0, 0.0, 0.1, (0, 0, 0), (0, 0, 0), red)
    pair = solids.pack([[kinds.ball(0.4, (0.1, 0, 0), red)], [ring]])
    points = torch.rand(2, 500, 3, generator=generator) * 2 - 1
    ball, torus = solids.signed_distance(pair, points)
    offset = points[0] - torch.tensor([0.1, 0.0, 0.0])
    torch.testing.assert_close(ball, 0.4 - offset.norm(dim=1), atol=1e-6, rtol=0)
    around = torch.stack((points[1, :, :2].norm(dim=1) - 0.3, points[1, :, 2]), 1).norm(dim=1)
    torch.testing.assert_close(torus, 0.1 - around, atol=1e-6, rtol=0)


def test_outside_an_object_the_distance_is_to_its_nearest_surface_point(objects, generator):
    surface = solids.sample_surface(objects, 4096, generator)
    places = (torch.rand(len(objects), 200, 3, generator=generator) - 0.5) * 1.4
    distance = -solids.signed_distance(objects, places)
    sampled = torch.cdist(places, surface).amin(2)
    outside = distance > 0.05
    assert outside.sum() > 1000
    # Samples can only be farther than the surface itself, and by no more than their spacing.
    excess = (sampled - distance)[outside]
    assert excess.min() > -1e-3
    assert excess.max() < 0.05


def test_surface_points_lie_on_the_surface_and_fill_the_unit_cube(objects, generator):
    surface = solids.sample_surface(objects, 2048, generator)
    assert solids.signed_distance(objects, surface).abs().max() < 1e-4
    size = surface.amax(1) - surface.amin(1)
    assert ((size.amax(1) - solids.EXTENT).abs() < 0.03).all()
    assert surface.abs().max() < 0.51


@pytest.mark.parametrize("kind", world.KINDS)
def test_a_render_shows_the_main_color_in_front_of_the_background(objects, kind):
    row = list(world.KINDS).index(kind)
    angle = torch.tensor([0.6])
    picture = solids.render(
        objects[row : row + 1], angle, angle / 2, torch.full((1,), 0.3), torch.ones(1, 3)
    )[0]
    red, green, blue = picture.float().unbind(-1)
    assert (picture[0] == 255).all(), "the border is background"
    assert ((red > 1.5 * green) & (red > 1.5 * blue)).float().mean() > 0.02


def test_equal_arguments_make_equal_objects():
    first, second = (data.make(LABELS[:3], 11, views=1, wordings=2) for _ in range(2))
    assert torch.equal(first.points, second.points)
    assert torch.equal(first.pictures, second.pictures)
    assert first.captions == second.captions


def test_joining_keeps_every_object():
    parts = [data.make(LABELS[i : i + 2], i, views=1, wordings=1) for i in (0, 6)]
    joined = data.join(parts)
    places = torch.rand(4, 50, 3) - 0.5
    apart = torch.cat(
        [solids.signed_distance(part.objects, places[2 * i :][:2]) for i, part in enumerate(parts)]
    )
    assert torch.equal(solids.signed_distance(joined.objects, places), apart)


def test_training_never_draws_a_held_out_pair():
    drawn = {(label.kind, label.color) for label in world.draw_labels(2000, Random(0))}
    assert len(drawn) == len(world.KINDS) * len(world.COLORS) - len(world.held_out())
    assert not drawn & world.held_out()
    assert {kind for kind, _ in world.held_out()} == set(world.KINDS)


def test_a_caption_uses_known_words_and_names_kind_and_color():
    r = Random(1)
    for label in world.draw_labels(400, r):
        text = world.caption(label, r)
        assert world.notice(text) == "", text
        assert any(s in text for s in (label.kind, *world.SYNONYMS.get(label.kind, ())))


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("a corgi", "no kind"),
        ("a chair", "no colour"),
        ("a red chair and a blue table", "one object"),
        ("a red chair wearing a hat", "'hat', 'wearing'"),
    ],
)
def test_a_prompt_outside_the_world_is_told_so(prompt, reason):
    assert reason in world.notice(prompt)
    assert "Install the official models" in world.notice(prompt)


def test_every_word_of_the_world_is_one_token():
    tokenizer = conditioning.build_tokenizer(ARCHITECTURES["starter-clip"].config, vocabulary.MERGES)
    words = sorted(word for word in world.vocabulary() if not word[0].isdigit())
    lengths = (tokenizer(words) != 0).sum(1)
    assert (lengths == 3).all(), "start, the word, end"


def test_the_shipped_merges_are_those_of_the_world(tmp_path):
    assert (
        vocabulary.write_merges(tmp_path / "merges.gz")
        == ARCHITECTURES["starter-clip"].config["text_cfg"]["vocab_size"]
    )
    assert (tmp_path / "merges.gz").read_bytes() == vocabulary.MERGES.read_bytes()


def test_a_cut_training_goes_on_where_it_was(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(64, 4)

    def trainer() -> Trainer:
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 64), nn.Linear(64, 1))
        return Trainer("line", network, 1e-3, tmp_path, muon=True)

    def loss_of(run: Trainer):
        return lambda progress: (run.network(x) - x.sum(1, keepdim=True)).square().mean()

    first = trainer()
    untrained = float(loss_of(first)(0.0).detach())
    first.run(loss_of(first), 0.5, "cpu")
    second = trainer()
    assert (second.step, second.elapsed) == (first.step, first.elapsed)
    for mine, kept in zip(second.optimizers, first.optimizers, strict=True):
        torch.testing.assert_close(mine.state_dict(), kept.state_dict(), rtol=0, atol=0)
    assert torch.equal(second.network[1].weight, first.network[1].weight)
    second.run(loss_of(second), 1.0, "cpu")
    assert second.step > first.step
    assert float(loss_of(second)(0.0).detach()) < untrained / 2


def test_a_rotated_box_is_the_box_seen_in_its_own_frame(generator):
    plain = kinds.box((0.4, 0.2, 0.1), (0, 0, 0), (1, 0, 0))
    turned = replace(plain, rotation=(0.0, 0.0, math.pi / 2))
    points = torch.rand(1, 300, 3, generator=generator) - 0.5
    back = torch.stack((points[..., 1], -points[..., 0], points[..., 2]), -1)
    here, there = solids.pack([[turned]]), solids.pack([[plain]])
    torch.testing.assert_close(
        solids.signed_distance(here, points), solids.signed_distance(there, back), atol=1e-6, rtol=0
    )


def test_the_upsampler_begins_with_what_the_base_model_knows():
    torch.manual_seed(0)
    base, upsampler = (build(f"starter-{name}").eval() for name in ("base", "upsample"))
    warm_start_upsampler(upsampler, base)
    assert torch.equal(upsampler.cond_point_proj.weight, upsampler.input_proj.weight)
    assert torch.equal(
        upsampler.backbone.resblocks[3].mlp.c_fc.weight, base.backbone.resblocks[3].mlp.c_fc.weight
    )


def test_muon_takes_the_matrices_between_hidden_channels_alone():
    network = build("starter-sdf")
    adam, muon = optimizers(network, 1e-3, muon=True)
    names = {value: key for key, value in network.named_parameters()}
    taken = [
        {names[value] for group in each.param_groups for value in group["params"]} for each in (adam, muon)
    ]
    assert taken[0] | taken[1] == set(names.values())
    assert not taken[0] & taken[1]
    assert {"hidden.weight", "encoder.resblocks.0.attn.c_qkv.weight"} <= taken[1]
    assert {"input_proj.weight", "output_proj.weight", "hidden.bias"} <= taken[0]
