"""Between "Generate" and the first denoising step nothing is imported that is not needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
import numpy as np
import torch

def started(**asked):
    before = set(sys.modules)
    from pointe_blender.pipeline import Request, generate
    for update in generate(Request(device="cpu", **asked)):
        if update.stage == "base" and update.step:
            return sorted(set(sys.modules) - before)

picture = np.full((64, 64, 3), 200, dtype=np.uint8)
print(json.dumps([started(image=picture), started(prompt="a red chair")]))
"""


def test_a_run_imports_what_it_uses_and_nothing_else():
    """Beside PyTorch and NumPy: a picture first, then in the same process a prompt."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    for_picture, for_prompt = json.loads(run.stdout)
    assert _packages(for_picture) - {"numpy", "torch"} == {"PIL", "filelock", "pointe_blender", "safetensors"}
    assert _packages(for_prompt) == {"ftfy", "regex", "wcwidth"}
    # PyTorch's compiler, which takes longer to import than PyTorch.
    assert not [name for name in for_picture if name.startswith(("torch._dynamo", "torch._inductor"))]


def _packages(modules: list[str]) -> set[str]:
    """The packages that are not part of Python itself."""
    packages = {name.partition(".")[0] for name in modules}
    return {name for name in packages - sys.stdlib_module_names if not name.startswith("_")}
