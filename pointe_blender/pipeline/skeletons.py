"""Networks without values: only the names, shapes and kinds of their tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def without_values() -> Iterator[None]:
    """What is built inside lies on "meta" and takes neither memory nor time; values are assigned later."""
    with torch.device("meta"), _Uncomputed():
        yield


class _Uncomputed(TorchFunctionMode):
    """Computes nothing on "meta": to work out a shape there, torch imports its whole compiler, for seconds.

    Nothing is drawn or changed in place, as there is nothing to change. The few small tensors that a network
    computes its initial weights from have values.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        name = getattr(function, "__name__", "")
        if name.endswith("_") and not name.endswith("__"):
            return args[0] if args else given["tensor"]
        if function in (torch.randn, torch.ones):
            given = {"device": "cpu", **given}
        return function(*args, **given)
