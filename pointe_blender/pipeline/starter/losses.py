"""What each starter network learns from: one loss a network, each a function of the training's progress.

CLIP: Radford et al. 2021. Base and upsampler: Karras et al. 2022 (EDM), through the denoiser that samples.
Distance: L1 on exact distances. Judge: cross-entropy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import conditioning
from ..point_e.diffusion import EDM, scale_channels
from .data import SPREAD, Dataset
from .kinds import KINDS
from .solids import signed_distance
from .world import COLORS

Loss = Callable[[float], Tensor]
"""Progress of the training, 0 to 1, -> mean loss of a fresh batch."""

CUBE = 0.51  # half side of the field's cube


def clip_loss(
    network: nn.Module, data: Dataset, tokens: Tensor, settings: Mapping[str, Any], device: str
) -> Loss:
    """Contrast pictures and captions; no two objects of a batch share both kind and colour."""
    pairs: dict[tuple[str, str], list[int]] = {}
    for i, label in enumerate(data.labels):
        pairs.setdefault((label.kind, label.color), []).append(i)
    groups = list(pairs.values())
    batch = min(settings["batch"], len(groups))

    def loss(progress: float) -> Tensor:
        chosen = [groups[i] for i in torch.randperm(len(groups))[:batch].tolist()]
        rows = torch.tensor([group[int(torch.randint(len(group), ()))] for group in chosen])
        view = torch.randint(data.pictures.shape[1], (batch,))
        wording = torch.randint(tokens.shape[1], (batch,))
        pixels = data.pictures[rows, view].to(device).permute(0, 3, 1, 2) / 255.0
        if torch.rand(()) < 0.5:
            pixels = pixels.flip(-1)
        images, texts, scale = network(conditioning.normalise(pixels), tokens[rows, wording].to(device))
        logits = scale * images.float() @ texts.float().T
        same = torch.arange(batch, device=device)
        return (functional.cross_entropy(logits, same) + functional.cross_entropy(logits.T, same)) / 2

    return loss


def _raw(cloud: Tensor, device: str) -> Tensor:
    """Stored points (B, N, 6) in the channels that stages pass on, (B, 6, N): rgb in [0, 255]."""
    scale = torch.tensor([1.0] * 3 + [255.0] * 3, device=device)
    return (cloud.float().to(device) * scale).transpose(1, 2)


def _sigma(batch: int, log_sigma: tuple[float, float], device: str) -> Tensor:
    """Log-normal noise levels, one from each of `batch` equal shares of the distribution."""
    u = (torch.arange(batch) + torch.rand(batch)) / batch
    normal = math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-0.999999, 0.999999))
    return (log_sigma[0] + log_sigma[1] * normal).exp().to(device)


def base_loss(
    network: nn.Module,
    data: Dataset,
    vectors: tuple[Tensor, Tensor],
    edm: EDM,
    settings: Mapping[str, Any],
    device: str,
) -> Loss:
    """Denoise clouds under the vector of a caption or of a picture, evenly; more points at the end."""
    texts, images = vectors

    def loss(progress: float) -> Tensor:
        late = progress > 0.75
        batch = settings["batch"] // 2 if late else settings["batch"]
        rows = torch.randint(len(data), (batch,))
        columns = torch.rand(batch, SPREAD).argsort(1)[:, : settings["last_points" if late else "points"]]
        clean = scale_channels(_raw(data.points[rows[:, None], columns], device))
        text = texts[rows, torch.randint(texts.shape[1], (batch,))]
        image = images[rows, torch.randint(images.shape[1], (batch,))]
        vector = torch.where(torch.rand(batch, 1) < 0.5, text, image).to(device)
        sigma = _sigma(batch, settings["log_sigma"], device)
        return edm.loss(network, clean, sigma, torch.randn_like(clean), embeddings=vector).mean()

    return loss


def upsample_loss(
    network: nn.Module, data: Dataset, edm: EDM, settings: Mapping[str, Any], device: str
) -> Loss:
    """Denoise further points of a surface beside a coarse cloud that is a little noisy itself."""

    def loss(progress: float) -> Tensor:
        batch = settings["batch"]
        rows = torch.randint(len(data), (batch,))
        coarse = _raw(data.points[rows, : settings["coarse"]], device)
        blur = torch.tensor([0.008] * 3 + [0.03 * 255] * 3, device=device)[:, None]
        coarse = coarse + torch.rand(batch, 1, 1, device=device) * blur * torch.randn_like(coarse)
        columns = torch.rand(batch, data.points.shape[1]).argsort(1)[:, : settings["points"]]
        clean = scale_channels(_raw(data.points[rows[:, None], columns], device))
        sigma = _sigma(batch, settings["log_sigma"], device)
        return edm.loss(network, clean, sigma, torch.randn_like(clean), low_res=coarse).mean()

    return loss


def sdf_loss(network: nn.Module, data: Dataset, settings: Mapping[str, Any], device: str) -> Loss:
    """Signed distances near the surface and anywhere in the cube, from noisy points, a few of them astray.

    Sampled clouds are like that, and every stray point that is believed becomes a crumb beside the mesh.
    """
    objects = data.objects.to(device)

    def loss(progress: float) -> Tensor:
        batch, queries = settings["batch"], settings["queries"]
        late = progress > 0.7
        rows = torch.randint(len(data), (batch,))
        columns = torch.rand(batch, SPREAD).argsort(1)[:, : settings["last_points" if late else "points"]]
        points = data.points[rows[:, None], columns, :3].float().to(device)
        noise = settings["point_noise"] * torch.rand(batch, 1, 1, device=device)
        stray = torch.rand(*columns.shape, 1, device=device) < settings["stray"]
        points = points + torch.where(stray, settings["stray_noise"], noise) * torch.randn_like(points)

        near = data.points[rows[:, None], torch.randint(SPREAD, (batch, queries * 3 // 4)), :3].float()
        near = near.to(device) + settings["reach"] * torch.randn_like(near)
        anywhere = CUBE * (2 * torch.rand(batch, queries - near.shape[1], 3, device=device) - 1)
        places = torch.cat((near, anywhere), 1)
        target = signed_distance(objects[rows.to(device)], places)
        apart: Tensor = network(places.transpose(1, 2), points.transpose(1, 2)) - target
        return 20 * apart.abs().mean()

    return loss


def judge_loss(network: nn.Module, data: Dataset, settings: Mapping[str, Any], device: str) -> Loss:
    """Tell kind and colour of a cloud that is a little off its surface and its colours."""
    kinds = torch.tensor([list(KINDS).index(label.kind) for label in data.labels])
    colors = torch.tensor([list(COLORS).index(label.color) for label in data.labels])

    def loss(progress: float) -> Tensor:
        rows = torch.randint(len(data), (settings["batch"],))
        columns = torch.rand(len(rows), SPREAD).argsort(1)[:, : settings["points"]]
        clouds = data.points[rows[:, None], columns].float().to(device)
        off = torch.tensor([settings["point_noise"]] * 3 + [settings["color_noise"]] * 3, device=device)
        clouds = clouds + torch.rand(len(rows), 1, 1, device=device) * off * torch.randn_like(clouds)
        _, kind, color = network(clouds)
        wrong_kind = functional.cross_entropy(kind.float(), kinds[rows].to(device))
        return wrong_kind + functional.cross_entropy(color.float(), colors[rows].to(device))

    return loss
