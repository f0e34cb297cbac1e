"""Falls: their functional form, and slowdowns within them."""

from dataclasses import dataclass

import numpy as np

from ablab.read.curves.pieces import Piece
from ablab.read.curves.scale import Floats
from ablab.read.curves.view import View

_LESS_STEEP = 3.3  # minimum ratio of the slopes before and after
_BEND = 3  # maximum length of a bend, in bins
_REACH = 0.35  # slopes are compared over this fraction of the step
_SUDDEN = 0.5  # maximum fraction of the change (of the log slope) within one side
_LEAST_FALL = 0.1  # minimum fall on either side, on the reading scale
_LEAST_LENGTH = 0.06  # minimum length of the slower side, as a fraction of the curve's steps


@dataclass(frozen=True)
class Slower:
    """A bin at which a fall slows down, the factor, and the factor's significance."""

    bin: int
    factor: float
    score: float


def form_of_fall(view: View, first: int, last: int) -> tuple[str, float]:
    """Whether the values from ``first`` to ``last`` fall exponentially or as a power law.

    On the logarithmic scale, two straight lines are fitted: one against the step, and one against
    the logarithm of the step. The better fit wins.

    Returns:
        The form (``exponential`` or ``power law``), and its rate: the number of steps in which the
        curve halves, or the (negative) exponent.
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
    """The places where a fall suddenly continues at less than a third of its slope.

    At each boundary of two straight pieces, the slopes on both sides are compared over equal
    lengths of at most a third of the step, within which a power law is nearly straight. A curve
    that bends smoothly also bends within each side. So the change is not sudden if the slopes of
    the two halves of a side differ by a large part of it.

    Args:
        view: The curve.
        blocked: Ranges of bins (first, last) to skip: flat stretches and rises.
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
        right = min(right, after.slope / 2)  # the fall continues, so the slope here is not zero
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
    """A piece, or the next one if this piece is only a short bend."""
    piece = view.pieces[number]
    short = piece.last - piece.first < _BEND
    return view.pieces[number + 1] if short and number + 1 < len(view.pieces) else piece


def _goes_on(view: View, piece: Piece) -> bool:
    """Whether a piece is a fall: significant, long, and larger than the noise."""
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
    """The slope over the bins from ``first`` to ``last``, and its standard error."""
    x, y = view.bins.place[first : last + 1], view.bins.mean[first : last + 1]
    spread = float(((x - x.mean()) ** 2).sum())
    error = float(view.bins.deviation[first : last + 1].mean())
    return _line(x, y)[0], error / float(np.sqrt(spread))


def _bend(view: View, first: int, last: int) -> float:
    """The change of the log slope within bins ``first`` to ``last``, reduced by its error."""
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
    """The slope of the least-squares line, and the residual sum of squares."""
    x, y = x - x.mean(), y - y.mean()
    spread = float((x * x).sum())
    if spread == 0:
        return 0.0, float((y * y).sum())
    slope = float((x * y).sum()) / spread
    return slope, float(((y - slope * x) ** 2).sum())
