"""Checkpoint files: read without running them, held against their architecture, kept as safetensors."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .download import cannot_write
from .errors import DamagedModel
from .models import Checkpoint, build

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 4 << 20  # bytes between two chances to cancel
_UNKNOWN = b"0" * 64  # where a file's own hash will stand
_KINDS = {
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.int16": "I16",
    "torch.int8": "I8",
    "torch.uint8": "U8",
    "torch.bool": "BOOL",
}  # as safetensors calls them

# OpenAI's CLIP holds these beside its weights; the architecture has them already.
_CLIP_SIZES = ("input_resolution", "context_length", "vocab_size")


def read(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, in its precision, mapped into memory.

    Raises
    ------
    DamagedModel
        The file is unreadable, or holds the weights of another architecture.
    """
    from safetensors.torch import load_file

    return _checked(path, checkpoint, lambda: load_file(path))


def converting(source: Path, target: Path, checkpoint: Checkpoint, metadata: dict[str, str]) -> Iterator[int]:
    """Write a torch file's tensors as safetensors: checked, in their precision, whole or not at all.

    The file carries `metadata` and, as `sha256`, its own hash with zeros in that place; see `checking`.

    Yields
    ------
    int
        Bytes so far; closing the iterator cancels and leaves nothing behind.

    Raises
    ------
    DamagedModel, CannotWrite
    """
    if _is_torchscript(source):
        # Such an archive is a program, and torch's loader for it was not made for strangers' files, so
        # nothing but the file that OpenAI published, known by its hash, gets there.
        if (yield from hashing(source)) != checkpoint.sha256:
            raise damaged(source, checkpoint, "it is a TorchScript program, but not the one OpenAI published")
        state = _checked(source, checkpoint, lambda: _read_torchscript(source))
    else:
        state = _checked(source, checkpoint, lambda: _read_pickle(source, checkpoint))
    part = target.with_name(target.name + ".part")
    try:
        with FileIO(part, "wb") as file:
            yield from _writing(file, state, metadata)
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        part.unlink(missing_ok=True)


def hashing(path: Path) -> Generator[int, None, str]:
    """Yield bytes so far; return a file's SHA-256 in hexadecimal."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            yield done
    return digest.hexdigest()


def checking(path: Path, checkpoint: Checkpoint) -> Generator[int, None, bool]:
    """Hold a safetensors file against the hash it carries, where it has one, and its architecture.

    Yields
    ------
    int
        Bytes so far.

    Returns
    -------
    bool
        Whether it carries one.

    Raises
    ------
    DamagedModel
        A byte is not the one that was written, or the names or shapes of the tensors are wrong.
    """
    with path.open("rb") as file:
        start = file.read(8)
        start += file.read(min(int.from_bytes(start, "little"), BLOCK))
        try:
            claimed = str(json.loads(start[8:])["__metadata__"]["sha256"])
        except (ValueError, KeyError, TypeError):
            claimed = ""  # a file of the user's; what else is wrong with it the reader tells
        if claimed:
            digest = hashlib.sha256(start.replace(claimed.encode(), _UNKNOWN, 1))
            while block := file.read(BLOCK):
                digest.update(block)
                yield file.tell()
            if digest.hexdigest() != claimed:
                raise damaged(path, checkpoint, "its bytes are not those that were written")
    read(path, checkpoint)
    return bool(claimed)


def damaged(path: Path, checkpoint: Checkpoint, detail: str) -> DamagedModel:
    """What to tell the user about a file that is not what its name says."""
    if checkpoint.packaged:
        remedy = "install the extension again"
    elif path.suffix == ".part":
        remedy = "it was thrown away, download the model again"
    else:
        remedy = "delete it and download the model again"
    return DamagedModel(f"{path} cannot be used as {checkpoint.name} ({detail}): {remedy}.")


def _checked(path: Path, checkpoint: Checkpoint, read: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What `read` finds in a file, if it is exactly the weights of the architecture."""
    try:
        state = read()
    except MemoryError:
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


def _writing(file: FileIO, state: Mapping[str, Tensor], metadata: dict[str, str]) -> Iterator[int]:
    """A safetensors file, block by block; the format's own writer could be neither cancelled nor hashed."""
    import torch

    names = sorted(state, key=lambda name: (-state[name].element_size(), name))  # every tensor aligned
    entries: dict[str, Any] = {"__metadata__": {"sha256": _UNKNOWN.decode(), **metadata}}
    end = 0
    for name in names:
        tensor = state[name]
        start, end = end, end + tensor.nbytes
        kind = _KINDS[str(tensor.dtype)]
        entries[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    head = len(header).to_bytes(8, "little") + header
    digest = hashlib.sha256()

    def write(block: memoryview) -> None:
        digest.update(block)
        while block:  # a disk that fills up takes a part, and the rest meets the reason
            block = block[file.write(block) :]

    write(memoryview(head))
    for name in names:
        content = state[name].contiguous().reshape(-1).view(torch.uint8).numpy().data
        for start in range(0, len(content), BLOCK):
            write(content[start : start + BLOCK])
            yield file.tell()
    file.seek(head.index(_UNKNOWN))
    file.write(digest.hexdigest().encode())


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_torchscript(path: Path) -> dict[str, Tensor]:
    """The weights of OpenAI's CLIP archive."""
    import torch

    archive: Any = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return _without_sizes(archive.state_dict())


def _without_sizes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key not in _CLIP_SIZES}


def _read_pickle(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    import torch

    with torch.serialization.safe_globals(_numpy_numbers()):
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    state = dict((content if checkpoint.key is None else content[checkpoint.key]).items())
    return _without_sizes(state) if checkpoint.architecture == "clip-vit-l-14" else state


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
    if str(value.dtype) not in _KINDS:
        return f"{value.dtype} {tuple(value.shape)}"
    return f"{'real' if value.is_floating_point() else 'whole'} {tuple(value.shape)}"
