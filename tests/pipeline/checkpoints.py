"""Small checkpoints under the released names and in the released shapes, and who fetches them."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from pointe_blender.pipeline import models, weights
from pointe_blender.pipeline.weights import Folders

ROOT = Path(__file__).parents[2]


def random_state(name: str, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors under the released names and in the released shapes."""
    generator = torch.Generator().manual_seed(seed)
    state = models.build(name, "meta").state_dict()
    return {
        key: torch.rand(value.shape, generator=generator) if value.is_floating_point() else torch.tensor(7)
        for key, value in state.items()
    }


def torch_file(content: object) -> bytes:
    """What torch.save makes of it."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """The same tensors, bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@cache
def sdf(seed: int = 0) -> dict[str, Tensor]:
    """The smallest released network."""
    return random_state("sdf", seed)


@cache
def sdf_file(seed: int = 0) -> bytes:
    """Its file, as released."""
    return torch_file(sdf(seed))


def fetch(name: str, folders: Folders) -> None:
    """Download to the end."""
    for _ in weights.fetching(name, folders):
        pass


def put(folders: Folders, *names: str) -> None:
    """Files under the names of installed checkpoints, 1 kB each."""
    folders.user.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folders.user / f"{name}.safetensors").write_bytes(bytes(1000))


def in_another_process(folders: Folders, pause: float = 0.0) -> subprocess.Popen[bytes]:
    """Fetch there: it says when it is ready and starts when its input ends; pauses once all has arrived."""
    code = """if True:
        import sys, time, pathlib, torch, safetensors
        from pointe_blender.pipeline import weights
        print("ready", flush=True)
        sys.stdin.read()
        for done, total in weights.fetching("sdf", weights.Folders(pathlib.Path(sys.argv[1]))):
            if done == total:
                time.sleep(float(sys.argv[2]))
    """
    command = [sys.executable, "-c", code, str(folders.user), str(pause)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def run_python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
