"""Checkpoint files: read without running them, held against their architecture, kept as safetensors."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .download import cannot_write
from .errors import DamagedModel, PointEError
from .models import Checkpoint, build

if TYPE_CHECKING:
    from torch import Tensor

# OpenAI's CLIP holds these beside its weights; the architecture has them already.
_CLIP_SIZES = ("input_resolution", "context_length", "vocab_size")


def read(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or torch file, in its precision, mapped into memory where possible.

    Raises
    ------
    DamagedModel
        The file is unreadable, holds more than weights, or the weights of another architecture.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: dict[str, Tensor] = load_file(path)
        elif _is_torchscript(path):
            state = _read_torchscript(path, checkpoint)
        else:
            state = _read_pickle(path, checkpoint.key)
            if checkpoint.architecture == "clip-vit-l-14":
                state = _without_sizes(state)
    except (PointEError, MemoryError):
        raise
    except Exception as error:  # whatever the bytes provoke
        refused = isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path)
        detail = "it holds more than weights" if refused else "it is not a whole file of weights"
        raise damaged(path, checkpoint, detail) from error
    difference = _first_difference(state, checkpoint)
    if difference:
        del state  # Windows deletes no file that is still mapped
        raise damaged(path, checkpoint, difference)
    return state


def convert(source: Path, target: Path, checkpoint: Checkpoint, metadata: dict[str, str]) -> None:
    """Write a torch file's tensors as safetensors: checked, in their precision, whole or not at all.

    Raises
    ------
    DamagedModel, CannotWrite
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    state = read(source, checkpoint)
    part = target.with_name(target.name + ".part")
    try:
        save_file({key: _alone(value) for key, value in state.items()}, part, metadata)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise cannot_write(target, error) from error


def sha256_of(path: Path) -> str:
    """A file's hash, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damaged(path: Path, checkpoint: Checkpoint, detail: str) -> DamagedModel:
    """What to tell the user about a file that is not what its name says."""
    if checkpoint.packaged:
        remedy = "install the extension again"
    elif path.suffix == ".part":
        remedy = "it was thrown away, download the model again"
    else:
        remedy = "delete it and download the model again"
    return DamagedModel(f"{path} cannot be used as {checkpoint.name} ({detail}): {remedy}.")


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_torchscript(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The weights of OpenAI's CLIP archive.

    Such an archive is a program, and torch's loader for it was not made for strangers' files, so nothing but
    the published file, known by its hash, gets there.
    """
    import torch

    if sha256_of(path) != checkpoint.sha256:
        raise damaged(path, checkpoint, "it is a TorchScript program, but not the one OpenAI published")
    archive: Any = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return _without_sizes(archive.state_dict())


def _without_sizes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key not in _CLIP_SIZES}


def _read_pickle(path: Path, key: str | None) -> dict[str, Tensor]:
    import torch

    with torch.serialization.safe_globals(_numpy_numbers()):
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    state = content if key is None else content[key]
    return dict(state.items())


def _numpy_numbers() -> list[Any]:
    """What a NumPy number is made of in a pickle: training programs leave some beside the weights."""
    import numpy as np

    make = np.float64(0).__reduce__()[0]
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since NumPy 2
    kinds = [type(np.dtype(name)) for name in ("float32", "float64", "int64")]
    return [np.dtype, *kinds, *((make, f"{module}.scalar") for module in modules)]


def _first_difference(state: Mapping[str, Tensor], checkpoint: Checkpoint) -> str | None:
    """The first tensor that is missing, of another shape or kind, or one too many."""
    expected = build(checkpoint.architecture, "meta").state_dict()
    for key, value in expected.items():
        if key not in state:
            return f"{key} is missing"
        found, wanted = _form(state[key]), _form(value)
        if found != wanted:
            return f"{key} is {found} where {checkpoint.architecture} has {wanted}"
    return next((f"{key} does not belong" for key in state if key not in expected), None)


def _form(value: Tensor | object) -> str:
    import torch

    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"{'real' if value.is_floating_point() else 'whole'} {tuple(value.shape)}"


def _alone(tensor: Tensor) -> Tensor:
    """A tensor that owns all of its storage, as safetensors wants it; itself if it does already."""
    whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if whole else tensor.contiguous().clone()
