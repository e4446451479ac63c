"""Prompts and pictures become the vectors and grids of CLIP, wherever open_clip can be imported at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pointe_blender.pipeline import conditioning, importing, memory, models, weights
from pointe_blender.pipeline.conditioning import Clip
from pointe_blender.pipeline.errors import InvalidRequest, MissingPackage

ROOT = Path(__file__).parents[2]
PARITY = Path(os.environ.get("POINTE_PARITY", ROOT.parent / "shared" / "parity"))
recorded = pytest.mark.skipif(
    not (PARITY / "clip-vit-l-14.npz").is_file(), reason="the recorded answers are not here"
)
VIT_L_14 = models.ARCHITECTURES["clip-vit-l-14"].config
SMALL = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A small CLIP of random weights."""
    torch.manual_seed(0)
    return Clip(conditioning.build_network(SMALL).eval(), conditioning.build_tokenizer(SMALL))


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_vectors_are_unit_vectors_of_the_network(clip, picture):
    assert (clip.dimension, clip.width, clip.cells, clip.side) == (24, 64, 16, 32)
    texts, images = clip.text(["a red chair", "a blue cup"]), clip.image([picture, picture[::-1].copy()])
    for vectors in (texts, images):
        assert vectors.shape == (2, 24)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    with torch.no_grad():
        expected = clip.network.encode_text(clip.tokenize(["a blue cup"]))[0]
    torch.testing.assert_close(texts[1], expected / expected.norm())


def test_a_prompt_is_encoded_once_and_keeps_its_place(clip):
    calls = []
    handle = clip.network.ln_final.register_forward_hook(lambda *_: calls.append(1))
    first = clip.text(["one", "two", "one"])
    again = clip.text(["two", "one"])
    handle.remove()
    assert len(calls) == 1
    torch.testing.assert_close(again, first[[1, 0]], rtol=0, atol=0)
    torch.testing.assert_close(first[0], first[2], rtol=0, atol=0)
    many = clip.text([f"prompt {i}" for i in range(conditioning.REMEMBERED + 9)])
    assert len(many) == conditioning.REMEMBERED + 9


def test_the_grid_holds_the_patch_tokens_before_the_final_norm(clip, picture):
    seen = []
    handle = clip.network.visual.ln_post.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    clip.image([picture])
    handle.remove()
    grid = clip.grid([picture])
    assert grid.shape == (1, 64, 16)
    torch.testing.assert_close(grid, seen[0][:, 1:].transpose(1, 2))  # without the class token


def test_long_prompts_keep_the_end_token(clip):
    tokens = clip.tokenize(["very " * 10_000 + "long", ""])
    assert tokens.shape == (2, 16)
    assert tokens[0, -1] == tokens.max() == tokens[1, 1]
    assert (tokens[1, 2:] == 0).all()


def test_alpha_is_laid_over_white(clip, picture):
    alpha = np.full((40, 60, 1), 255, dtype=np.uint8)
    opaque = clip.preprocess(np.concatenate([picture, alpha], axis=2))
    torch.testing.assert_close(opaque, clip.preprocess(picture), rtol=0, atol=0)
    hidden = clip.preprocess(np.concatenate([picture, 0 * alpha], axis=2))
    white = conditioning.normalise(torch.ones(3, 32, 32))
    torch.testing.assert_close(hidden, white)


@pytest.mark.parametrize("size", [(32, 32), (40, 61), (61, 40), (8, 9), (33, 500), (1000, 35)])
def test_preprocessing_fits_the_shorter_side_and_cuts_the_middle_out(clip, size):
    """In two steps, as OpenAI does."""
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8))
    short = min(image.size)
    fitted = image.resize([int(32 * side / short) for side in image.size], Image.Resampling.BICUBIC)
    left, top = (round((side - 32) / 2.0) for side in fitted.size)
    cut = np.asarray(fitted.crop((left, top, left + 32, top + 32)))
    expected = conditioning.normalise(torch.from_numpy(cut.copy()).permute(2, 0, 1) / 255)
    torch.testing.assert_close(clip.preprocess(np.array(image)), expected)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (0, 8, 3)])
def test_other_arrays_are_refused(clip, shape):
    with pytest.raises(InvalidRequest, match="array of height"):
        clip.preprocess(np.zeros(shape, dtype=np.uint8))


