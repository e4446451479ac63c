"""CUDA graphs: the hundreds of kernels of an evaluation, recorded once per shape and launched as one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

log = logging.getLogger(__name__)

KEPT = 8  # recordings of a network; the oldest goes first
CLOSE = 1e-3  # largest difference to the plain answer, in parts of its largest number


class Recording(Protocol):
    """A function recorded with its inputs; runs again with others of the same shapes."""

    def replay(self, *inputs: Any) -> Tensor:
        """Its answer to these inputs, which nothing will overwrite."""


@cache
def _workplace(device: torch.device) -> tuple[torch.cuda.Stream, Any]:
    """Where all recordings are made, so that the memory they work in is one: only one replays at a time."""
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream, torch.cuda.graph_pool_handle()


class CudaRecording:
    """The kernels a function launches, on buffers of its own; what is no tensor is recorded with them."""

    def __init__(self, function: Callable[..., Tensor], *inputs: Any) -> None:
        self.inputs = [x.clone() if isinstance(x, Tensor) else x for x in inputs]
        self.graph = torch.cuda.CUDAGraph()
        device = next(x.device for x in inputs if isinstance(x, Tensor))
        stream, pool = _workplace(device)
        with torch.cuda.device(device):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):  # a stream's first products choose kernels and take workspace
                function(*self.inputs)
            torch.cuda.current_stream().wait_stream(stream)
            # Blender's own threads may use CUDA meanwhile: only this one must leave the device alone.
            with torch.cuda.graph(self.graph, pool, stream, capture_error_mode="thread_local"):
                self.output = function(*self.inputs)

    def replay(self, *inputs: Any) -> Tensor:
        """As `Recording` says; nothing waits for the device."""
        for mine, given in zip(self.inputs, inputs, strict=True):
            if isinstance(mine, Tensor):
                mine.copy_(given)
        self.graph.replay()
        return self.output.clone()


class Graphs:
    """The recordings of one function: made at the second call with the same shapes, and checked then.

    If a recording fails or answers otherwise than the function does, it is called plainly from then on.

    Parameters
    ----------
    record
        Makes a recording of a function with its inputs.
    """

    def __init__(self, record: Callable[..., Recording] = CudaRecording) -> None:
        self.record = record
        self.trusted = True
        self._recorded: dict[Any, Recording | None] = {}

    def __call__(self, function: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """`function(*inputs)`, always the same function; inputs are tensors or hashable."""
        if not self.trusted:
            return function(*inputs)
        key = tuple((x.shape, x.dtype) if isinstance(x, Tensor) else x for x in inputs)
        recording = self._recorded.get(key)
        if recording is not None:
            return recording.replay(*inputs)
        answer = function(*inputs)
        if key in self._recorded:
            self._recorded[key] = self._checked(function, inputs, answer)
        else:
            self._recorded[key] = None
            for oldest in list(self._recorded)[:-KEPT]:
                del self._recorded[oldest]
        return answer

    def _checked(
        self, function: Callable[..., Tensor], inputs: tuple[Any, ...], answer: Tensor
    ) -> Recording | None:
        try:
            recording = self.record(function, *inputs)
            apart = (recording.replay(*inputs) - answer).abs().max()
            if apart <= CLOSE * answer.abs().max():
                return recording
            log.warning("CUDA graphs are off: a replay is %g from the plain answer", apart.item())
        except RuntimeError as error:
            log.warning("CUDA graphs are off: %s", error)
        self.trusted = False
        self._recorded.clear()
        return None
