"""What a request may ask for, and the sentence it gets otherwise."""

import pickle

import numpy as np
import pytest

from pointe_blender.pipeline import InvalidRequest, PointCloud, Request, generate, validate

PICTURE = np.zeros((8, 8, 3), dtype=np.uint8)
FOUR = PointCloud(np.eye(4, 3, dtype=np.float32), np.zeros((4, 3), dtype=np.float32))
MANY = PointCloud(np.zeros((5000, 3), dtype=np.float32), np.zeros((5000, 3), dtype=np.float32))


@pytest.mark.parametrize(
    "request_",
    [
        Request(prompt="a red chair"),
        Request(prompt="une chaise rouge 🪑", seed=2**31 - 64, count=64, steps=2, guidance=0, resolution=16),
        Request(image=PICTURE, resolution=256),
        Request(vector=np.ones(768, dtype=np.float32)),
        Request(prompt="a red chair", seed=2**31 - 1, points=1_000_000),
        Request(cloud=FOUR),
        Request(cloud=FOUR, points=4096, output="cloud"),
    ],
)
def test_a_good_request_passes_and_travels(request_):
    validate(request_)
    assert pickle.loads(pickle.dumps(request_)).seed == request_.seed


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "exactly one"),
        ({"prompt": "a chair", "image": PICTURE}, "exactly one"),
        ({"prompt": ""}, "empty"),
        ({"prompt": " \u00a0"}, "empty"),
        ({"prompt": "x" * 10_000}, "10000 characters"),
        ({"prompt": "a red\nchair"}, "control characters"),
        ({"prompt": "a \x07 chair"}, "control characters"),
        ({"prompt": "a \ud800 chair"}, "control characters"),
        ({"image": PICTURE[..., 0]}, "picture"),
        ({"image": PICTURE.astype(np.float32)}, "picture"),
        ({"image": PICTURE[:0]}, "picture"),
        ({"vector": np.full(768, np.nan, dtype=np.float32)}, "finite"),
        ({"cloud": PointCloud(FOUR.points[:3], FOUR.colors[:3])}, "3 points"),
        ({"cloud": PointCloud(FOUR.points * np.nan, FOUR.colors)}, "not numbers"),
        ({"cloud": PointCloud(FOUR.points, FOUR.colors[:2])}, "as many colours"),
        ({"prompt": "a chair", "seed": -1}, "seed -1"),
        ({"prompt": "a chair", "seed": 2**31}, "seed 2147483648"),
        ({"prompt": 5}, "5 is not text"),
        ({"prompt": "a chair", "steps": "many"}, "'many' is not a whole number"),
        ({"prompt": "a chair", "seed": 1.5}, "1.5 is not a whole number"),
        ({"prompt": "a chair", "guidance": "strong"}, "guidance strong"),
        ({"prompt": "a chair", "count": 0}, "variants 0"),
        ({"prompt": "a chair", "seed": 2**31 - 1, "count": 2}, "smaller seed"),
        ({"prompt": "a chair", "points": 4095}, "points 4095"),
        ({"cloud": FOUR, "output": "cloud"}, "nothing to do"),
        ({"cloud": MANY, "points": 4096}, "5000 points already"),
        ({"prompt": "a chair", "steps": 0}, "steps 0"),
        ({"prompt": "a chair", "resolution": 0}, "resolution 0"),
        ({"prompt": "a chair", "resolution": 257}, "resolution 257"),
        ({"prompt": "a chair", "guidance": float("nan")}, "guidance nan"),
        ({"prompt": "a chair", "output": "video"}, "'video'"),
        ({"prompt": "a chair", "models": "unheard-of"}, "'unheard-of'"),
        ({"prompt": "a chair", "models": "official-300M"}, "does not take a prompt"),
        ({"image": PICTURE, "models": "official-text"}, "does not take a picture"),
        ({"vector": np.ones(5, dtype=np.float32)}, "5 numbers"),
        ({"prompt": "a chair", "device": "toaster"}, "'toaster'"),
        ({"prompt": "a chair", "device": "cuda:77"}, "'cuda:77'"),
    ],
)
def test_a_bad_request_gets_one_sentence(settings, says):
    with pytest.raises(InvalidRequest) as caught:
        next(generate(Request(**settings)))
    message = str(caught.value)
    assert says in message
    assert message.endswith(".")
    assert "\n" not in message
