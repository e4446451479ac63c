"""From a cloud to a mesh: whole at each resolution, and the official network's batches of queries in turns.

Weights drawn from names make no surface. Of the released network, therefore, every answer is computed in full
and replaced by the exact distance of the object that the cloud lies on.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import cache, partial
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointe_blender.pipeline import Mesh, PointCloud, memory, meshing
from pointe_blender.pipeline.models import MODEL_SETS
from pointe_blender.pipeline.starter.solids import (
    Objects,
    colors_at,
    normalised,
    sample_surface,
    signed_distance,
)
from pointe_blender.pipeline.starter.world import Label, build_all
from pointe_blender.pipeline.weights import Folders

from .reference import Official
from .table import Row
from .timing import Laps, Turns, once, race, repeats

SEED, POINTS = 1, 4096
BATCH = 4096  # queries, as the official program asks
OURS = "ours"
ENCODINGS, DECODINGS = 4, 8  # in turns, the first of each not counted
LARGEST = 256  # lattice points a side, too long to be run whole with the released network on a CPU


class Shaped:
    """A distance field network whose answers are replaced by an object's distance, and counted.

    Without a network nothing is computed but that distance.
    """

    def __init__(self, objects: Objects, network: Any, n_ctx: int = POINTS) -> None:
        self._objects, self._network, self.n_ctx = objects, network, n_ctx
        self.queries = 0

    def encode(self, points: Tensor) -> Any:
        return None if self._network is None else self._network.encode(points)

    def decode(self, queries: Tensor, encoded: Any) -> Tensor:
        if self._network is not None:
            self._network.decode(queries, encoded)
        self.queries += queries.shape[-1]
        return signed_distance(self._objects, queries.transpose(1, 2))


@dataclass
class Timed:
    """What one network takes on one device.

    Attributes
    ----------
    laps
        Seconds of encoding a cloud and of a batch of queries, by program.
    whole
        Seconds of a mesh, by resolution.
    queries
        How many of the released network a mesh took, by resolution.
    derived
        Resolutions whose seconds are those of a mesh without the network, and its queries × the median.
    """

    laps: dict[str, Laps] = field(default_factory=dict)
    whole: dict[int, float] = field(default_factory=dict)
    queries: dict[int, int] = field(default_factory=dict)
    derived: set[int] = field(default_factory=set)

    def network(self, program: str, queries: int) -> float:
        """Seconds of encoding a cloud and of so many queries in whole batches."""
        laps = self.laps[program]
        batches = -(-queries // BATCH)
        return statistics.median(laps["encoder"]) + batches * statistics.median(laps["decoder"])


@cache
def thing(device: str) -> tuple[Objects, PointCloud]:
    """A chair of the starter world, its distance to be asked for on a device, and points on it."""
    generator = torch.Generator().manual_seed(SEED)
    objects = normalised(build_all([Label("chair", "red")], Random(SEED)), generator)
    points = sample_surface(objects, POINTS, generator)
    cloud = PointCloud(points[0].numpy(), colors_at(objects, points)[0].numpy())
    return replace(objects, **{key: value.to(device) for key, value in vars(objects).items()}), cloud


def mesh(network: Any, resolution: int, device: str) -> Mesh:
    """The mesh of the cloud."""
    steps = meshing.mesh_from_cloud(network, thing(device)[1], resolution, device)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Mesh = end.value
            return made


def measure(
    name: str,
    device: str,
    folders: Folders,
    official: Official | None,
    resolutions: Sequence[int],
    times: int,
    whole: bool,
) -> Timed:
    """Both programs' networks in turns, then meshes; those of the largest lattice derived unless `whole`."""
    timed, checkpoint = Timed(), MODEL_SETS[name].sdf
    network: Any = memory.load(checkpoint, device, folders)
    trained = name == "starter"
    if not trained:
        programs = {OURS: _turns(network.encode, network.decode, torch.inference_mode, device)}
        for program in official.programs if official is not None else ():
            programs[program] = _official(official, checkpoint, program)
        timed.laps = race(programs, device)
    objects, _ = thing(device)
    for resolution in resolutions:
        if not trained and not whole and resolution == LARGEST:
            bare = Shaped(objects, None)
            rest = once(partial(mesh, bare, resolution, device), device)
            timed.whole[resolution] = rest + timed.network(OURS, bare.queries)
            timed.queries[resolution] = bare.queries
            timed.derived.add(resolution)
            continue
        seconds: list[float] = []
        while not seconds or len(seconds) < repeats(times, seconds[0]):
            used = network if trained else Shaped(objects, network, network.n_ctx)
            seconds.append(once(partial(mesh, used, resolution, device), device))
            if isinstance(used, Shaped):
                timed.queries[resolution] = used.queries
        timed.whole[resolution] = statistics.median(seconds)
    return timed


