"""The training set: objects of the starter world with their points, captions and renders, made once."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from ..metrics.pointnet import farthest_points
from .solids import Objects, colors_at, normalised, render, sample_surface
from .world import Label, build_all, caption, draw_labels

SPREAD = 1024  # points in farthest-point order, at the front of each cloud
POINTS = 2048
CHUNK = 60


@dataclass(frozen=True, eq=False)
class Dataset:
    """N labelled objects.

    Attributes
    ----------
    objects
        The solids, centred and scaled.
    points
        (N, POINTS, 6) float16: xyz in [-0.5, 0.5], sRGB in [0, 1]; the first SPREAD in farthest-point order.
    pictures
        (N, views, 64, 64, 3) uint8 renders from random sides.
    labels, captions
        N labels, and of each a few wordings.
    """

    objects: Objects
    points: Tensor
    pictures: Tensor
    labels: list[Label]
    captions: list[list[str]]

    def __len__(self) -> int:
        return len(self.labels)


def make(labels: Sequence[Label], seed: int, views: int, wordings: int) -> Dataset:
    """Objects of the given labels; equal arguments make equal objects."""
    r, generator = Random(seed), torch.Generator().manual_seed(seed)
    objects = normalised(build_all(labels, r), generator)
    points = sample_surface(objects, POINTS, generator)
    first = farthest_points(points, SPREAD, torch.zeros(len(labels), dtype=torch.long))
    rest = torch.randint(POINTS, (len(labels), POINTS - SPREAD), generator=generator)
    order = torch.cat((first, rest), 1)[..., None].expand(-1, -1, 3)
    points = torch.gather(points, 1, order)
    cloud = torch.cat((points, colors_at(objects, points)), -1).half()
    pictures = torch.empty(len(labels), views, 64, 64, 3, dtype=torch.uint8)
    for view in range(views):
        pictures[:, view] = _pictures(objects, generator)
    captions = [[caption(label, r) for _ in range(wordings)] for label in labels]
    return Dataset(objects, cloud, pictures, list(labels), captions)


def _pictures(objects: Objects, generator: torch.Generator) -> Tensor:
    """(B, 64, 64, 3) uint8: from anywhere around, mostly above, on plain and mostly light backgrounds."""
    u = torch.rand(len(objects), 4, generator=generator)
    azimuth, elevation = math.tau * u[:, 0], math.radians(-5) + math.radians(55) * u[:, 1]
    gray = torch.where(u[:, 3:] < 0.7, 0.85 + 0.15 * u[:, 3:] / 0.7, (u[:, 3:] - 0.7) / 0.3)
    background = (gray + 0.06 * torch.rand(len(objects), 3, generator=generator) - 0.03).clamp(0, 1)
    return render(objects, azimuth, elevation, 0.25 + 0.09 * u[:, 2], background)


def _make_chunk(job: tuple[list[Label], int, int, int]) -> Dataset:
    torch.set_num_threads(1)
    return make(*job)


def join(parts: Sequence[Dataset]) -> Dataset:
    """One data set of several."""
    most = max(part.objects.used.shape[1] for part in parts)

    def padded(tensor: Tensor) -> Tensor:
        missing = most - tensor.shape[1]
        return (
            torch.cat((tensor, tensor[:, -1:].expand(-1, missing, *tensor.shape[2:])), 1)
            if missing
            else tensor
        )

    def used(objects: Objects) -> Tensor:
        extra = torch.zeros(len(objects), most - objects.used.shape[1], dtype=torch.bool)
        return torch.cat((objects.used, extra), 1)

    solids = {
        f.name: torch.cat([padded(getattr(part.objects, f.name)) for part in parts])
        for f in fields(Objects)
        if f.name != "used"
    }
    return Dataset(
        Objects(used=torch.cat([used(part.objects) for part in parts]), **solids),
        torch.cat([part.points for part in parts]),
        torch.cat([part.pictures for part in parts]),
        [label for part in parts for label in part.labels],
        [words for part in parts for words in part.captions],
    )


def training_set(config: Mapping[str, Any], folder: Path) -> Dataset:
    """The training set of `config`, made by all cores the first time and kept in `folder`."""
    kept = folder / "data.pt"
    if kept.exists():
        # Written by this function a moment or a day ago, on this machine.
        data: Dataset = torch.load(kept, weights_only=False)
        return data
    training, seed = config["training"], config["seed"]
    labels = draw_labels(training["objects"], Random(seed))
    jobs = [
        (labels[i : i + CHUNK], seed + 1 + i, training["views"], training["captions"])
        for i in range(0, len(labels), CHUNK)
    ]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        data = join(list(pool.map(_make_chunk, jobs)))
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(data, kept.with_suffix(".part"))
    os.replace(kept.with_suffix(".part"), kept)
    return data
