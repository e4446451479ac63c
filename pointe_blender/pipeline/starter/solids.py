"""Objects made of coloured solids whose signed distance is known in closed form.

An object is a union of rounded boxes and rounded solids of revolution. From that one description come,
exactly, signed distances, coloured surface points and shaded renders, all in batches of torch tensors.
Distances follow Quilez, "Distance functions" (2008): exact outside and on the surface; inside, where solids
overlap, a lower bound of the depth. Here, as in Point-E's field, inside is positive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

EXTENT = 0.96  # longest side of a normalised object, well inside the field's cube of side 1.02


@dataclass(frozen=True)
class Solid:
    """One solid in its own frame; lengths are half sizes, `rounding` is added on every side.

    A box has half sizes `a`, `b`, `c`. Otherwise the solid is a trapezoid revolved around its z axis at
    distance `a` from it (0: a cone or cylinder, more: a tube or ring), `b` and `c` its half widths at the
    bottom and at the top, `d` its half height.
    """

    is_box: bool
    a: float
    b: float
    c: float
    d: float
    rounding: float
    center: tuple[float, float, float]
    rotation: tuple[float, float, float]  # angles around x, then y, then z, in radians
    color: tuple[float, float, float]  # sRGB in [0, 1]


@dataclass(frozen=True, eq=False)
class Objects:
    """B objects of up to K solids each.

    Attributes
    ----------
    is_box, used
        (B, K) bool.
    size
        (B, K, 5) float32: a, b, c, d and the rounding of each solid.
    to_local
        (B, K, 3, 3) float32 rotations from the object's frame to the solid's.
    center, color
        (B, K, 3) float32.
    """

    is_box: Tensor
    used: Tensor
    size: Tensor
    to_local: Tensor
    center: Tensor
    color: Tensor

    def __len__(self) -> int:
        return len(self.used)

    def __getitem__(self, rows: slice | Tensor) -> Objects:
        return Objects(*(getattr(self, f.name)[rows] for f in fields(self)))

    def to(self, device: torch.device | str) -> Objects:
        """The same objects on another device."""
        return Objects(*(getattr(self, f.name).to(device) for f in fields(self)))


def _rotations(angles: Tensor) -> Tensor:
    """(N, 3) angles around x, y, z -> (N, 3, 3) matrices Rz Ry Rx."""
    (cx, cy, cz), (sx, sy, sz) = torch.cos(angles).T, torch.sin(angles).T
    rows = (
        cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz,
        cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz,
        -sy, sx * cy, cx * cy,
    )  # fmt: skip
    return torch.stack(rows, -1).view(-1, 3, 3)


def pack(objects: Sequence[Sequence[Solid]]) -> Objects:
    """Lists of solids -> padded tensors."""
    count, most = len(objects), max(map(len, objects))
    is_box = torch.zeros(count, most, dtype=torch.bool)
    used = torch.zeros(count, most, dtype=torch.bool)
    size, center, color, angles = (torch.zeros(count, most, n) for n in (5, 3, 3, 3))
    for row, solids in enumerate(objects):
        n = len(solids)
        used[row, :n] = True
        is_box[row, :n] = torch.tensor([s.is_box for s in solids])
        size[row, :n] = torch.tensor([(s.a, s.b, s.c, s.d, s.rounding) for s in solids])
        center[row, :n] = torch.tensor([s.center for s in solids])
        color[row, :n] = torch.tensor([s.color for s in solids])
        angles[row, :n] = torch.tensor([s.rotation for s in solids])
    to_local = _rotations(angles.view(-1, 3)).view(count, most, 3, 3).transpose(-1, -2)
    return Objects(is_box, used, size, to_local.contiguous(), center, color)


def distances(objects: Objects, points: Tensor) -> Tensor:
    """Distance of each point to each solid, negative inside it.

    Parameters
    ----------
    points
        (B, N, 3).

    Returns
    -------
    Tensor
        (B, N, K); +10 for solids that are not used.
    """
    batch, most = objects.used.shape
    rotate = objects.to_local.reshape(batch, most * 3, 3)
    offset = (objects.to_local @ objects.center[..., None]).reshape(batch, 1, most * 3)
    local = torch.baddbmm(-offset, points, rotate.transpose(1, 2)).view(batch, -1, most, 3)
    x, y, z = local.unbind(-1)
    a, b, c, d, rounding = objects.size[:, None].unbind(-1)

    qx, qy, qz = x.abs() - a, y.abs() - b, z.abs() - c
    outside = (qx.clamp(min=0) ** 2 + qy.clamp(min=0) ** 2 + qz.clamp(min=0) ** 2 + 1e-20).sqrt()
    box = outside + torch.maximum(torch.maximum(qx, qy), qz).clamp(max=0)

    rho = ((x * x + y * y + 1e-20).sqrt() - a).abs()
    cap_x, cap_y = rho - torch.minimum(rho, torch.where(z < 0, b, c)), z.abs() - d
    edge_x, edge_y = c - b, 2 * d
    along = ((c - rho) * edge_x + (d - z) * edge_y) / (edge_x * edge_x + edge_y * edge_y + 1e-12)
    along = along.clamp(0, 1)
    side_x, side_y = rho - c + edge_x * along, z - d + edge_y * along
    nearest = torch.minimum(cap_x * cap_x + cap_y * cap_y, side_x * side_x + side_y * side_y)
    sign = torch.where((side_x < 0) & (cap_y < 0), -1.0, 1.0)
    revolved = sign * (nearest + 1e-20).sqrt()

    distance = torch.where(objects.is_box[:, None], box, revolved) - rounding
    return torch.where(objects.used[:, None], distance, 10.0)


def signed_distance(objects: Objects, points: Tensor) -> Tensor:
    """(B, N, 3) points -> (B, N) signed distances to the objects' surfaces, inside positive."""
    return -distances(objects, points).amin(-1)


