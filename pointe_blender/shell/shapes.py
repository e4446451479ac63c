"""Objects as clouds in one frame, and what is computed of each once: features, distances to others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..pipeline import Mesh, PointCloud
from ..pipeline.files import Thing
from ..pipeline.sets import Doing
from . import collection
from .clouds import FILL, on_surface
from .collection import Sample
from .console import watch
from .kept import Kept, Values

if TYPE_CHECKING:
    from torch import Tensor

    from ..pipeline.metrics.classifiers import Classifier

SEEN = 4096  # points of each cloud that classifiers see
COMPARED = 1024  # points of each cloud that distances are taken between
SHOWN = 64  # clouds that a classifier is shown at once, as the official evaluator does


@dataclass(frozen=True, eq=False)
class Shape:
    """An object's points.

    Attributes
    ----------
    digest
        Of what they come from.
    read
        Brings all of them, see `framed`.
    """

    digest: str
    read: Callable[[], PointCloud]

    def points(self, count: int) -> np.ndarray:
        """(count, 6) float32, xyz and rgb: a draw, the same each time; repeated where there are too few."""
        cloud = self.read()
        order = np.arange(len(cloud))
        if len(order) > count:
            order = np.sort(np.random.default_rng(0).choice(order, count, replace=False))
        order = np.resize(order, count)
        return np.concatenate([cloud.points[order], cloud.colors[order]], axis=1)


def shape_of(sample: Sample) -> Shape:
    """A sample's cloud, or points on its mesh where it has none."""
    file = sample.cloud or sample.mesh
    assert file is not None
    return Shape(file.digest, lambda: framed(collection.load(file.path)))


def digest_of(cloud: PointCloud) -> str:
    """Tells clouds apart that are in no file."""
    return hashlib.sha256(cloud.points.tobytes() + cloud.colors.tobytes()).hexdigest()


def framed(thing: Thing) -> PointCloud:
    """An object's points, of a mesh points on its surface; they are not turned.

    The middle of their bounding box comes to 0, and its longest side gets the length 1.
    """
    cloud = on_surface(thing) if isinstance(thing, Mesh) else thing
    low, high = cloud.points.min(axis=0).astype(float), cloud.points.max(axis=0).astype(float)
    points = (cloud.points - (low + high) / 2) / (high - low).max()
    return PointCloud(points.astype(np.float32), cloud.colors)


def between(rows: Sequence[Shape], columns: Sequence[Shape], kept: Kept, device: str) -> Tensor:
    """Chamfer distances (R, C) float64 of all rows to all columns, in longest sides."""
    return _distances(rows, columns, kept, device, lambda _: 0)


def within(shapes: Sequence[Shape], kept: Kept, device: str) -> Tensor:
    """Chamfer distances (N, N) float64 of all shapes to each other."""
    upper = _distances(shapes, shapes, kept, device, lambda row: row + 1)
    return upper + upper.T


def _distances(
    rows: Sequence[Shape], columns: Sequence[Shape], kept: Kept, device: str, first: Callable[[int], int]
) -> Tensor:
    """Of every row i to the columns from `first(i)` on, 0 elsewhere; kept row by row."""
    import torch

    from ..pipeline.metrics.sets import chamfer_between

    table = torch.zeros(len(rows), len(columns), dtype=torch.float64)
    digests = [column.digest for column in columns]
    targets: list[Tensor] = []  # read once one of them is needed

    def row_of(i: int) -> Values:
        if not targets:
            targets.append(torch.stack([_places(column, device) for column in columns]))
        row = chamfer_between(_places(rows[i], device)[None], targets[0][first(i) :])[0]
        return {"distances": row.cpu().double().numpy()}

    def fill() -> Iterator[Doing]:
        for i, row in enumerate(rows):
            others = hashlib.sha256("".join(digests[first(i) :]).encode()).hexdigest()
            if first(i) < len(columns):
                key = ("chamfer", COMPARED, row.digest, others)
                values = kept.made(key, partial(row_of, i))
                table[i, first(i) :] = torch.from_numpy(values["distances"])
            yield Doing("comparing clouds", (i + 1) / len(rows), f"{i + 1}/{len(rows)}")

    watch(fill())
    return table


def _places(shape: Shape, device: str) -> Tensor:
    import torch

    return torch.from_numpy(shape.points(COMPARED)[:, :3]).to(device)


def features(
    shapes: Sequence[Shape], name: str, network: Callable[[], Classifier], kept: Kept
) -> tuple[np.ndarray, np.ndarray]:
    """What a classifier sees.

    Shapes are shown in batches that depend on nothing but their order: what the released one sees depends,
    slightly, on the place in a batch.

    Parameters
    ----------
    name
        Of the classifier.
    network
        Brings it, where something is not kept.

    Returns
    -------
    (N, F) features and (N, K) probabilities.
    """
    keys = [("features", name, SEEN, rank % SHOWN, shape.digest) for rank, shape in enumerate(shapes)]
    found = [kept.get(key) for key in keys]
    batches = [range(start, min(start + SHOWN, len(shapes))) for start in range(0, len(shapes), SHOWN)]
    missing = [batch for batch in batches if any(found[i] is None for i in batch)]

    def fill() -> Iterator[Doing]:
        import torch

        classifier = network()
        for done, batch in enumerate(missing, 1):
            clouds = torch.from_numpy(np.stack([shapes[i].points(SEEN) for i in batch]))
            clouds[..., :3] *= FILL  # as large as the models make them
            for i, *seen in zip(batch, *classifier.features(clouds), strict=True):
                own, chances = (values.float().cpu().numpy() for values in seen)
                found[i] = {"features": own, "probabilities": chances}
                kept.put(keys[i], {"features": own, "probabilities": chances})
            yield Doing("looking at clouds", done / len(missing), f"{batch.stop}/{len(shapes)}")

    if missing:
        watch(fill())
    values = [each for each in found if each is not None]
    return np.stack([v["features"] for v in values]), np.stack([v["probabilities"] for v in values])
