"""The kinds of object of the starter world: each a function from a random generator to solids.

Lengths are relative: objects are scaled to one size afterwards. z is up and the front faces -y.
`height` stretches what makes the kind tall: about 0.75 for "low", 1 and 1.35 for "tall".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from .solids import Solid

Color = tuple[float, float, float]
Vector = tuple[float, float, float]
Kind = Callable[[Random, Color, float], list[Solid]]

WOOD: Color = (0.45, 0.29, 0.16)
CREAM: Color = (0.93, 0.87, 0.74)
DARK: Color = (0.12, 0.12, 0.13)
STEEL: Color = (0.62, 0.64, 0.67)
GLASS: Color = (0.62, 0.80, 0.90)
STRAIGHT: Vector = (0.0, 0.0, 0.0)


def box(
    half: Vector, center: Vector, color: Color, rounding: float = 0.0, rotation: Vector = STRAIGHT
) -> Solid:
    """A box of the given half sizes, its edges rounded within them."""
    a, b, c = (h - rounding for h in half)
    return Solid(True, a, b, c, 0.0, rounding, center, rotation, color)


def frustum(
    bottom: float,
    top: float,
    half_height: float,
    center: Vector,
    color: Color,
    rounding: float = 0.0,
    rotation: Vector = STRAIGHT,
) -> Solid:
    """A cylinder, cone or frustum around z."""
    a, b, height = (max(v - rounding, 0.0) for v in (bottom, top, half_height))
    return Solid(False, 0.0, a, b, height, rounding, center, rotation, color)


def ball(radius: float, center: Vector, color: Color) -> Solid:
    """A sphere."""
    return Solid(False, 0.0, 0.0, 0.0, 0.0, radius, center, STRAIGHT, color)


def tube(radius: float, wall: float, half_height: float, center: Vector, color: Color) -> Solid:
    """An open cylinder with a wall of half thickness `wall`."""
    return Solid(False, radius, 0.0, 0.0, half_height - wall, wall, center, STRAIGHT, color)


def rod(start: Vector, end: Vector, radius: float, color: Color) -> Solid:
    """A round bar with hemispherical ends between two points."""
    dx, dy, dz = (e - s for s, e in zip(start, end, strict=True))
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    center = tuple((s + e) / 2 for s, e in zip(start, end, strict=True))
    turn = (0.0, math.acos(dz / length), math.atan2(dy, dx))
    return Solid(False, 0.0, 0.0, 0.0, length / 2, radius, center, turn, color)  # type: ignore[arg-type]


def _four_legs(
    r: Random, x: float, y: float, top: float, radius: float, splay: float, color: Color
) -> list[Solid]:
    square = r.random() < 0.5
    legs = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            foot, head = (sx * x * splay, sy * y * splay, radius), (sx * x, sy * y, top)
            if square and splay == 1.0:
                legs.append(box((radius, radius, top / 2), (sx * x, sy * y, top / 2), color))
            else:
                legs.append(rod(foot, head, radius, color))
    return legs


def chair(r: Random, color: Color, height: float) -> list[Solid]:
    """A seat on four legs with a solid or slatted back."""
    w, d, t = r.uniform(0.38, 0.48), r.uniform(0.36, 0.46), r.uniform(0.045, 0.075)
    seat, back = r.uniform(0.78, 0.95), r.uniform(0.75, 1.05) * height
    legs = color if r.random() < 0.6 else r.choice((WOOD, DARK))
    radius = r.uniform(0.04, 0.06)
    solids = _four_legs(r, w - radius, d - radius, seat, radius, r.choice((1.0, 1.0, 1.15)), legs)
    solids.append(box((w, d, t), (0, 0, seat), color, 0.02))
    if r.random() < 0.6:
        solids.append(box((w, 0.05, back / 2), (0, d - 0.05, seat + back / 2), color, 0.02))
    else:
        for sx in (-1, 1):
            solids.append(
                rod((sx * (w - 0.05), d - 0.05, seat), (sx * (w - 0.05), d - 0.05, seat + back), 0.05, color)
            )
        for i in range(r.choice((2, 3))):
            solids.append(
                box((w - 0.05, 0.035, 0.09), (0, d - 0.05, seat + back * (0.93 - 0.3 * i)), color, 0.01)
            )
    return solids


def table(r: Random, color: Color, height: float) -> list[Solid]:
    """A rectangular or round top on four legs or on a pedestal."""
    w, d, t = r.uniform(0.7, 1.0), r.uniform(0.5, 0.72), r.uniform(0.045, 0.07)
    top = r.uniform(0.75, 0.95) * height
    legs = color if r.random() < 0.6 else r.choice((WOOD, DARK, STEEL))
    if r.random() < 0.6:
        radius = r.uniform(0.045, 0.07)
        solids = _four_legs(r, w - 0.1, d - 0.1, top, radius, r.choice((1.0, 1.0, 0.85)), legs)
        return [*solids, box((w, d, t), (0, 0, top), color, 0.015)]
    w = r.uniform(0.65, 0.8)
    foot = r.uniform(0.3, 0.42)
    return [
        frustum(w, w, t, (0, 0, top), color, 0.02),
        frustum(0.08, 0.08, top / 2, (0, 0, top / 2), legs),
        frustum(foot, foot * 0.7, 0.05, (0, 0, 0.05), legs),
    ]


def sofa(r: Random, color: Color, height: float) -> list[Solid]:
    """A long padded seat between arms, with a back and cushions."""
    w, d = r.uniform(0.95, 1.25), r.uniform(0.4, 0.5)
    seat, back, arm = r.uniform(0.32, 0.42), r.uniform(0.42, 0.55) * height, r.uniform(0.1, 0.16)
    solids = [
        box((w, d, seat / 2), (0, 0, 0.1 + seat / 2), color, 0.04),
        box((w, 0.13, (seat + back) / 2), (0, d - 0.13, 0.1 + (seat + back) / 2), color, 0.06),
    ]
    for s in (-1, 1):
        high = seat / 2 + r.uniform(0.1, 0.12)
        solids.append(box((arm, d, high), (s * (w - arm), 0, 0.1 + high), color, 0.06))
        solids.append(frustum(0.04, 0.05, 0.06, (s * (w - 0.15), -d + 0.12, 0.05), DARK))
    seats = r.choice((2, 3))
    inner = (w - 2 * arm) / seats
    for i in range(seats):
        x = -(w - 2 * arm) + inner * (2 * i + 1)
        solids.append(box((inner - 0.01, d - 0.13, 0.08), (x, -0.1, 0.1 + seat + 0.05), color, 0.05))
    return solids


def lamp(r: Random, color: Color, height: float) -> list[Solid]:
    """A shade on a thin stem with a flat or bulbous base."""
    h = r.uniform(1.1, 1.4) * height
    shade, taper, tall = r.uniform(0.34, 0.45), r.uniform(0.5, 0.8), r.uniform(0.24, 0.32)
    stem = r.choice((DARK, STEEL, WOOD, color))
    solids = [
        rod((0, 0, 0.05), (0, 0, h), 0.04, stem),
        frustum(shade, shade * taper, tall, (0, 0, h), color, 0.01),
    ]
    if r.random() < 0.6:
        solids.append(frustum(r.uniform(0.24, 0.32), 0.2, 0.05, (0, 0, 0.05), stem, 0.02))
    else:
        solids.append(frustum(0.2, 0.12, 0.26, (0, 0, 0.26), stem, 0.08))
    return solids


def mug(r: Random, color: Color, height: float) -> list[Solid]:
    """A hollow cup with a handle at its right."""
    radius, h = r.uniform(0.4, 0.5), r.uniform(0.46, 0.56) * height
    reach, bar = r.uniform(0.24, 0.32), 0.06
    low, high = 0.5 * h, 1.5 * h
    inside = color if r.random() < 0.6 else CREAM
    return [
        tube(radius, 0.04, h, (0, 0, h), color),
        frustum(radius - 0.02, radius - 0.02, 0.05, (0, 0, 0.05), inside),
        rod((radius, 0, low), (radius + reach, 0, low + 0.06), bar, color),
        rod((radius + reach, 0, low + 0.06), (radius + reach, 0, high - 0.06), bar, color),
        rod((radius + reach, 0, high - 0.06), (radius, 0, high), bar, color),
    ]


def bottle(r: Random, color: Color, height: float) -> list[Solid]:
    """A body with shoulders, a neck and a cap."""
    radius, h = r.uniform(0.26, 0.34), r.uniform(0.5, 0.62) * height
    neck, shoulder = r.uniform(0.09, 0.12), r.uniform(0.1, 0.2)
    top = 2 * h + 2 * shoulder
    cap = r.choice((color, DARK, CREAM, STEEL))
    return [
        frustum(radius, radius, h, (0, 0, h), color, 0.05),
        frustum(radius - 0.02, neck, shoulder, (0, 0, 2 * h + shoulder - 0.03), color),
        frustum(neck, neck, 0.2, (0, 0, top + 0.1), color),
        frustum(neck + 0.02, neck + 0.02, 0.08, (0, 0, top + 0.32), cap, 0.01),
    ]


def car(r: Random, color: Color, height: float) -> list[Solid]:
    """A body and a cabin on four wheels, driving towards -y."""
    w, length, h = r.uniform(0.38, 0.45), r.uniform(0.9, 1.1), r.uniform(0.16, 0.2)
    wheel = r.uniform(0.18, 0.23)
    floor = wheel * 0.9
    cabin, roof = length * r.uniform(0.42, 0.62), r.uniform(0.17, 0.22) * height
    shift = r.uniform(0.0, 0.22) * length
    deck = floor + 2 * h
    solids = [
        box((w, length, h), (0, 0, floor + h), color, 0.07),
        box((w - 0.05, cabin, roof), (0, shift, deck + roof - 0.06), GLASS, 0.07),
        box((w - 0.06, cabin - 0.08, 0.04), (0, shift, deck + 2 * roof - 0.09), color, 0.03),
    ]
    for sx in (-1, 1):
        for sy in (-1, 1):
            at = (sx * (w - 0.04), sy * length * 0.6, wheel)
            solids.append(frustum(wheel, wheel, 0.09, at, DARK, 0.02, (0, math.pi / 2, 0)))
        solids.append(box((0.07, 0.03, 0.04), (sx * (w - 0.12), -length, floor + h + 0.03), CREAM, 0.02))
    return solids


def airplane(r: Random, color: Color, height: float) -> list[Solid]:
    """A round body flying towards -y, with swept wings and a tail."""
    radius, length = r.uniform(0.13, 0.17) * height, r.uniform(0.8, 1.0)
    span, chord, sweep = r.uniform(0.75, 1.0), r.uniform(0.14, 0.2), r.uniform(0.15, 0.45)
    wings = color if r.random() < 0.6 else r.choice((STEEL, CREAM))
    nose, tail, engines = (0.0, -length, 0.0), (0.0, length, 0.05), r.random() < 0.5
    solids = [rod(nose, tail, radius, color)]
    for s in (-1, 1):
        at = (s * span / 2, span / 2 * math.sin(sweep), -0.03)
        solids.append(box((span / 2, chord, 0.035), at, wings, 0.02, (0, 0, s * sweep)))
        at = (s * 0.2, length - 0.02, 0.08)
        solids.append(box((0.22, 0.09, 0.03), at, wings, 0.015, (0, 0, s * sweep)))
        if engines:
            x = s * span * 0.45
            y = span * 0.45 * math.sin(sweep)
            solids.append(rod((x, y - 0.2, -0.12), (x, y + 0.02, -0.12), 0.07, STEEL))
    fin = r.uniform(0.2, 0.27)
    solids.append(box((0.03, 0.11, fin), (0, length - 0.02, radius + fin * 0.7), color, 0.015, (-0.35, 0, 0)))
    return solids


def rocket(r: Random, color: Color, height: float) -> list[Solid]:
    """A standing body with a pointed nose, fins and a nozzle."""
    radius, h = r.uniform(0.2, 0.27), r.uniform(0.5, 0.65) * height
    nose = r.uniform(0.2, 0.32)
    accent = r.choice((color, CREAM, STEEL, DARK))
    base = 0.28
    solids = [
        frustum(radius, radius, h, (0, 0, base + h), color, 0.02),
        frustum(radius, 0.03, nose, (0, 0, base + 2 * h + nose - 0.02), accent, 0.02),
        frustum(radius * 0.85, radius * 0.5, 0.08, (0, 0, base - 0.06), DARK),
        ball(radius * 0.45, (0, -radius * 0.75, base + 1.45 * h), GLASS),
    ]
    fins, reach = r.choice((3, 4)), r.uniform(0.14, 0.2)
    for i in range(fins):
        angle = 2 * math.pi * (i + 0.5) / fins
        out = radius + reach * 0.8
        at = (out * math.cos(angle), out * math.sin(angle), base + 0.02)
        solids.append(box((reach, 0.03, 0.26), at, accent, 0.015, (0, 0.25, angle)))
    return solids


def tree(r: Random, color: Color, height: float) -> list[Solid]:
    """A trunk under a round crown or under stacked cones."""
    trunk, h = r.uniform(0.08, 0.12), r.uniform(0.5, 0.65) * height
    solids = [frustum(trunk * 1.3, trunk, h / 2 + 0.1, (0, 0, h / 2 + 0.1), WOOD)]
    if r.random() < 0.5:
        big = r.uniform(0.38, 0.46)
        solids.append(ball(big, (0, 0, h + big * 0.8), color))
        turn = r.uniform(0, math.tau)
        for i in range(r.choice((3, 4, 5))):
            a = turn + i * 2.4
            part = big * r.uniform(0.55, 0.7)
            at = (0.8 * big * math.cos(a), 0.8 * big * math.sin(a), h + big * r.uniform(0.5, 1.2))
            solids.append(ball(part, at, color))
    else:
        levels, wide = r.choice((2, 3)), r.uniform(0.45, 0.55)
        for i in range(levels):
            size = wide * (1 - 0.22 * i)
            solids.append(frustum(size, 0.02, 0.3, (0, 0, h + 0.25 + 0.34 * i), color, 0.01))
    return solids


def house(r: Random, color: Color, height: float) -> list[Solid]:
    """Walls under a gable roof, with a door, windows and a chimney."""
    w, d = r.uniform(0.5, 0.65), r.uniform(0.5, 0.75)
    wall = max(r.uniform(0.42, 0.5) * height, w * 0.6)
    roof = r.choice(((0.45, 0.16, 0.12), DARK, WOOD, (0.35, 0.37, 0.42)))
    door = r.choice((WOOD, DARK, CREAM))
    gable = w / math.sqrt(2)
    solids = [
        box((w, d, wall), (0, 0, wall), color),
        box((gable, d, gable), (0, 0, 2 * wall), color, 0.0, (0, math.pi / 4, 0)),
        box((w * 0.2, 0.03, wall * 0.5), (0, -d, wall * 0.5), door),
    ]
    for s in (-1, 1):
        at = (s * w * 0.56, 0, 2 * wall + w * 0.5)
        solids.append(box((w * 0.84, d * 1.12, 0.045), at, roof, 0.0, (0, s * math.pi / 4, 0)))
        solids.append(box((w * 0.18, 0.03, wall * 0.25), (s * w * 0.6, -d, wall * 1.15), GLASS))
        solids.append(box((0.03, d * 0.22, wall * 0.25), (s * w, 0, wall * 1.1), GLASS))
    if r.random() < 0.7:
        solids.append(box((0.09, 0.09, 0.24), (w * 0.5, d * 0.4, 2 * wall + w * 0.75), roof))
    return solids


def mushroom(r: Random, color: Color, height: float) -> list[Solid]:
    """A domed cap, sometimes dotted, on a pale stem."""
    stem, h = r.uniform(0.13, 0.2), r.uniform(0.36, 0.48) * height
    cap, dome = r.uniform(0.46, 0.6), r.uniform(0.2, 0.28)
    under = 2 * h
    solids = [
        frustum(stem * 1.25, stem, h + 0.05, (0, 0, h + 0.05), CREAM, 0.03),
        frustum(cap, cap * 0.45, dome, (0, 0, under + dome), color, dome * 0.6),
    ]
    if r.random() < 0.6:
        turn = r.uniform(0, math.tau)
        for i in range(5):
            a = turn + i * math.tau / 5
            at = (cap * 0.68 * math.cos(a), cap * 0.68 * math.sin(a), under + dome * 1.2)
            solids.append(ball(0.075, at, CREAM))
    return solids


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (chair, table, sofa, lamp, mug, bottle, car, airplane, rocket, tree, house, mushroom)
}