def _gradient(objects: Objects, points: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N) distance, negative inside, and its (B, N, 3) gradient: on the surface, the outward normal."""
    with torch.enable_grad():
        points = points.detach().requires_grad_(True)
        distance = distances(objects, points).amin(-1)
        (gradient,) = torch.autograd.grad(distance.sum(), points)
    return distance.detach(), gradient


def colors_at(objects: Objects, points: Tensor) -> Tensor:
    """(B, N, 3) points -> (B, N, 3) colours of the nearest solids."""
    part = distances(objects, points).argmin(-1)
    return torch.gather(objects.color, 1, part[..., None].expand(-1, -1, 3))


def _candidates(objects: Objects, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(B, count, 3) points near the surfaces of single solids, and (B, count) which solids.

    Solids are chosen by the square root of their area, so that handles and legs get their share.
    """
    a, b, c, d, r = objects.size.unbind(-1)
    half = torch.where(
        objects.is_box[..., None],
        torch.stack((a, b, c), -1),
        torch.stack((a + torch.maximum(b, c), a + torch.maximum(b, c), d), -1),
    ) + r[..., None]  # fmt: skip
    area = half[..., 0] * half[..., 1] + half[..., 1] * half[..., 2] + half[..., 2] * half[..., 0]
    part = torch.multinomial(area.sqrt() * objects.used, count, replacement=True, generator=generator)

    def chosen(values: Tensor) -> Tensor:
        index = part.view(*part.shape, *[1] * (values.dim() - 2)).expand(*part.shape, *values.shape[2:])
        return torch.gather(values, 1, index)

    size, rounding = chosen(objects.size), chosen(r)
    u = torch.rand(*part.shape, 3, generator=generator) * 2 - 1
    face = chosen(half)
    weight = torch.stack(
        (face[..., 1] * face[..., 2], face[..., 0] * face[..., 2], face[..., 0] * face[..., 1]), -1
    )
    axis = torch.multinomial(weight.view(-1, 3), 1, generator=generator).view(*part.shape, 1)
    on_face = torch.where(torch.arange(3) == axis, torch.where(u < 0, -1.0, 1.0), u)
    box = on_face * face

    # The same draws wrap around a trapezoid's outline: x picks a point along it, y the angle.
    ring, bottom, top, height = size[..., 0], size[..., 1], size[..., 2], size[..., 3]
    low, high, tall = bottom + rounding, top + rounding, height + rounding
    slant = ((low - high) ** 2 + (2 * tall) ** 2).sqrt()
    mean_ring = torch.where(ring > 0, ring, 0.5 * torch.maximum(low, high))
    shares = torch.stack(
        (slant * torch.maximum(mean_ring, 0.5 * (low + high)), low * mean_ring, high * mean_ring), -1
    )
    place = torch.multinomial(shares.view(-1, 3), 1, generator=generator).view(part.shape)
    t = (u[..., 0] + 1) / 2
    spread = torch.where(ring > 0, u[..., 2], (u[..., 2].abs()).sqrt())
    side = torch.where(u[..., 2] < 0, -1.0, 1.0) * torch.where(ring > 0, 1.0, 0.0) + torch.where(
        ring > 0, 0.0, 1.0
    )
    rho = torch.where(
        place == 0, side * (low + (high - low) * t), torch.where(place == 1, low, high) * spread
    )
    z = torch.where(place == 0, tall * (2 * t - 1), torch.where(place == 1, -tall, tall))
    rho = rho + ring
    angle = math.pi * u[..., 1]
    revolved = torch.stack((rho * torch.cos(angle), rho * torch.sin(angle), z), -1)

    local = torch.where(chosen(objects.is_box)[..., None], box, revolved)
    points = (chosen(objects.to_local).transpose(-1, -2) @ local[..., None])[..., 0] + chosen(objects.center)
    return points, part


