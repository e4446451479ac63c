"""Score the starter models: `python build.py train starter --scores`.

Prompts and pictures are new, and the pairs of kind and colour held out of training are among them. Shapes are
told apart by their Chamfer distance to fresh objects of every kind; nothing learned does the judging.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor

from .. import PointCloud, Request, Result, generate
from ..geometry import is_closed
from ..meshing import farthest_points
from ..metrics.sets import chamfer_between
from ..models import STARTER
from . import judge as judge_network
from .data import Dataset, make
from .kinds import KINDS
from .sheet import contact_sheet
from .solids import EXTENT, signed_distance
from .world import COLORS, Label, held_out

COMPARED = 512  # points of a cloud in a Chamfer distance
REFERENCES = 12  # fresh objects of each kind
RESOLUTION = 64  # of the meshes
SEED = 7_000_001  # far from every seed of the training set


def test_labels(per_kind: int, r: Random) -> list[Label]:
    """Of every kind `per_kind` colours, the one held out of training among them."""
    hidden = dict(held_out())
    labels = []
    for kind in KINDS:
        others = r.sample([c for c in COLORS if c != hidden[kind]], per_kind - 1)
        labels += [Label(kind, color) for color in (hidden[kind], *others)]
    return labels


def nearest_kinds(clouds: Tensor, references: Tensor) -> Tensor:
    """Chamfer distance of clouds (B, N, 3) to the nearest reference (K, R, M, 3) of each kind: (B, K)."""
    distances = chamfer_between(clouds, references.flatten(0, 1))
    return distances.view(len(clouds), *references.shape[:2]).amin(2)


def main_color(colors: np.ndarray) -> str:
    """The name that most of the colours (N, 3) are nearest to."""
    palette = np.array(list(COLORS.values()), dtype=np.float32)
    votes = np.argmin(np.linalg.norm(colors[:, None] - palette, axis=-1), axis=1)
    return list(COLORS)[np.bincount(votes, minlength=len(COLORS)).argmax()]


class Judge:
    """Fresh objects of every kind, and the questions asked of a set of clouds."""

    def __init__(self, r: Random) -> None:
        labels = [Label(kind, r.choice(list(COLORS))) for kind in KINDS for _ in range(REFERENCES)]
        points = make(labels, SEED, views=0, wordings=1).points[:, :COMPARED, :3].float()
        self.references = points.view(len(KINDS), REFERENCES, COMPARED, 3)

    def rows(self, labels: Sequence[Label], clouds: Sequence[PointCloud]) -> list[str]:
        """Shares of right kinds and main colours, of all and of held-out pairs, and the Chamfer distance."""
        right_kind, right_color, own = self.answers(labels, clouds)
        hidden = [i for i, label in enumerate(labels) if (label.kind, label.color) in held_out()]
        return [
            _share(right_kind),
            _share(right_color),
            _share([right_kind[i] for i in hidden]),
            _share([right_color[i] for i in hidden]),
            f"{np.mean(own):.4f}",
        ]

    def answers(
        self, labels: Sequence[Label], clouds: Sequence[PointCloud]
    ) -> tuple[list[bool], list[bool], list[float]]:
        """Of each cloud whether its kind and its main colour are right, and how far its own kind is."""
        nearest = nearest_kinds(torch.stack([_spread(cloud) for cloud in clouds]), self.references)
        kinds = list(KINDS)
        right_kind = [kinds[i] == label.kind for i, label in zip(nearest.argmin(1), labels, strict=True)]
        right_color = [main_color(c.colors) == label.color for c, label in zip(clouds, labels, strict=True)]
        own = [float(nearest[i, kinds.index(label.kind)]) for i, label in enumerate(labels)]
        return right_kind, right_color, own


def _spread(cloud: PointCloud) -> Tensor:
    """(COMPARED, 3) of a cloud's points, evenly picked; all of them where there are fewer."""
    return torch.from_numpy(cloud.points[farthest_points(cloud.points, min(COMPARED, len(cloud)))])


def _share(hits: Sequence[bool]) -> str:
    """How many of how many, with the half width of the 95 % interval (Agresti and Coull 1998)."""
    n = len(hits) + 4
    p = (sum(hits) + 2) / n
    margin = 196 * (p * (1 - p) / n) ** 0.5
    return f"{100 * sum(hits) / len(hits):.1f} % ({sum(hits)} of {len(hits)}, ± {margin:.0f})"


