"""The shell's command with a pipeline of plain arrays: `python tests/pipeline/shell.py ARGUMENTS`.

POINTE_PACE makes every step of it take so many seconds.
"""

from __future__ import annotations

import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pointe_blender import cli, pipeline
from pointe_blender.pipeline import InvalidRequest, Mesh, NoSurface, PointCloud, Progress, Request, Result

SIZES = {"a big one": 4000}  # points; others have 200


class Pipeline:
    """Stands in for `pipeline.generate`: what it makes depends on the prompt and the seed, and nothing else.

    Attributes
    ----------
    requests
        What was asked for, in order.
    pace
        Called before each of four steps.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.pace: Callable[[], object] = lambda: None

    def __call__(self, request: Request, **_: object) -> Iterator[Progress]:
        pipeline.validate(request)
        self.requests.append(request)
        for step in range(4):
            self.pace()
            yield Progress("base", step + 1, 4, (step + 1) / 5, "cpu")
        if request.prompt == "a ghost":
            raise NoSurface("There is no surface: try another seed.")
        if request.prompt == "a bug":
            raise RuntimeError("something is broken")
        seeds = range(request.seed, request.seed + request.count)
        if request.prompt == "a mug" and 13 in seeds and request.count > 1:
            raise InvalidRequest("Seed 13 is made alone: ask for one.")
        best_first = tuple(reversed(seeds))
        clouds = tuple(self.cloud(request, seed) for seed in best_first)
        meshes = tuple(self.mesh(cloud) for cloud in clouds) if request.wants_mesh else ()
        scores = tuple(0.25 + 0.01 * i for i in range(len(seeds)))[::-1] if len(seeds) > 1 else ()
        yield Progress(
            "done",
            1,
            1,
            1.0,
            "cpu",
            result=Result(
                clouds, meshes, best_first, scores, request.models, "cpu", {"total": 1.5}, "a note"
            ),
        )

    @staticmethod
    def cloud(request: Request, seed: int) -> PointCloud:
        if request.cloud is not None:
            return request.cloud
        said = request.prompt.encode() if request.prompt is not None else request.image.tobytes()
        draws = np.random.default_rng((zlib.crc32(said), seed))
        points = draws.random((SIZES.get(request.prompt, 200), 3), dtype=np.float32) - 0.5
        return PointCloud(points, draws.random(points.shape, dtype=np.float32))

    @staticmethod
    def mesh(cloud: PointCloud) -> Mesh:
        triangles = np.arange(len(cloud) // 3 * 3, dtype=np.int32).reshape(-1, 3)
        return Mesh(cloud.points, triangles, cloud.colors)


if __name__ == "__main__":
    stand_in = Pipeline()
    stand_in.pace = lambda: time.sleep(float(os.environ.get("POINTE_PACE", "0")))
    pipeline.generate = stand_in  # type: ignore[assignment]
    sys.exit(cli.main(sys.argv[1:]))
