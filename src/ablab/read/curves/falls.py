"""Falls: how they go, and where they become slower."""

from dataclasses import dataclass

import numpy as np

from ablab.read.curves.pieces import Piece
from ablab.read.curves.scale import Floats
from ablab.read.curves.view import View

_LESS_STEEP = 3.3  # times
_BEND = 3  # bins, that a bend takes at most
_REACH = 0.35  # of the step, over which slopes are compared
_SUDDEN = 0.5  # of the change (in the slope's logarithm) that may lie within either side
_LEAST_FALL = 0.1  # on the scale read, of either side
_LEAST_LENGTH = 0.06  # of the curve's steps, of the slower side


@dataclass(frozen=True)
class Slower:
    """A place where a fall becomes slower: the bin, the factor, and how sure the factor is."""

    bin: int
    factor: float
    score: float


def form_of_fall(view: View, first: int, last: int) -> tuple[str, float]:
    """Whether values first to last fall exponentially or by a power law, and how fast.

    A straight line of the values against the steps and one against the steps' logarithm are
    compared; the values are read in their logarithm.

    Returns:
        The form, and of an exponential the steps in which the curve halves, of a power law its
        exponent (negative).
    """
    y = view.filled[first : last + 1]
    x = view.steps[first : last + 1]
    if len(y) < 3 or x[-1] <= x[0]:
        return "exponential", float("nan")
    straight, rest = _line(x, y)
    curved, other = _line(np.log(np.maximum(x, 1.0)), y)
    if rest <= other:
        return "exponential", float(-np.log(2) / straight) if straight else float("inf")
    return "power law", curved


def find_slowdowns(view: View, blocked: list[tuple[int, int]]) -> list[Slower]:
    """Where a fall goes on at less than a third of its slope, all at once.

    At each border of two straight pieces the slopes on both sides are compared, over the same
    length and at most a third of the step itself, within which a power law hardly bends. A curve
    that bends smoothly bends on either side too: where the halves of a side differ by much of the
    change, it is no sudden one.

    Args:
        view: The curve.
        blocked: Bins (first, last) at which no slowdown is looked for: flat stretches and rises.
    """
    found = []
    bins = view.bins
    for number, before in enumerate(view.pieces[:-1]):
        place = view.pieces[number + 1].first
        after = _after_bend(view, number + 1)
        if any(first <= place <= last + 1 for first, last in blocked):
            continue
        if not _goes_on(view, after):
            continue
        reach = min(
            view.length(before.first, before.last),
            view.length(after.first, after.last),
            _REACH * float(bins.place[place]),
        )
        size = int(reach / view.spacing)
        if size < 3:
            continue
        left, left_error = _slope(view, place - size, place - 1)
        right, right_error = _slope(view, after.first, after.first + size - 1)
        if left > -4 * left_error or -left * reach < _LEAST_FALL:
            continue
        right = min(right, after.slope / 2)  # what goes on falling is not flat here
        factor = left / right
        if factor < _LESS_STEEP:
            continue
        change = float(np.log(factor))
        error = float(np.hypot(left_error / left, right_error / right))
        score = (change - np.log(2)) / error
        bend = max(
            _bend(view, place - size, place - 1), _bend(view, after.first, after.first + size - 1)
        )
        if score > 3 and bend <= _SUDDEN * change:
            found.append(Slower(place, factor, score))
    return found


def _after_bend(view: View, number: int) -> Piece:
    """A piece, or the one after it where it is but the bend between two long ones."""
    piece = view.pieces[number]
    short = piece.last - piece.first < _BEND
    return view.pieces[number + 1] if short and number + 1 < len(view.pieces) else piece


def _goes_on(view: View, piece: Piece) -> bool:
    """Whether a piece is a fall of its own: sure, long, and by more than the noise."""
    if not np.isfinite(piece.slope_deviation):
        return False
    length = view.length(piece.first, piece.last)
    least = max(1.5 * _LEAST_FALL, view.scatter(piece.first, piece.last))
    return (
        piece.slope < -4 * piece.slope_deviation
        and -piece.slope * length > least
        and length > _LEAST_LENGTH * view.span
    )


def _slope(view: View, first: int, last: int) -> tuple[float, float]:
    """The slope over bins first to last, and its standard error."""
    x, y = view.bins.place[first : last + 1], view.bins.mean[first : last + 1]
    spread = float(((x - x.mean()) ** 2).sum())
    error = float(view.bins.deviation[first : last + 1].mean())
    return _line(x, y)[0], error / float(np.sqrt(spread))


def _bend(view: View, first: int, last: int) -> float:
    """By how much the slope's logarithm falls within bins first to last, as far as that is sure."""
    if last - first < 5:
        return 0.0
    middle = (first + last + 1) // 2
    (left, left_error), (right, right_error) = (
        _slope(view, first, middle - 1),
        _slope(view, middle, last),
    )
    if left >= 0:
        return 0.0
    right = min(right - right_error, 0.05 * left)
    return max(float(np.log(left / right)) + float(left_error / left), 0.0)


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """The slope of the best straight line, and the sum of squares that it leaves."""
    x, y = x - x.mean(), y - y.mean()
    spread = float((x * x).sum())
    if spread == 0:
        return 0.0, float((y * y).sum())
    slope = float((x * y).sum()) / spread
    return slope, float(((y - slope * x) ** 2).sum())
