"""Flat stretches of a curve: candidates for plateaus and for the floor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablab.read.curves.pieces import Piece
from ablab.read.curves.view import View

# A stretch is flat if its total change is below any of these three limits.
_FLAT = 0.04  # on the reading scale
_ERRORS = 2.5  # in standard errors of the change
_NOISE = 0.5  # in standard deviations of a single value
_SURE = 0.12  # maximum standard error of the change
_SHORTEST = 0.04  # minimum length, as a fraction of the curve's time
_DOUBLING = 0.7  # minimum length in logarithmic time: twice as many steps
_FEWEST = 4  # minimum length in bins
_NEAR = 0.8  # minimum fraction of a stretch's bins that are at its level
_LENGTHS = 60  # number of lengths tried for the stretch at the end of the curve
_LEVEL = 0.01  # a curve leaves a level if it deviates by this much, or by the noise if that is more
_SIGMAS = 2.5  # a single value has left a level if it is this many standard deviations below
_SPARSE = 1.1  # where a window is longer than this ratio of steps, it is too long
_SAME = 3.0  # maximum difference between levels of stretches that are merged, in standard errors


@dataclass(frozen=True)
class Flat:
    """A flat stretch of bins.

    Attributes:
        first: Its first bin.
        last: Its last bin.
        level: Its mean.
        deviation: The standard error of the mean.
        change: Its absolute change over its length, plus the standard error of the change.
        error: The standard error of the change.
    """

    first: int
    last: int
    level: float
    deviation: float
    change: float
    error: float


def find_flats(view: View) -> list[Flat]:
    """The flat stretches of sufficient length, in order."""
    merged: list[list[Piece]] = []
    for piece in view.pieces:
        if not _is_flat(view, piece):
            continue
        if merged and _continues(view, merged[-1], piece):
            merged[-1].append(piece)
        else:
            merged.append([piece])
    flats = [_flat(view, pieces[0].first, pieces[-1].last) for pieces in merged]
    least = _least(view)
    return [flat for flat in flats if view.length(flat.first, flat.last) >= 0.999 * least]


def _least(view: View) -> float:
    """The minimum length of a flat stretch."""
    least = max(_SHORTEST * view.span, _FEWEST * view.spacing)
    return max(least, _DOUBLING) if view.logarithmic else least


def find_end(view: View) -> Flat | None:
    """The longest flat stretch at the end of the curve, or None if none is long enough.

    A curve bends as it approaches its floor, so straight pieces are of little use there.
    """
    count = len(view.bins.mean)
    least = max(_SHORTEST * view.span, _FEWEST * view.spacing)
    found = None
    lengths = np.unique(np.geomspace(_FEWEST, count, _LENGTHS).round().astype(int))
    for first in (count - lengths).tolist():
        length = view.length(first, count - 1)
        if length < least:
            continue
        flat = _flat(view, first, count - 1)
        if flat.error > _SURE:
            continue
        scatter = view.scatter(first, count - 1)
        if flat.change - flat.error > max(_FLAT, _ERRORS * flat.error, _NOISE / 2 * scatter):
            if found is not None and length > 1.5 * view.length(found.first, count - 1):
                break
            continue
        apart = np.abs(view.bins.mean[first:] - flat.level)
        near = apart <= np.maximum(_FLAT, 4 * view.bins.deviation[first:])
        if near[0] and near.mean() >= _NEAR:  # excludes a valley between two higher parts
            found = flat
    return found


def edges(view: View, flat: Flat, low: int, high: int) -> tuple[int, int]:
    """The indices of the first and last value at the level of a flat stretch.

    The running mean is followed from outside towards the stretch until it is within 1% of the
    level, or within one standard deviation of the noise if that is more.

    Args:
        view: The curve.
        flat: The stretch.
        low: The first bin in which the stretch may start.
        high: The last bin in which it may end.
    """
    bins = view.bins
    middle = int((bins.first[flat.first] + bins.last[flat.last]) // 2)
    scatter = view.scatter(flat.first, flat.last)
    limit = max(_LEVEL, scatter)
    window = int(np.clip(np.ceil(9 * view.noise.inflation * (scatter / limit) ** 2), 1, 25))
    smooth = view.smooth(window | 1)
    start, end = int(bins.first[low]), int(bins.last[high])
    late = _late_level(view, flat, middle, scatter)
    after = np.abs(smooth[middle : end + 1] - late) <= limit
    before = np.abs(smooth[start : middle + 1] - flat.level) <= limit
    first = start + _entered(before) if before.any() else middle
    last = end - _entered(after[::-1]) if after.any() else middle
    return first, _refined(view, last, end, late, max(limit, _SIGMAS * scatter), window)


def _late_level(view: View, flat: Flat, middle: int, scatter: float) -> float:
    """The level of a stretch, or the mean of its second half, if that is significantly different.

    A stretch that settles at first has a mean above the level that it leaves.
    """
    late = view.filled[middle : int(view.bins.last[flat.last]) + 1]
    mean = float(late.mean())
    error = scatter * float(np.sqrt(view.noise.inflation / len(late)))
    return mean if abs(mean - flat.level) > _SAME * error else flat.level


def _refined(view: View, last: int, end: int, level: float, limit: float, window: int) -> int:
    """The last of the following values, of at most a window, that are at the level.

    A running mean leaves the level half a window too early.
    """
    beyond = min(last + window, end)
    if view.steps[beyond] <= _SPARSE * view.steps[last]:
        return last
    values = view.filled[last + 1 : beyond + 1]
    away = np.flatnonzero(values < level - limit)
    return last + (int(away[0]) if len(away) else 0)


def _entered(within: NDArray[np.bool_]) -> int:
    """The first index after which most values are within the limit."""
    ahead = 15
    sums = np.concatenate([[0], np.cumsum(within)])
    place = np.arange(len(within))
    share = (sums[np.minimum(place + ahead, len(within))] - sums[place]) / np.minimum(
        ahead, len(within) - place
    )
    good = np.flatnonzero(within & (share >= 0.6))
    return int(good[0]) if len(good) else int(np.argmax(within))


def _is_flat(view: View, piece: Piece) -> bool:
    """Whether a piece hardly changes, possibly after its ends are trimmed."""
    trim = (piece.last - piece.first + 1) // 8
    return any(_hardly_changes(view, piece.first + less, piece.last - less) for less in {0, trim})


def _hardly_changes(view: View, first: int, last: int) -> bool:
    if first == last:
        return False
    flat = _flat(view, first, last)
    least = max(_FLAT, _ERRORS * flat.error, _NOISE * view.scatter(first, last))
    return flat.change - flat.error <= least and flat.error <= _SURE


def _continues(view: View, pieces: list[Piece], piece: Piece) -> bool:
    """Whether a piece follows the previous ones closely, at the same level."""
    gap = piece.first - pieces[-1].last - 1
    if gap > 2:
        return False
    before = _flat(view, pieces[0].first, pieces[-1].last)
    error = float(np.hypot(before.deviation, piece.deviation))
    return abs(before.level - piece.level) <= max(_FLAT, _SAME * error)


def _flat(view: View, first: int, last: int) -> Flat:
    y, x = view.bins.mean[first : last + 1], view.bins.place[first : last + 1]
    weight = 1 / view.bins.deviation[first : last + 1] ** 2
    level = float((weight * y).sum() / weight.sum())
    middle = (weight * x).sum() / weight.sum()
    spread = float((weight * (x - middle) ** 2).sum())
    length = view.length(first, last)
    slope = float((weight * (x - middle) * (y - level)).sum() / spread) if spread else 0.0
    error = length / float(np.sqrt(spread)) if spread else float("inf")
    deviation = float(1 / np.sqrt(weight.sum()))
    return Flat(first, last, level, deviation, abs(slope) * length + error, error)