def sample_surface(objects: Objects, count: int, generator: torch.Generator) -> Tensor:
    """Points on the outer surface, none hidden inside.

    Returns
    -------
    Tensor
        (B, count, 3) float32, each within 1e-4 of the surface.
    """
    drawn = 3 * count
    points, part = _candidates(objects, drawn, generator)
    distance, normal = _gradient(objects, points)
    others = distances(objects, points).scatter(2, part[..., None], torch.inf)
    hidden = others.amin(-1) < -2e-3
    points = points - distance[..., None] * normal
    distance, normal = _gradient(objects, points)
    points = points - distance[..., None] * normal
    wrong = hidden | (distances(objects, points).amin(-1).abs() > 1e-4)
    order = torch.argsort(wrong.to(torch.int8), dim=1, stable=True)
    kept = (~wrong).sum(1, keepdim=True)
    # Rare objects with fewer than `count` good candidates repeat some of them.
    order = torch.gather(order, 1, torch.arange(count, device=order.device) % kept)
    return torch.gather(points, 1, order[..., None].expand(-1, -1, 3))


def normalised(objects: Objects, generator: torch.Generator) -> Objects:
    """The same objects, centred by their bounding boxes and scaled to a longest side of `EXTENT`."""
    points = sample_surface(objects, 1024, generator)
    low, high = points.amin(1), points.amax(1)
    scale = (EXTENT / (high - low).amax(-1)).view(-1, 1, 1)
    center = (objects.center - ((low + high) / 2)[:, None]) * scale
    return replace(objects, center=center, size=objects.size * scale)


def render(
    objects: Objects, azimuth: Tensor, elevation: Tensor, lens: Tensor, background: Tensor, size: int = 64
) -> Tensor:
    """Sphere-traced pictures from a distance of 2.2, under a light over the camera's shoulder.

    Parameters
    ----------
    azimuth, elevation
        (B,) radians; azimuth 0 looks at the front, which faces -y.
    lens
        (B,) tangents of half the field of view; 0.33 always holds the whole object.
    background
        (B, 3) sRGB in [0, 1].

    Returns
    -------
    Tensor
        (B, size, size, 3) uint8 sRGB.
    """
    batch, device = len(objects), objects.center.device
    cos_e = torch.cos(elevation)
    eye = torch.stack((torch.sin(azimuth) * cos_e, -torch.cos(azimuth) * cos_e, torch.sin(elevation)), -1)
    right = torch.stack((torch.cos(azimuth), torch.sin(azimuth), torch.zeros_like(azimuth)), -1)
    up = torch.cross(eye, right, dim=-1)
    line = (torch.arange(size, device=device) + 0.5) / size * 2 - 1
    v, u = torch.meshgrid(-line, line, indexing="ij")
    rays = -eye[:, None] + lens.view(-1, 1, 1) * (
        u.reshape(1, -1, 1) * right[:, None] + v.reshape(1, -1, 1) * up[:, None]
    )
    rays = rays / rays.norm(dim=-1, keepdim=True)
    points = (2.2 * eye[:, None]).expand_as(rays) + 1.4 * rays
    for _ in range(28):
        points = points + distances(objects, points).amin(-1, keepdim=True).clamp(max=0.5) * rays
    # On the surface itself rounding decides the gradient's sign, so normals are read a little before it.
    distance, normal = _gradient(objects, points - 2e-3 * rays)
    light = torch.nn.functional.normalize(eye + 0.4 * right + 0.7 * up, dim=-1)
    shade = 0.45 + 0.55 * (normal * light[:, None]).sum(-1, keepdim=True).clamp(0, 1)
    picture = torch.where(
        (distance < 6e-3)[..., None], colors_at(objects, points) * shade, background[:, None]
    )
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).view(batch, size, size, 3)