def _generate(request: Request) -> Result:
    torch.set_num_threads(1)
    result = [update.result for update in generate(request)][-1]
    assert result is not None
    return result


def _generate_all(requests: Sequence[Request], pool: ProcessPoolExecutor) -> list[Result]:
    return list(pool.map(_generate, requests))


def real_clouds(data: Dataset) -> list[PointCloud]:
    """The objects' own surface points."""
    return [PointCloud(cloud[:, :3].copy(), cloud[:, 3:].copy()) for cloud in data.points.float().numpy()]


def surface_errors(data: Dataset) -> tuple[list[float], list[float]]:
    """Mean distances to the true surface, of meshes made from true clouds and of these clouds.

    In units of an object's longest side.
    """
    meshes: list[float] = []
    clouds: list[float] = []
    for i, cloud in enumerate(real_clouds(data)):
        (mesh,) = _generate(Request(cloud=cloud, resolution=RESOLUTION, device="cpu")).meshes
        for points, errors in ((mesh.vertices, meshes), (cloud.points, clouds)):
            distance = signed_distance(data.objects[i : i + 1], torch.from_numpy(points)[None])
            errors.append(float(distance.abs().mean()) / EXTENT)
    return meshes, clouds


def evaluate(per_kind: int) -> tuple[str, list[tuple[str, Result]]]:
    """The scores as Markdown, and what was made from prompts."""
    r = Random(SEED)
    labels = test_labels(per_kind, r)
    data = make(labels, SEED + 1, views=1, wordings=1)
    prompts = [words[0] for words in data.captions]
    judge = Judge(r)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        spoken = _generate_all(
            [Request(prompt=p, seed=i, resolution=RESOLUTION, device="cpu") for i, p in enumerate(prompts)],
            pool,
        )
        pictures = [
            Request(image=p[0].numpy(), seed=i, output="cloud", device="cpu")
            for i, p in enumerate(data.pictures)
        ]
        seen = _generate_all(pictures, pool)
    closed = [any(is_closed(mesh.triangles) for mesh in result.meshes) for result in spoken]
    mesh_error, cloud_error = surface_errors(make(labels[::per_kind], SEED + 2, views=0, wordings=1))

    names = (
        "nearest in shape to the right kind",
        "main colour right",
        "kind, pairs held out of training",
        "main colour, pairs held out of training",
        "Chamfer distance to the nearest fresh object of its kind",
    )
    columns = (
        judge.rows(labels, [result.clouds[0] for result in spoken]),
        judge.rows(labels, [result.clouds[0] for result in seen]),
        judge.rows(labels, real_clouds(data)),
    )
    table = "\n".join(f"| {name} | {' | '.join(row)} |" for name, *row in zip(names, *columns, strict=True))
    known = judge_network.load("cpu").answers(data.points[:, :COMPARED].float())
    named = [
        kind == label.kind and color == label.color
        for (kind, color), label in zip(known, labels, strict=True)
    ]
    text = f"""# Scores of the starter models

Made by `python build.py train starter --scores`. {len(labels)} prompts and as many renders that training
never saw, {per_kind} colours of each of {len(KINDS)} kinds, one of them held out of training with that kind.
A kind is right when it is the nearest by Chamfer distance (mean nearest-neighbour distance, both ways, of
{COMPARED} points each) among {REFERENCES} fresh objects of every kind; a main colour is the name nearest to
most points. The last column puts real objects of the same labels to the same questions. 95 % intervals after
Agresti and Coull.

| | from a prompt | from a render | real objects |
|---|---|---|---|
{table}

* Closed meshes, at resolution {RESOLUTION}: {_share(closed)}.
* Mean distance to the true surface, in hundredths of an object's longest side, over an object of each
  kind: meshes made from true clouds {100 * np.mean(mesh_error):.2f},
  these clouds themselves {100 * np.mean(cloud_error):.2f}.
* The classifier of P-FID within this world names both kind and main colour of these real objects:
  {_share(named)}.
"""
    return text, list(zip(prompts, spoken, strict=True))


def write_scores(per_kind: int = 6, sheet: Path = Path("docs/starter.png")) -> None:
    """Score the shipped models on `per_kind` prompts of each kind; write SCORES.md and the contact sheet."""
    text, made = evaluate(per_kind)
    (STARTER / "SCORES.md").write_text(text, encoding="utf-8")
    contact_sheet(made, per_kind, sheet)
