"""PointNet++ (Qi et al. 2017, single scale), the classifier behind P-FID and P-IS.

Parameter names are those of the released checkpoint, under its key "model_state_dict".
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def normalised(clouds: Tensor) -> Tensor:
    """Clouds (B, N, 3) centred and scaled to touch the unit sphere."""
    centred = clouds - clouds.mean(dim=1, keepdim=True)
    radii = centred.square().sum(dim=2, keepdim=True).sqrt()
    return centred / radii.amax(dim=1, keepdim=True)


class SetAbstraction(nn.Module):
    """A small network over the neighbourhood of chosen points, or over the whole set.

    Parameters
    ----------
    channels
        Going in (the relative position included), and out of each layer.
    points, radius, neighbours
        How many points to keep, how far each looks and how many it sees; `points=None`
        gathers the whole set into one.
    """

    def __init__(
        self, channels: tuple[int, ...], points: int | None = None, radius: float = 0.0, neighbours: int = 0
    ) -> None:
        super().__init__()
        self.points, self.radius, self.neighbours = points, radius, neighbours
        self.mlp_convs = nn.ModuleList(nn.Conv2d(c_in, c_out, 1) for c_in, c_out in pairwise(channels))
        self.mlp_bns = nn.ModuleList(nn.BatchNorm2d(c) for c in channels[1:])

    def forward(self, xyz: Tensor, features: Tensor | None, starts: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, 3), (B, N, D), (B,) -> (B, S, 3), (B, S, D')."""
        if self.points is None:
            centres, groups = torch.zeros_like(xyz[:, :1]), xyz[:, None]
            joined = features[:, None] if features is not None else None
        else:
            centres = _gather(xyz, farthest_points(xyz, self.points, starts))
            neighbours = ball(xyz, centres, self.radius, self.neighbours)
            groups = _gather(xyz, neighbours) - centres[:, :, None]
            joined = _gather(features, neighbours) if features is not None else None
        h = groups if joined is None else torch.cat([groups, joined], dim=-1)  # (B, S, K, 3 + D)
        h = h.permute(0, 3, 2, 1)
        for convolution, norm in zip(self.mlp_convs, self.mlp_bns, strict=True):
            h = F.relu(norm(convolution(h)))
        return centres, h.amax(dim=2).transpose(1, 2)


class PointNet(nn.Module):
    """PointNet++ as the released metrics use it: positions alone, 40 classes of ModelNet, twice as wide."""

    def __init__(self, classes: int = 40, widening: int = 2) -> None:
        super().__init__()
        w = widening
        self.sa1 = SetAbstraction((3, 64 * w, 64 * w, 128 * w), points=512, radius=0.2, neighbours=32)
        self.sa2 = SetAbstraction(
            (128 * w + 3, 128 * w, 128 * w, 256 * w), points=128, radius=0.4, neighbours=64
        )
        self.sa3 = SetAbstraction((256 * w + 3, 256 * w, 512 * w, 1024 * w))
        self.fc1 = nn.Linear(1024 * w, 512 * w)
        self.bn1 = nn.BatchNorm1d(512 * w)
        self.drop1 = nn.Dropout(0.4)
        self.fc2 = nn.Linear(512 * w, 256 * w)
        self.bn2 = nn.BatchNorm1d(256 * w)
        self.drop2 = nn.Dropout(0.4)
        self.fc3 = nn.Linear(256 * w, classes)

    def forward(self, clouds: Tensor) -> tuple[Tensor, Tensor]:
        """Features and class probabilities.

        In training, farthest-point sampling starts at random points; else sample b of the batch
        starts at its point b, as released, so that figures can be compared.

        Parameters
        ----------
        clouds
            (B, N, 3) float32, N ≥ 512, see `normalised`.

        Returns
        -------
        tuple[Tensor, Tensor]
            (B, 512) features before the last activation; (B, 40) probabilities.
        """
        xyz, h = self.sa1(clouds, None, self._starts(clouds))
        xyz, h = self.sa2(xyz, h, self._starts(xyz))
        _, h = self.sa3(xyz, h, self._starts(xyz))
        h = self.drop1(F.relu(self.bn1(self.fc1(h[:, 0]))))
        features = self.bn2(self.fc2(h))
        logits = self.fc3(self.drop2(F.relu(features)))
        return features, logits.softmax(dim=-1)

    def _starts(self, xyz: Tensor) -> Tensor:
        if self.training:
            return torch.randint(0, xyz.shape[1], (len(xyz),)).to(xyz.device)
        return torch.arange(len(xyz), device=xyz.device)


def farthest_points(xyz: Tensor, count: int, starts: Tensor) -> Tensor:
    """Indices (B, count) of points, each the farthest from those before it; the first is given, (B,)."""
    chosen = [starts]
    nearest = torch.full(xyz.shape[:2], torch.inf, device=xyz.device)
    for _ in range(count - 1):
        latest = _gather(xyz, chosen[-1][:, None])
        nearest = torch.minimum(nearest, (xyz - latest).square().sum(dim=-1))
        chosen.append(nearest.argmax(dim=-1))
    return torch.stack(chosen, dim=1)


def ball(xyz: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    """Indices (B, S, count) of the first points within a radius of each centre, padded with the first."""
    # Expanded like this, and not as a difference, because ties at the radius fall as released.
    squares = -2 * centres @ xyz.transpose(1, 2)
    squares = squares + centres.square().sum(-1)[:, :, None] + xyz.square().sum(-1)[:, None]
    places = torch.arange(xyz.shape[1], dtype=torch.int32, device=xyz.device).expand_as(squares)
    places = places.masked_fill(squares > radius**2, xyz.shape[1])
    indices = places.topk(count, largest=False).values.long()  # these come in order
    return torch.where(indices == xyz.shape[1], indices[:, :, :1], indices)


def _gather(values: Tensor, indices: Tensor) -> Tensor:
    """(B, N, D) at (B, ...) indices: (B, ..., D)."""
    batch = torch.arange(len(values), device=values.device).view(-1, *[1] * (indices.dim() - 1))
    return values[batch, indices]
