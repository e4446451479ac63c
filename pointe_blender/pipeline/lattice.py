"""The values of a field that decide its surface on a lattice, found from coarse to fine.

Marching cubes needs the values at both ends of every lattice edge along which the sign changes, and nothing
but the sign everywhere else. A value v settles the sign around itself: along an axis on which the field
changes by at most k a step, no change of sign lies within |v| / k steps. So the field is evaluated on a
coarse lattice, then again and again half way between its points, wherever what is known leaves the sign open.

How steep the field is along each axis is read off from the values around each place. It is reckoned with
`MARGIN` times that, and nowhere with less than the median over the coarse lattice. Later values may show that
it is steeper; then its surroundings are settled anew. Where a point turns out to lie on the other side than
was supposed, all around it is evaluated; where that happens often, the margin grows everywhere. A field that
is steep all over, as noise is, is so evaluated everywhere.

The surface is that of the whole lattice for every field that along the axes is nowhere steeper than the
median, and for others as far as they are nowhere steeper than `MARGIN` times what the values around show.
What can be missed is a part that lies between evaluated points which show nothing of it: a field that is flat
but for sudden steps may have such, a distance has not.
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import chain, product
from typing import NamedTuple

import numpy as np

COARSEST = 8  # steps at most between the points that are evaluated first
COARSE_CELLS = 8  # along each axis at least, so that there is something to learn from
MARGIN = 1.5  # times the slope that is seen around a place
FAILURES = 1e-3  # of the points evaluated lie on the side where they were not supposed: the margin grows

AXES = range(3)
# The points half way between those of a coarser lattice: on its edges, in its faces, in its cells.
HALVES = tuple([half for half in product((0, 1), repeat=3) if sum(half) == odd] for odd in (1, 2, 3))
SHARES = (1 / 3, 1 / 2, 1 / 6)  # of these in what is evaluated, as observed
GROWTH = 4  # of that from one halving to the next, as the area in steps

Answered = Generator["Wanted", np.ndarray, None]


class Wanted(NamedTuple):
    """Lattice points (M, 3) whose values are to be sent next, and about how many will follow."""

    points: np.ndarray
    later: int


class _Cells(NamedTuple):
    """The cells of one stride: slopes (3, n, n, n) reckoned with, and where (n, n, n) signs are left open."""

    limit: np.ndarray
    open: np.ndarray


def coarse_to_fine(resolution: int) -> Generator[Wanted, np.ndarray, np.ndarray]:
    """Ask for values of a field on a lattice until its surface is settled; return the field.

    Parameters
    ----------
    resolution
        Lattice points along each side.

    Yields
    ------
    Wanted
        Points that were not asked for before; their (M,) finite values are to be sent.

    Returns
    -------
    (R, R, R) float32: the values that were sent, elsewhere some of the right sign.
    """
    return (yield from _Search(resolution).run())


class _Search:
    """What is known of a field.

    Attributes
    ----------
    field
        (S, S, S) float32: the values, and where they are not known yet what they exceed in size, or 0. The
        lattice is continued to a whole number of coarse cells; nothing is known outside, so there it is 0.
    known
        (S, S, S): where nothing is to be asked.
    slopes
        For each stride the steepest changes a step along each axis (3, n, n, n) seen in the cell above each
        point over that distance or a shorter one.
    cells
        For each stride, as they were when they were settled last.
    """

    def __init__(self, resolution: int) -> None:
        self.resolution, self.coarsest = resolution, COARSEST
        while self.coarsest > 1 and COARSE_CELLS * self.coarsest >= resolution:
            self.coarsest //= 2
        self.strides = [self.coarsest >> i for i in range(self.coarsest.bit_length() - 1)]
        side = -(-(resolution - 1) // self.coarsest) * self.coarsest + 1
        self.jumps = np.array([side**2, side, 1])  # from a point to the next along each axis
        self.field = np.zeros((side, side, side), dtype=np.float32)
        self.known = np.ones(self.field.shape, dtype=bool)
        self.known[:resolution, :resolution, :resolution] = False
        self.values_in_line, self.known_in_line = self.field.reshape(-1), self.known.reshape(-1)
        self.slopes = {s: np.zeros((3, *[side // s + 1] * 3), dtype=np.float32) for s in self.strides}
        self.cells: dict[int, _Cells] = {}
        self.margin, self.median = MARGIN, np.float32(0)
        self.asked = self.failed = self.later = 0

    def run(self) -> Generator[Wanted, np.ndarray, np.ndarray]:
        """All of it; see `coarse_to_fine`."""
        first = np.argwhere(~_every(self.known, self.coarsest)) * self.coarsest
        self.later = len(first) * sum(GROWTH**i for i in range(len(self.strides)))
        yield from self._ask(first @ self.jumps, self.coarsest)
        self.median = self._median_slope()
        before = 0
        while self.asked > before:
            before = self.asked
            yield from self._settle()
            if self.failed > FAILURES * self.asked:
                self.margin, self.failed = 2 * self.margin, 0
        return np.ascontiguousarray(self.field[(slice(self.resolution),) * 3])

    def _median_slope(self) -> np.float32:
        """Of the coarse lattice: the length of the steepest slopes along the three axes at each point."""
        values = self.field[(slice(None, self.resolution, self.coarsest),) * 3]
        squares = np.zeros_like(values)
        for axis in AXES:
            low, high = _low(axis), _high(axis)
            slopes = np.abs(values[high] - values[low]) / self.coarsest
            steepest = np.zeros_like(values)
            steepest[low] = slopes
            np.maximum(steepest[high], slopes, out=steepest[high])
            squares += steepest**2
        return np.float32(np.median(np.sqrt(squares)))

    def _settle(self) -> Answered:
        """Go once through all halvings, with the slopes that are known by now."""
        before = self.asked
        for stride in reversed(self.strides[:-1]):
            self._teach(stride)
        coarser: _Cells | None = None
        for stride in self.strides:
            last = self.cells.get(stride)
            if last is None:
                self._spread(stride)
            limit = self._limit(stride, coarser)
            cells = coarser = self.cells[stride] = _Cells(limit, self._open(stride, limit, coarser))
            anew = cells.open
            if last is not None:
                anew = anew & ~(last.open & (limit <= last.limit).all(axis=0))
            if anew.any():
                affected = _around(anew, np.logical_or) & _with_upper(cells.open)
                yield from self._halve(stride, limit, affected)
            if self.asked > before:
                yield from self._follow(stride // 2)

    def _teach(self, stride: int) -> None:
        """Let the cells of a stride know of the slopes seen in the eight that they consist of."""
        for child in product((0, 1), repeat=3):
            seen = self.slopes[stride // 2][(slice(None), *(slice(start, None, 2) for start in child))]
            known = self.slopes[stride][(slice(None), *map(slice, seen.shape[1:]))]
            np.maximum(known, seen, out=known)

    def _spread(self, stride: int) -> None:
        """Give the points half way the sign of their lower neighbours, as cells that are settled stay."""
        coarse, fine = _every(self.field, stride), _every(self.field, stride // 2)
        unknown = ~_every(self.known, stride // 2)
        for half in chain.from_iterable(HALVES):
            part = tuple(slice(start, None, 2) for start in half)
            np.copyto(fine[part], coarse[tuple(map(slice, fine[part].shape))], where=unknown[part])

    def _limit(self, stride: int, coarser: _Cells | None) -> np.ndarray:
        """The slopes (3, n, n, n) to reckon with in each cell."""
        limit: np.ndarray = np.stack([_around(slopes, np.maximum) for slopes in self.slopes[stride]])
        limit *= np.float32(self.margin)
        if coarser is not None:  # where nothing was seen so near
            inherited = _halved(coarser.limit)[(slice(None), *map(slice, limit.shape[1:]))]
            np.copyto(limit, inherited, where=limit == 0)
        np.maximum(limit, self.median * np.float32(self.margin / MARGIN), out=limit)
        return limit

    def _open(self, stride: int, limit: np.ndarray, coarser: _Cells | None) -> np.ndarray:
        """The cells (n, n, n) in which the values at the corners leave a sign open."""
        lowest = highest = _every(self.field, stride)
        for axis in AXES:
            low, high = _low(axis), _high(axis)
            lowest = np.minimum(lowest[low], lowest[high])
            highest = np.maximum(highest[low], highest[high])
        least, most = np.maximum(lowest, -highest), np.maximum(highest, -lowest)  # in size, if of one sign
        inside = tuple(map(slice, least.shape))
        across = limit[(slice(None), *inside)].sum(axis=0) * stride
        cells = np.zeros(limit.shape[1:], dtype=bool)
        cells[inside] = (least <= 0) | ((least <= across / 2) & (most <= across))
        if coarser is not None:
            cells &= _halved(coarser.open)[tuple(map(slice, cells.shape))]
        return cells

    def _halve(self, stride: int, limit: np.ndarray, cells: np.ndarray) -> Answered:
        """Settle the points half way from the lowest corner of each of these cells, or ask for them."""
        step = stride // 2
        corners = np.argwhere(cells)
        changes = limit[(slice(None), *corners.T)] * step
        finer = sum(GROWTH**i for i in range(1, len(self.strides) - len(self.cells) + 1))
        for i, halves in enumerate(HALVES):
            unsettled = []
            for half in halves:
                upper = (corners[:, np.flatnonzero(half)] == len(cells) - 1).any(axis=1)
                at = (corners * stride + np.array(half) * step) @ self.jumps
                new = np.flatnonzero(~upper)
                new = new[~self.known_in_line[at[new]]]
                at = at[new]
                least, most = (np.full(len(at), infinity, np.float32) for infinity in (-np.inf, np.inf))
                for axis in np.flatnonzero(half):
                    beside = step * self.jumps[axis]
                    one, other = self.values_in_line[at - beside], self.values_in_line[at + beside]
                    np.maximum(least, np.maximum(one, other) - changes[axis, new], out=least)
                    np.minimum(most, np.minimum(one, other) + changes[axis, new], out=most)
                settled = (least > 0) != (most < 0)
                self.values_in_line[at] = np.where(settled, np.where(least > 0, least, most), 0)
                unsettled.append(at[~settled])
            wanted = np.concatenate(unsettled)
            self.later = round(len(wanted) / SHARES[i] * (sum(SHARES[i + 1 :]) + finer))
            yield from self._ask(wanted, step)

    def _follow(self, step: int) -> Answered:
        """Ask for every point that has a neighbour on the other side."""
        field, known = _every(self.field, step), _every(self.known, step)
        while True:
            positive, cut = field > 0, np.zeros(field.shape, dtype=bool)
            for axis in AXES:
                low, high = _low(axis), _high(axis)
                differs = positive[low] != positive[high]
                cut[low] |= differs
                cut[high] |= differs
            wanted = np.argwhere(cut & ~known) * step
            if not len(wanted):
                return
            yield from self._ask(wanted @ self.jumps, step)

    def _ask(self, at: np.ndarray, step: int) -> Answered:
        """Have points evaluated, given by their places in line, and learn from their values."""
        if not len(at):
            return
        points = np.stack(np.unravel_index(at, self.field.shape), axis=1)
        supposed = self.values_in_line[at]
        values = yield Wanted(points, self.later)
        self.values_in_line[at], self.known_in_line[at] = values, True
        self.asked += len(at)
        if self.strides:
            self._learn(points, at, step)
            wrong = (supposed != 0) & ((supposed > 0) != (values > 0))
            self.failed += np.count_nonzero(wrong)
            stride = min(2 * step, self.coarsest)
            self.slopes[stride][(slice(None), *(points[wrong] // stride).T)] = np.inf

    def _learn(self, points: np.ndarray, at: np.ndarray, step: int) -> None:
        """Keep the slopes between points that were evaluated and their neighbours."""
        stride = max(step, 2)
        for axis, side in product(AXES, (-step, step)):
            beside = points[:, axis] + side
            pairs = np.flatnonzero((beside >= 0) & (beside < self.resolution))
            pairs = pairs[self.known_in_line[at[pairs] + side * self.jumps[axis]]]
            one, other = at[pairs], at[pairs] + side * self.jumps[axis]
            cells = points[pairs]
            cells[:, axis] += min(side, 0)
            slopes = np.abs(self.values_in_line[one] - self.values_in_line[other]) / step
            np.maximum.at(self.slopes[stride][axis], tuple((cells // stride).T), slopes)


def _every(values: np.ndarray, stride: int) -> np.ndarray:
    """What of an array over the lattice belongs to the points of a stride."""
    return values[::stride, ::stride, ::stride]


def _low(axis: int) -> tuple[slice, ...]:
    """All but the last along an axis."""
    return (*[slice(None)] * axis, slice(None, -1))


def _high(axis: int) -> tuple[slice, ...]:
    """All but the first along an axis."""
    return (*[slice(None)] * axis, slice(1, None))


def _around(values: np.ndarray, most: np.ufunc) -> np.ndarray:
    """The most of each cell and the 26 around it."""
    for axis in AXES:
        low, high = _low(axis), _high(axis)
        wider = values.copy()
        most(wider[low], values[high], out=wider[low])
        most(wider[high], values[low], out=wider[high])
        values = wider
    return values


def _with_upper(cells: np.ndarray) -> np.ndarray:
    """Cells and those above them along the axes, which have the points on their upper sides."""
    for axis in AXES:
        wider = cells.copy()
        wider[_high(axis)] |= cells[_low(axis)]
        cells = wider
    return cells


def _halved(cells: np.ndarray) -> np.ndarray:
    """Every value twice along each of the last three axes."""
    for axis in (-3, -2, -1):
        cells = cells.repeat(2, axis=axis)
    return cells
