"""What networks and their evaluations take, measured from outside on processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from pointe_blender.pipeline.point_e.precision import half_precision
from tests.bench.peaks import Meter

RUN = """
import json, psutil
from pointe_blender.pipeline import Request, generate, memory

def resident():
    return psutil.Process().memory_info().rss

def make(prompt):
    *_, last = generate(Request(prompt=prompt, output="mesh", steps=2, resolution=16, device="cpu"))

make("a red chair")  # what Python and PyTorch themselves take stays until Blender ends
memory.unload()
before = resident()
make("a blue table")
held, during = memory.resident_bytes(), resident()
memory.unload()
print(json.dumps({"before": before, "held": held, "during": during, "after": resident()}))
"""
EVALUATION = """
import json, torch
from pointe_blender.pipeline.architectures import ARCHITECTURES
from pointe_blender.pipeline.point_e.precision import in_precision
from pointe_blender.pipeline.point_e.transformer import PointDiffusionTransformer
from tests.bench.peaks import Meter

config = dict(ARCHITECTURES["upsample"].config, layers=2)  # a block takes what the one before gave back
network = PointDiffusionTransformer(**config).eval().requires_grad_(False)
state = network.state_dict()
network.load_state_dict({{key: in_precision(key, state[key], "{precision}") for key in state}}, assign=True)

@torch.inference_mode()
def evaluate(coarse, new):
    bound = network.under(low_res=torch.rand(1, 6, coarse))
    assert bound.conditional(torch.randn(1, 6, new), torch.full((1,), 500.0)).isfinite().all()

evaluate(8, 8)
meter = Meter("cpu")
meter.reset()
before = meter.used
evaluate(config["cond_ctx"], config["n_ctx"])
print(json.dumps(meter.peak - before))
"""
OFFICIAL = 1318e6  # bytes that the same evaluation takes with the official network, measured likewise


def test_unloading_gives_back_what_a_run_took() -> None:
    measured = _measured(RUN)
    assert measured["held"] > 5_000_000
    assert measured["after"] < 1.1 * measured["before"], measured


@pytest.mark.skipif(not Meter.works("cpu"), reason="peaks of main memory are told by Linux only")
@pytest.mark.parametrize("precision", list(filter(None, ("float32", half_precision("cpu")))))
def test_an_evaluation_of_the_upsampler_takes_a_tenth_of_the_official_one(precision: str) -> None:
    """Of the released size, without a condition."""
    stream = 4 * (1024 + 3072) * 512  # bytes that no way of computing it does without
    assert stream < _measured(EVALUATION.format(precision=precision)) < OFFICIAL / 10


def _measured(program: str) -> Any:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
