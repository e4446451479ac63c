"""Networks in memory: kept by what they were made of, counted once, forgotten by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from pointe_blender.pipeline import memory, weights
from pointe_blender.pipeline.weights import default_folders


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    memory.unload()
    yield
    memory.unload()


def test_a_network_is_loaded_once_for_each_precision():
    folders = default_folders()
    network = memory.load("starter-sdf", "cpu", folders)
    assert memory.load("starter-sdf", "cpu", folders) is network
    half = memory.load("starter-sdf", "cpu", folders, "bfloat16")
    assert half is not network and memory.load("starter-sdf", "cpu", folders, "bfloat16") is half
    assert torch.bfloat16 in {value.dtype for value in half.parameters()}


def test_one_network_can_make_room_for_another():
    folders = default_folders()
    base, upsample = (memory.load(name, "cpu", folders) for name in ("starter-base", "starter-upsample"))
    memory.load("starter-base", "cpu", folders, "bfloat16")
    memory.forget("starter-base", "starter-sdf")
    assert memory.resident_bytes() == _bytes(upsample)
    assert memory.load("starter-upsample", "cpu", folders) is upsample
    assert memory.load("starter-base", "cpu", folders) is not base


def test_what_networks_share_counts_once_and_what_is_not_there_does_not_count():
    network = weights.load("starter-base", "cpu", default_folders())

    def keep(name: str, device: str, network: nn.Module) -> None:
        memory.keep(memory.Key(name, device, default_folders(), "float32"), lambda: network)

    keep("one", "cpu", network)
    keep("other", "cpu", network)
    keep("empty", "cpu", nn.Linear(9, 9, device="meta"))
    keep("elsewhere", "cuda", nn.Linear(9, 9))
    assert memory.resident_bytes("cpu") == _bytes(network)
    assert memory.resident_bytes("cuda") == 4 * 90
    assert memory.resident_bytes() == memory.resident_bytes("cpu") + memory.resident_bytes("cuda")


def _bytes(network: nn.Module) -> int:
    return sum(value.nbytes for value in (*network.parameters(), *network.buffers()))