def _turns(
    encode: Callable[[Tensor], Any],
    decode: Callable[[Tensor, Any], Any],
    around: Callable[[], AbstractContextManager[Any]],
    device: str,
) -> Turns:
    """Encode the cloud, then decode a batch of places all over the cube."""
    draws = np.random.default_rng(0)
    queries = draws.uniform(-meshing.SIDE / 2, meshing.SIDE / 2, (1, 3, BATCH)).astype(np.float32)
    points = torch.from_numpy(thing(device)[1].points.T.copy())[None].to(device)
    asked = torch.from_numpy(queries).to(device)
    for _ in range(ENCODINGS):
        with around():
            encoded = encode(points)
        yield "encoder", 1
    for _ in range(DECODINGS):
        with around():
            decode(asked, encoded)
        yield "decoder", 1


def _official(official: Official, checkpoint: str, program: str) -> Turns:
    network = official.network(checkpoint, program)

    def around() -> AbstractContextManager[Any]:
        stack = ExitStack()
        stack.enter_context(official.precision(program))
        stack.enter_context(torch.no_grad())
        return stack

    def decode(queries: Tensor, encoded: Any) -> Tensor:
        answers: Tensor = network(queries, encoded=encoded)
        return answers

    return _turns(network.encode_point_clouds, decode, around, official.device)


def apart(resolution: int) -> float:
    """How far the vertices of the mesh are from those of the whole lattice, infinitely if faces differ."""
    objects, _ = thing("cpu")
    found = mesh(Shaped(objects, None), resolution, "cpu")
    step = meshing.SIDE / (resolution - 1)
    axis = torch.arange(resolution, dtype=torch.float32) * step - meshing.SIDE / 2
    distances = np.empty((resolution,) * 3, np.float32)
    for i, x in enumerate(axis):
        plane = torch.stack(torch.meshgrid(x[None], axis, axis, indexing="ij"), -1).view(1, -1, 3)
        distances[i] = signed_distance(objects, plane)[0].view(resolution, resolution).numpy()
    vertices, triangles = meshing.surface(distances)
    if vertices.shape != found.vertices.shape or not np.array_equal(triangles, found.triangles):
        return float("inf")
    return float(np.abs(vertices - found.vertices).max())


def rows(timed: Timed, name: str, device: str) -> Iterator[Row]:
    """Encoder and decoder, and the mesh at each resolution."""
    for stage, what in (("encoder", "sdf encoder"), ("decoder", f"sdf decoder, {BATCH} queries")):
        medians = {program: statistics.median(laps[stage]) for program, laps in timed.laps.items()}
        if medians:
            own = medians.pop(OURS)
            yield Row("Cloud → mesh", what, name, device, "", own, references=medians)
    for resolution, seconds in timed.whole.items():
        how = ["queries × median + the rest" if resolution in timed.derived else "whole"]
        if resolution in timed.queries:
            how.append(f"{100 * timed.queries[resolution] / resolution**3:.1f} % of the lattice asked for")
        programs = {p: timed.network(p, resolution**3) for p in timed.laps if p != OURS}
        if programs:
            how.append("official: batches × median")
        yield Row(
            "Cloud → mesh",
            f"mesh {resolution}³",
            name,
            device,
            "",
            seconds,
            references=programs,
            how="; ".join(how),
        )
