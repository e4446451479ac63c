"""The networks see sets, hold the released names, train under autocast, and leave out only what is idle."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pointe_blender.pipeline.point_e import blocks
from pointe_blender.pipeline.point_e.blocks import SelfAttention, Transformer
from pointe_blender.pipeline.point_e.diffusion import scale_channels
from pointe_blender.pipeline.point_e.precision import half_precision, in_precision
from pointe_blender.pipeline.point_e.sdf import PointCloudSDF
from pointe_blender.pipeline.point_e.transformer import (
    PointDiffusionTransformer,
    timestep_embedding,
)
from tests import parity

SMALL: dict[str, Any] = {"width": 32, "layers": 2, "heads": 4}
KINDS: dict[str, dict[str, Any]] = {
    "unconditional": {},
    "vector": {"condition": "vector", "condition_dim": 24},
    "added": {
        "condition": "vector",
        "condition_dim": 24,
        "token_cond": False,
        "time_token_cond": False,
    },
    "grid": {"condition": "grid", "condition_dim": 24},
    "upsampler": {"condition": "grid", "condition_dim": 24, "low_res": True},
}


def denoiser(kind: str, **config: Any) -> PointDiffusionTransformer:
    """A small network that answers something: fresh ones answer zero."""
    torch.manual_seed(0)
    network = PointDiffusionTransformer(**{**SMALL, **KINDS[kind], **config})
    nn.init.normal_(network.output_proj.weight)
    return network.eval()


def inputs(kind: str, points: int = 40) -> dict[str, Tensor]:
    """A batch of 3 for a small network."""
    torch.manual_seed(1)
    batch = {"x": torch.randn(3, 6, points), "t": torch.tensor([0.0, 17.5, 1023.0])}
    if kind in ("vector", "added"):
        batch["embeddings"] = nn.functional.normalize(torch.randn(3, 24))
    if kind in ("grid", "upsampler"):
        batch["embeddings"] = torch.randn(3, 24, 256)
    if kind == "upsampler":
        batch["low_res"] = torch.cat([torch.rand(3, 3, 30) - 0.5, torch.rand(3, 3, 30) * 255], dim=1)
    return batch


def test_names_and_shapes_of_the_parameters_are_the_released_ones() -> None:
    names = {name: list(value.shape) for name, value in denoiser("upsampler").state_dict().items()}
    blocks = {name: shape for name, shape in names.items() if name.startswith("backbone.resblocks.1.")}
    assert len(names) == 18 + 2 + 2 * 12
    assert {name.removeprefix("backbone.resblocks.1."): shape for name, shape in blocks.items()} == {
        "attn.c_qkv.weight": [96, 32],
        "attn.c_qkv.bias": [96],
        "attn.c_proj.weight": [32, 32],
        "attn.c_proj.bias": [32],
        "ln_1.weight": [32],
        "ln_1.bias": [32],
        "mlp.c_fc.weight": [128, 32],
        "mlp.c_fc.bias": [128],
        "mlp.c_proj.weight": [32, 128],
        "mlp.c_proj.bias": [32],
        "ln_2.weight": [32],
        "ln_2.bias": [32],
    }
    others = {name.rpartition(".")[0]: None for name in names if "resblocks" not in name}
    assert list(others) == [
        "",
        *("time_embed.c_fc", "time_embed.c_proj", "ln_pre", "ln_post", "input_proj", "output_proj"),
        *("cond_point_proj", "clip_embed.0", "clip_embed.1"),
    ]
    assert {name for name in names if "." not in name} == {"channel_scales", "channel_biases"}


@pytest.mark.parametrize("kind", KINDS)
def test_points_are_a_set(kind: str) -> None:
    network, batch = denoiser(kind), inputs(kind)
    order = torch.randperm(40)
    shuffled = network(**{**batch, "x": batch["x"][:, :, order]})
    torch.testing.assert_close(shuffled, network(**batch)[:, :, order], atol=1e-5, rtol=1e-5)


def test_coarse_points_are_a_set_too_and_count() -> None:
    network, batch = denoiser("upsampler"), inputs("upsampler")
    shuffled = {**batch, "low_res": batch["low_res"].flip(2)}
    moved = {**batch, "low_res": batch["low_res"] * 0.9}
    torch.testing.assert_close(network(**shuffled), network(**batch), atol=1e-5, rtol=1e-5)
    assert (network(**moved) - network(**batch)).abs().max() > 1e-2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("points", [1, 7, 1500])
def test_any_number_of_points(kind: str, points: int) -> None:
    output = denoiser(kind)(**inputs(kind, points))
    assert output.shape == (3, 12, points) and output.dtype == torch.float32 and output.isfinite().all()


@pytest.mark.parametrize("kind", ["vector", "added", "grid"])
def test_no_condition_is_a_condition_of_zeros_and_what_training_drops(kind: str) -> None:
    network, batch = denoiser(kind, cond_drop_prob=1.0), inputs(kind)
    conditional = network(**batch)
    without = network(batch["x"], batch["t"])
    zeros = network(**{**batch, "embeddings": torch.zeros_like(batch["embeddings"])})
    torch.testing.assert_close(without, zeros, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(without, network.train()(**batch), atol=1e-5, rtol=1e-5)
    assert (conditional - without).abs().max() > 1e-2


def test_training_drops_the_share_of_conditions_it_is_told() -> None:
    network = denoiser("added", cond_drop_prob=0.25).train()
    x, t = torch.zeros(1, 6, 1).expand(4000, -1, -1), torch.zeros(4000)
    output = network(x, t, torch.ones(4000, 24) / math.sqrt(24))
    dropped = (output == network(x, t)).flatten(1).all(dim=1)
    assert 0.22 < dropped.float().mean() < 0.28


def test_a_fresh_network_predicts_nothing_and_starts_small() -> None:
    network = PointDiffusionTransformer(width=256, layers=2, heads=4, init_scale=0.25)
    assert network(torch.randn(2, 6, 8), torch.zeros(2)).abs().max() == 0
    for layer in (network.backbone.resblocks[1].attn.c_qkv, network.time_embed.c_fc):  # type: ignore[union-attr]
        assert layer.weight.std().item() == pytest.approx(0.25 / 16, rel=0.02)
        assert layer.bias.abs().max() == 0


def test_queries_keys_and_values_are_packed_per_head() -> None:
    torch.manual_seed(0)
    attention, x = SelfAttention(width=8, heads=2, deviation=1.0), torch.randn(1, 5, 8)
    packed = x[0] @ attention.c_qkv.weight.T  # per head: 4 of the query, 4 of the key, 4 of the value
    heads = []
    for head in (packed[:, :12], packed[:, 12:]):
        scores = head[:, :4] @ head[:, 4:8].T / math.sqrt(4)
        heads.append(scores.softmax(dim=-1) @ head[:, 8:])
    expected = torch.cat(heads, dim=1) @ attention.c_proj.weight.T
    torch.testing.assert_close(attention(x)[0], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention(x, last=2)[0], expected[-2:], atol=1e-5, rtol=1e-5)


def test_time_is_embedded_as_cosines_then_sines() -> None:
    embedding = timestep_embedding(torch.tensor([0.0, 250.0], dtype=torch.bfloat16), 8)
    phases = torch.tensor([250.0, 25.0, 2.5, 0.25])
    assert embedding.dtype == torch.float32
    assert torch.equal(embedding[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    torch.testing.assert_close(embedding[1], torch.cat([phases.cos(), phases.sin()]), atol=1e-4, rtol=0)


def test_the_upsampler_scales_raw_coarse_points_itself() -> None:
    network, batch = denoiser("upsampler"), inputs("upsampler")
    scaled = {**batch, "low_res": scale_channels(batch["low_res"])}
    plain = denoiser("upsampler", channel_scales=[1.0] * 6, channel_biases=[0.0] * 6)
    torch.testing.assert_close(network(**batch), plain(**scaled), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_training_under_autocast(kind: str) -> None:
    network, batch = denoiser(kind), inputs(kind)
    exact = network(**batch)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(**batch)
        loss = output.square().mean()
    loss.backward()
    assert output.dtype == torch.float32
    assert (output - exact).abs().max() < 0.05 * exact.abs().max()
    used = {name: value for name, value in network.named_parameters() if value.grad is not None}
    assert set(used) == {name for name, _ in network.named_parameters()}
    assert all(value.grad.isfinite().all() for value in used.values())  # type: ignore[union-attr]


@pytest.fixture
def sdf() -> PointCloudSDF:
    torch.manual_seed(0)
    network = PointCloudSDF(
        width=32, encoder_layers=2, encoder_heads=2, decoder_layers=2, decoder_heads=4, init_scale=2.0
    )
    return network.eval()


def test_distances_depend_on_the_cloud_as_a_set_and_each_query_stands_alone(sdf: PointCloudSDF) -> None:
    points, queries = torch.rand(2, 3, 50) - 0.5, torch.rand(2, 3, 30) - 0.5
    distances = sdf(queries, points)
    encoded = sdf.encode(points)
    assert distances.shape == (2, 30)
    torch.testing.assert_close(sdf(queries, points[:, :, torch.randperm(50)]), distances)
    batches = [sdf.decode(part, encoded) for part in queries.split(7, dim=2)]
    torch.testing.assert_close(torch.cat(batches, dim=1), distances)
    assert (sdf(queries, points * 0.5) - distances).abs().max() > 1e-3


def test_the_cloud_is_encoded_once_for_all_its_queries(sdf: PointCloudSDF) -> None:
    points = torch.rand(1, 3, 50) - 0.5
    encoded = sdf.encode(points)
    encoder, layers = sdf.encoder, sdf.decoder.resblocks
    del sdf.encoder
    for layer in layers:
        del layer.attn.c_kv, layer.ln_2
    distances = [sdf.decode(torch.full((1, 3, 1), place), encoded) for place in (-0.2, 0.3)]
    assert distances[0] != distances[1] and sum(p.numel() for p in encoder.parameters()) > 0


def test_names_of_the_sdf_parameters_are_the_released_ones(sdf: PointCloudSDF) -> None:
    names = [name.rpartition(".")[0] for name in sdf.state_dict() if name.endswith("weight")]
    block = ["attn.c_qkv", "attn.c_proj", "ln_1", "mlp.c_fc", "mlp.c_proj", "ln_2"]
    cross = ["attn.c_q", "attn.c_kv", "attn.c_proj", "ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj", "ln_3"]
    assert names == [
        "encoder_input_proj",
        *(f"encoder.resblocks.{i}.{name}" for i in range(2) for name in block),
        "decoder_input_proj",
        *(f"decoder.resblocks.{i}.{name}" for i in range(2) for name in cross),
        *("ln_post", "output_proj"),
    ]


# What is computed once


def merging(kind: str) -> PointDiffusionTransformer:
    """A small network in double precision, so that what is exact is so to the last digits."""
    return denoiser(kind).double()


def doubles(kind: str) -> dict[str, Tensor]:
    return {name: value.double() for name, value in inputs(kind).items()}


@pytest.mark.parametrize("kind", ["grid", "upsampler"])
def test_equal_tokens_are_merged_exactly(kind: str) -> None:
    network, batch = merging(kind), doubles(kind)
    nothing = {"embeddings": torch.zeros_like(batch["embeddings"])}
    without = {key: value for key, value in batch.items() if key != "embeddings"}
    torch.testing.assert_close(network(**without), network(**without, **nothing), atol=1e-12, rtol=1e-12)
    if kind == "upsampler":
        coarse = {"low_res": torch.zeros(3, 6, network.cond_ctx, dtype=torch.float64)}
        expected = network(batch["x"], batch["t"], **nothing, **coarse)
        torch.testing.assert_close(network(batch["x"], batch["t"]), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_bound_network_answers_as_the_plain_one(kind: str, guided: bool) -> None:
    network, batch = merging(kind), doubles(kind)
    x, t = batch.pop("x"), batch.pop("t")
    networks = network.under(**batch, guided=guided)
    torch.testing.assert_close(networks.conditional(x, t), network(x, t, **batch), atol=1e-12, rtol=1e-12)
    assert (networks.both is not None) == guided
    if networks.both:
        both = {name: torch.cat([value, torch.zeros_like(value)]) for name, value in batch.items()}
        x, t = torch.cat([x, x.flip(2)]), torch.cat([t, t])
        torch.testing.assert_close(networks.both(x, t), network(x, t, **both), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind", ["vector", "added", "grid", "upsampler"])
def test_one_condition_serves_any_number_of_samples(kind: str) -> None:
    network, batch = merging(kind), doubles(kind)
    x, t = batch.pop("x"), batch.pop("t")
    first = {name: value[:1] for name, value in batch.items()}
    networks = network.under(**first, guided=True)
    same = {name: value.expand(3, *value.shape[1:]) for name, value in first.items()}
    torch.testing.assert_close(networks.conditional(x, t), network(x, t, **same), atol=1e-12, rtol=1e-12)
    assert networks.both
    halves = networks.both(torch.cat([x, x]), torch.cat([t, t])).chunk(2)
    torch.testing.assert_close(halves[0], networks.conditional(x, t), atol=1e-12, rtol=1e-12)


def test_the_condition_is_embedded_once() -> None:
    network, batch = denoiser("upsampler"), inputs("upsampler")
    x, t = batch.pop("x"), batch.pop("t")
    networks = network.under(**batch, guided=True)
    del network.clip_embed, network.cond_point_proj
    assert networks.both
    assert networks.conditional(x, t).isfinite().all()
    assert networks.both(torch.cat([x, x]), torch.cat([t, t])).isfinite().all()


def test_equal_tokens_are_computed_once() -> None:
    network, batch = denoiser("upsampler"), inputs("upsampler")
    lengths: list[int] = []
    network.backbone.register_forward_pre_hook(lambda _, arguments: lengths.append(arguments[0].shape[1]))
    networks = network.under(batch["embeddings"], batch["low_res"], guided=True)
    assert networks.both
    networks.both(torch.cat([batch["x"]] * 2), torch.cat([batch["t"]] * 2))
    network.under(None, batch["low_res"]).conditional(batch["x"], batch["t"])
    assert lengths == [256 + 30 + 1 + 40, 1 + 1 + 1 + 40, 1 + 30 + 1 + 40]


@pytest.mark.parametrize("learning", [False, True])
def test_what_nobody_reads_of_the_last_block_is_not_computed(learning: bool) -> None:
    torch.manual_seed(0)
    stack = Transformer(width=32, layers=3, heads=4, init_scale=1.0).double().requires_grad_(learning)
    x = torch.randn(2, 50, 32, dtype=torch.float64)
    rows: list[int] = []
    stack.resblocks[-1].ln_2.register_forward_pre_hook(lambda _, arguments: rows.append(arguments[0].numel()))
    points = stack(x.clone(), 20)
    assert points.shape == (2, 20, 32) and rows == [2 * 20 * 32]
    torch.testing.assert_close(points, stack(x.clone())[:, -20:], atol=1e-12, rtol=1e-12)


def test_an_mlp_sees_some_tokens_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    stack = Transformer(width=32, layers=2, heads=4, init_scale=1.0).requires_grad_(False)
    x = torch.randn(2, 50, 32)
    whole = stack(x.clone())
    monkeypatch.setitem(blocks.HIDDEN, "cpu", 7 * 4 * 32)
    torch.testing.assert_close(stack(x.clone()), whole, atol=1e-5, rtol=1e-5)


# Half precision


def halved(network: nn.Module, precision: str) -> Any:
    """The same network in another precision."""
    state = {name: in_precision(name, value, precision) for name, value in network.state_dict().items()}
    half = copy.deepcopy(network)
    half.load_state_dict(state, assign=True)
    return half.requires_grad_(False)


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 2e-2), ("float16", 3e-3)])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_close_around_a_float32_stream(kind: str, precision: str, tolerance: float) -> None:
    network, batch = denoiser(kind), inputs(kind)
    half, dtype = halved(network, precision), getattr(torch, precision)
    seen: dict[type[nn.Module], set[torch.dtype]] = {}
    for name, module in half.named_modules():
        if "resblocks" in name and not list(module.children()):
            module.register_forward_pre_hook(
                lambda module, given: seen.setdefault(type(module), set()).add(given[0].dtype)
            )
    expected, output = network(**batch), half(**batch)
    assert output.dtype == torch.float32
    assert seen == {nn.LayerNorm: {torch.float32}, nn.Linear: {dtype}}
    assert (output - expected).square().mean() < tolerance**2 * expected.square().mean()
    others = {name: value.dtype for name, value in half.named_parameters() if "resblocks" not in name}
    assert set(others.values()) == {torch.float32} and "time_embed.c_fc.weight" in others


def test_half_precision_of_the_distance_network_is_close(sdf: PointCloudSDF) -> None:
    points, queries = torch.rand(2, 3, 50) - 0.5, torch.rand(2, 3, 30) - 0.5
    half = halved(sdf, "float16")
    assert {part.dtype for layer in half.encode(points) for part in layer} == {torch.float16}
    expected, distances = sdf(queries, points), half(queries, points)
    assert distances.dtype == torch.float32
    assert (distances - expected).square().mean() < 0.02**2 * expected.square().mean()


def test_which_half_precision_a_device_is_given() -> None:
    assert half_precision("cuda:1") == half_precision("mps") == "float16"
    assert half_precision("cpu") in (None, "bfloat16")


def test_an_overflow_is_remembered_until_it_is_asked_for() -> None:
    network, batch = halved(denoiser("vector"), "float16"), inputs("vector")
    x, t = batch.pop("x"), batch.pop("t")
    networks = network.under(**batch)
    assert networks.conditional(x, t).isfinite().all() and not network.overflowed()

    inside = network.backbone.resblocks[0].mlp.c_fc.weight
    kept = inside.clone()
    inside.normal_(std=3e4)
    assert not networks.conditional(x, t).isfinite().all()
    inside.copy_(kept)
    assert networks.conditional(x, t).isfinite().all()
    assert network.overflowed() and not network.overflowed()


def test_released_keys_load_strictly_and_no_others(recorded: Path) -> None:
    found = [case for path in sorted(recorded.glob("*.keys.json")) for case in parity.keys(path)]
    assert found and not [case.name for case in found if not case.passed]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["base40M-textvec", "sdf"])
def test_a_forward_pass_answers_as_recorded(recorded: Path, name: str) -> None:
    if not (recorded / f"{name}.npz").is_file():
        pytest.skip(f"{name} was not recorded here")
    (case,) = parity.network(recorded, name)
    assert case.passed, case
