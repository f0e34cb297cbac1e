"""Segments a curve into straight pieces, optimally, by dynamic programming.

The segmentation minimises the sum of squared residuals plus a penalty for each piece (Jackson et
al., "An algorithm for optimal partitioning of data on an interval", 2005).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """A curve in bins of neighbouring values.

    Attributes:
        first: The index of the first value of each bin, (bins,).
        last: The index of the last value of each bin, (bins,).
        place: The mean time of each bin: its step, or the logarithm of it, (bins,).
        step: The mean step of each bin, (bins,).
        mean: The mean value of each bin, (bins,).
        deviation: The standard error of the mean, (bins,).
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    place: Floats
    step: Floats
    mean: Floats
    deviation: Floats


@dataclass(frozen=True)
class Piece:
    """A straight piece.

    Attributes:
        first: Its first bin.
        last: Its last bin.
        slope: Its slope, per step.
        slope_deviation: The standard error of the slope.
        level: The mean value.
        deviation: The standard error of the mean.
    """

    first: int
    last: int
    slope: float
    slope_deviation: float
    level: float
    deviation: float


def linear_starts(count: int, most: int) -> NDArray[np.int64]:
    """The first index of each of at most ``most`` bins of equally many values."""
    size = max(1, -(-count // most))
    starts = np.arange(0, count, size)
    if len(starts) > 1 and count - starts[-1] < max(1, size // 2):
        starts = starts[:-1]
    return starts


def even_starts(times: Floats, most: int) -> NDArray[np.int64]:
    """The first index of each of at most ``most`` bins of equal length in time."""
    places = np.searchsorted(times, np.linspace(times[0], times[-1], most + 1)[:-1])
    starts: NDArray[np.int64] = np.unique(places)
    return starts


def make_bins(
    steps: Floats,
    times: Floats,
    values: Floats,
    variance: Floats,
    inflation: float,
    starts: NDArray[np.int64],
) -> Bins:
    """Groups values into bins.

    Args:
        steps: The steps, (n,).
        times: The time of each value, (n,): its step, or a function of it.
        values: The values, (n,); values that are not finite are ignored.
        variance: The variance of each value, (n,).
        inflation: The variance of a mean relative to that of independent values.
        starts: The first index of each bin, (bins,).
    """
    known = np.isfinite(values)
    every = np.diff(np.append(starts, len(values)))
    count = np.maximum(np.add.reduceat(known, starts), 1e-9)
    place = np.add.reduceat(times, starts) / every
    step = place if times is steps else np.add.reduceat(steps, starts) / every
    mean = np.add.reduceat(np.where(known, values, 0.0), starts) / count
    spread = np.add.reduceat(np.where(known, variance, 0.0), starts) / count
    full = count >= 1
    if not full.all():  # a bin entirely within a spike is interpolated from its neighbours
        mean = np.interp(place, place[full], mean[full])
        spread = np.interp(place, place[full], spread[full])
    several = np.where(every > 1, inflation, 1.0)
    deviation = np.sqrt(spread * several / np.maximum(count, 0.25))
    last = np.append(starts[1:], len(values)) - 1
    return Bins(starts, last, place, step, mean, deviation)


def cut(bins: Bins, price: float, tolerance: float) -> list[Piece]:
    """The straight pieces of a curve.

    Args:
        bins: The curve.
        price: The penalty for a piece, in squared standard errors.
        tolerance: The deviation from a straight line that is allowed in addition to noise.
    """
    count = len(bins.mean)
    weight = 1 / (bins.deviation**2 + tolerance**2)
    x = bins.place - bins.place[0]
    x = x / max(x[-1], 1.0)
    y = bins.mean - bins.mean.mean()
    costs = _rests(x, y, weight) + price
    best = np.zeros(count + 1)
    best[0] = -price
    before = np.zeros(count + 1, dtype=np.int64)
    for end in range(1, count + 1):
        total = best[:end] + costs[:end, end]
        before[end] = total.argmin()
        best[end] = total[before[end]]
    borders = [count]
    while borders[-1] > 0:
        borders.append(int(before[borders[-1]]))
    borders.reverse()
    return [_piece(bins, a, b - 1) for a, b in pairwise(borders)]


def _rests(x: Floats, y: Floats, weight: Floats) -> Floats:
    """The weighted residual sum of squares of a straight line on each stretch, (n+1, n+1).

    Entry (i, j) is for the bins from i to j - 1. Entries below the diagonal are meaningless.
    """

    def sums(values: Floats) -> Floats:
        total = np.concatenate([[0.0], np.cumsum(values)])
        between: Floats = total[None, :] - total[:, None]
        return between

    w, wx, wy = sums(weight), sums(weight * x), sums(weight * y)
    wxx, wxy, wyy = sums(weight * x * x), sums(weight * x * y), sums(weight * y * y)
    with np.errstate(divide="ignore", invalid="ignore"):
        sxx, sxy, syy = wxx - wx * wx / w, wxy - wx * wy / w, wyy - wy * wy / w
        rest = np.where(sxx > 1e-12, syy - sxy * sxy / sxx, 0.0)
    left: Floats = np.maximum(rest, 0.0)
    return left


def _piece(bins: Bins, first: int, last: int) -> Piece:
    y, x = bins.mean[first : last + 1], bins.place[first : last + 1]
    weight = 1 / bins.deviation[first : last + 1] ** 2
    total = weight.sum()
    middle, level = (weight * x).sum() / total, (weight * y).sum() / total
    spread = (weight * (x - middle) ** 2).sum()
    deviation = float(1 / np.sqrt(total))
    if spread <= 0:
        return Piece(first, last, 0.0, np.inf, float(level), deviation)
    slope = (weight * (x - middle) * (y - level)).sum() / spread
    return Piece(first, last, float(slope), float(1 / np.sqrt(spread)), float(level), deviation)
