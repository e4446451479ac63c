"""Recordings are made once, checked against the plain answer, and given up for good when they fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pointe_blender.pipeline.point_e.graphs import Graphs


class Tape:
    """A stand-in for a recording: notes what is asked, and answers off by `error`."""

    error = 0.0

    def __init__(self, function: Callable[..., Tensor], *inputs: Any) -> None:
        self.function, self.replays = function, 0
        tapes.append(self)

    def replay(self, *inputs: Any) -> Tensor:
        self.replays += 1
        return self.function(*inputs) + self.error


tapes: list[Tape] = []


def scaled(x: Tensor, factor: float) -> Tensor:
    return x * factor


def test_a_graph_is_recorded_at_the_second_call_with_equal_shapes() -> None:
    tapes.clear()
    graphs = Graphs(Tape)
    for i, expected in enumerate([(0, 0), (1, 1), (1, 2), (1, 3)]):
        assert torch.equal(graphs(scaled, torch.full((2, 3), float(i)), 2.0), torch.full((2, 3), 2.0 * i))
        assert (len(tapes), sum(tape.replays for tape in tapes)) == expected
    for others in ((torch.ones(3, 3), 2.0), (torch.ones(2, 3), 5.0), (torch.ones(2, 3).double(), 2.0)):
        assert torch.equal(graphs(scaled, *others), scaled(*others))
    assert len(tapes) == 1


@pytest.mark.parametrize("error", [0.1, math.nan])
def test_a_graph_that_answers_otherwise_is_never_used(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    tapes.clear()
    monkeypatch.setattr(Tape, "error", error)
    graphs = Graphs(Tape)
    assert all(torch.equal(graphs(scaled, torch.ones(2), 3.0), torch.full((2,), 3.0)) for _ in range(5))
    assert len(tapes) == 1 and tapes[0].replays == 1


def test_without_graphs_the_function_is_called_plainly() -> None:
    attempts = []

    def impossible(*_: Any) -> Tape:
        attempts.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    graphs = Graphs(impossible)
    assert all(torch.equal(graphs(scaled, torch.ones(2), 3.0), torch.full((2,), 3.0)) for _ in range(5))
    assert len(attempts) == 1


def test_the_oldest_graph_goes_first() -> None:
    tapes.clear()
    graphs = Graphs(Tape)
    for length in (*range(1, 10), *range(2, 10), 1):
        graphs(scaled, torch.ones(length), 2.0)
    assert len(tapes) == 8
    graphs(scaled, torch.ones(9), 2.0)
    assert tapes[-1].replays == 2