def test_one_clip_in_memory():
    folders = weights.default_folders()
    first = Clip.load("starter-clip", "cpu", folders)
    assert Clip.load("starter-clip", "cpu", folders) is first
    alike = first.text(["a red chair", "a crimson chair", "a blue cup"])
    assert alike[0] @ alike[1] > alike[0] @ alike[2]
    memory.unload()
    assert Clip.load("starter-clip", "cpu", folders) is not first
    memory.unload()


def test_only_the_tower_that_is_used_is_loaded(picture):
    """And what it answers is, bit for bit, what the whole network does."""
    folders = weights.default_folders()
    whole = weights.load("starter-clip", "cpu", folders)
    clip = Clip.load("starter-clip", "cpu", folders)

    def loaded() -> set[str]:
        parameters = clip.network.named_parameters()
        return {name for name, value in parameters if not value.is_meta and not name.endswith("logit_scale")}

    visual = {name for name, _ in whole.named_parameters() if name.startswith("visual.")}
    expected = whole.encode_text(clip.tokenize(["a red chair"]), normalize=True)
    torch.testing.assert_close(clip.text(["a red chair"]), expected, rtol=0, atol=0)
    small = {"visual.class_embedding", "visual.positional_embedding", "visual.proj"}  # drawn in any case
    assert visual & loaded() <= small and loaded() - visual
    before = memory.resident_bytes()
    image = whole.encode_image(torch.stack([clip.preprocess(picture)]), normalize=True)
    torch.testing.assert_close(clip.image([picture]), image, rtol=0, atol=0)
    assert visual <= loaded() and memory.resident_bytes() > 1.2 * before
    memory.unload()


def test_words_are_looked_up_in_the_table_as_it_was_published():
    """Not widened, as most of it is never read."""
    clip = Clip.load("starter-clip", "cpu", weights.default_folders())
    clip.text(["a red chair"])
    assert clip.network.token_embedding.weight.dtype == torch.float16
    others = [value for name, value in clip.network.transformer.named_parameters()]
    assert {value.dtype for value in others} == {torch.float32}
    memory.unload()


def test_a_network_without_values_can_be_filled():
    """The causal mask, no part of any checkpoint, is there all the same."""
    torch.manual_seed(0)
    network = conditioning.build_network(SMALL).eval()
    with torch.device("meta"):
        empty = conditioning.build_network(SMALL).eval()
    empty.load_state_dict(network.state_dict(), assign=True)
    tokens = conditioning.build_tokenizer(SMALL)(["a red chair"])
    with torch.no_grad():
        torch.testing.assert_close(empty.encode_text(tokens), network.encode_text(tokens))


@recorded
def test_tokens_and_pixels_are_those_of_the_released_program():
    listed = json.loads((PARITY / "clip-vit-l-14.json").read_text())
    network = models.build("clip-vit-l-14", "meta")
    clip = Clip(network, conditioning.build_tokenizer(VIT_L_14))
    with np.load(PARITY / "clip-vit-l-14.npz") as answers:
        np.testing.assert_array_equal(clip.tokenize(listed["prompts"]), answers["tokens"])
        for name, pixels in zip(listed["images"], answers["pixels"], strict=True):
            image = np.array(Image.open(PARITY.parent / "data" / name).convert("RGB"))
            assert np.abs(clip.preprocess(image).numpy() - pixels).max() < 0.03


PROGRAM = """
{before}
import sys
before = dict(sys.modules)
from pointe_blender.pipeline import conditioning
network = conditioning.build_network({config})
print(network.encode_text(conditioning.build_tokenizer({config})(["a red chair"])).shape)
parts = ("open_clip", "torchvision", "timm", "transformers")
assert all(sys.modules[name] is before.get(name) for name in sys.modules if name.partition(".")[0] in parts)
{after}
"""
# As where the compiled operators load: somebody else has imported torchvision already.
IMPORTED = """
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import torchvision
"""
# And who needs all of open_clip gets it later.
ALL = """
import open_clip
assert open_clip.create_model and open_clip.CLIP is not type(network)
"""
ABSENT = """
import sys
sys.modules["torchvision"] = sys.modules["timm"] = None
"""


@pytest.mark.parametrize(("before", "after"), [(IMPORTED, ALL), (ABSENT, "")], ids=["imported", "absent"])
def test_clip_needs_neither_torchvision_nor_timm(before, after):
    """Whether they are there or not, and no trace is left of what stood in for them."""
    program = PROGRAM.format(before=before, after=after, config=SMALL)
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert (run.stdout, run.returncode) == ("torch.Size([1, 24])\n", 0), run.stderr


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingPackage, match="package open_clip, which is not installed"):
        importing.import_open_clip.__wrapped__("model")
