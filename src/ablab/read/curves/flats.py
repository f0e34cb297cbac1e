"""Flat stretches of a curve: where it stays before it goes on, and where it ends."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablab.read.curves.pieces import Piece
from ablab.read.curves.view import View

_FLAT = 0.04  # a change over the whole stretch that counts as none
_ERRORS = 2.5  # standard errors of the change that do
_NOISE = 0.5  # standard deviations of a single value that do
_SURE = 0.12  # the change's standard error at most
_SHORTEST = 0.04  # of the curve's steps
_FEWEST = 4  # bins
_NEAR = 0.8  # of the bins of a stretch, that are at its level
_LENGTHS = 60  # of stretches up to the curve's end that are looked at
_LEVEL = 0.01  # off the level, or a standard deviation of the noise, and it is left
_SAME = 3.0  # standard errors between the levels of stretches that are one


@dataclass(frozen=True)
class Flat:
    """A flat stretch, by bins.

    Attributes:
        first: Its first bin.
        last: Its last bin.
        level: Its mean.
        deviation: The mean's standard error.
        change: By how much it changes over its length, at most: its error is added.
        error: The standard error of the change.
    """

    first: int
    last: int
    level: float
    deviation: float
    change: float
    error: float


def find_flats(view: View) -> list[Flat]:
    """The flat stretches that are long enough to speak of, in order."""
    merged: list[list[Piece]] = []
    for piece in view.pieces:
        if not _is_flat(view, piece):
            continue
        if merged and _continues(view, merged[-1], piece):
            merged[-1].append(piece)
        else:
            merged.append([piece])
    flats = [_flat(view, pieces[0].first, pieces[-1].last) for pieces in merged]
    least = max(_SHORTEST * view.span, _FEWEST * view.spacing)
    return [flat for flat in flats if view.length(flat.first, flat.last) >= 0.999 * least]


def find_end(view: View) -> Flat | None:
    """The longest stretch up to the curve's end that is flat; None where none is long enough.

    A curve that nears its floor bends, so the straight pieces say little of where it is there.
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
        if near[0] and near.mean() >= _NEAR:  # and is no valley between two heights
            found = flat
    return found


def edges(view: View, flat: Flat, low: int, high: int) -> tuple[int, int]:
    """The first and the last index of values at a flat stretch's level.

    The running mean is followed from outside towards the stretch until it is within 1% of the
    level, or within a standard deviation of the noise where that is more.

    Args:
        view: The curve.
        flat: The stretch.
        low: The bin from which on the stretch may begin.
        high: The bin up to which it may last.
    """
    bins = view.bins
    middle = int((bins.first[flat.first] + bins.last[flat.last]) // 2)
    scatter = view.scatter(flat.first, flat.last)
    limit = max(_LEVEL, scatter)
    window = int(np.clip(np.ceil(9 * view.noise.inflation * (scatter / limit) ** 2), 1, 25))
    smooth = view.smooth(window | 1)
    within = np.abs(smooth - flat.level) <= limit
    start, end = int(bins.first[low]), int(bins.last[high])
    before = within[start : middle + 1]
    after = within[middle : end + 1]
    first = start + _entered(before) if before.any() else middle
    last = end - _entered(after[::-1]) if after.any() else middle
    return first, last


def _entered(within: NDArray[np.bool_]) -> int:
    """The first place from which on most values are within."""
    ahead = 15
    sums = np.concatenate([[0], np.cumsum(within)])
    place = np.arange(len(within))
    share = (sums[np.minimum(place + ahead, len(within))] - sums[place]) / np.minimum(
        ahead, len(within) - place
    )
    good = np.flatnonzero(within & (share >= 0.6))
    return int(good[0]) if len(good) else int(np.argmax(within))


def _is_flat(view: View, piece: Piece) -> bool:
    """Whether a piece changes by next to nothing, or would without the bends at its ends."""
    trim = (piece.last - piece.first + 1) // 8
    return any(_hardly_changes(view, piece.first + less, piece.last - less) for less in {0, trim})


def _hardly_changes(view: View, first: int, last: int) -> bool:
    if first == last:
        return False
    flat = _flat(view, first, last)
    least = max(_FLAT, _ERRORS * flat.error, _NOISE * view.scatter(first, last))
    return flat.change - flat.error <= least and flat.error <= _SURE


def _continues(view: View, pieces: list[Piece], piece: Piece) -> bool:
    """Whether a piece is at the level of those before it, with next to nothing between."""
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
