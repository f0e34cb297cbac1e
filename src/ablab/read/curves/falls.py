"""Falls: their functional form, and where they become less steep or steeper."""

from dataclasses import dataclass

import numpy as np

from ablab.read.curves.pieces import Piece
from ablab.read.curves.scale import Floats
from ablab.read.curves.view import View

_STEEPEST = -4.0  # a fall with a larger power of the step is none
_LESS_STEEP = 3.7  # minimum ratio of the slopes before and after a slowdown
_STEEPER = 3.3  # ... after and before a steepening
_BEND = 3  # maximum length of a bend, in bins
_REACH = 0.35  # slopes are compared over this fraction of the step
_SUDDEN = 0.5  # maximum fraction of the change (of the log slope) within one side
_LEAST_FALL = 0.1  # minimum fall on either side, on the reading scale
_LONG = 0.25  # minimum length of the slower side of a steepening, as a fraction of the step
_RECENT = 0.3  # no descent from a level begins after this fraction of the step of a steepening
_LEAST_LENGTH = 0.06  # minimum length of the later side, as a fraction of the curve's time
_FLAT = 1e-300  # a slope below it halves nothing
_BENT = 0.5  # fraction of the mean slope by which that at an end of a law may differ


@dataclass(frozen=True)
class Bend:
    """A bin at which a fall becomes less steep or steeper, and by which factor.

    Attributes:
        bin: The bin.
        factor: The ratio of the steeper slope to the other one.
        score: The significance of the factor.
    """

    bin: int
    factor: float
    score: float


def form_of_fall(view: View, first: int, last: int) -> tuple[str, float | None]:
    """Whether the values from ``first`` to ``last`` fall exponentially or as a power law.

    On the logarithmic scale, two straight lines are fitted: one against the step, and one against
    the logarithm of the step. The better fit wins, unless the power is larger than four. It is
    neither if a parabola has a slope at an end that differs from that of the line by half of it.

    Returns:
        The form (``exponential``, ``power law`` or ``neither``), and its rate: the number of steps
        in which the curve halves, on average if it is neither, or the (negative) exponent. The rate
        is None if there are fewer than three values, or the line is flat.
    """
    y = view.filled[first : last + 1]
    # What comes after nine tenths of the fall may belong to the level that it leads to.
    done = np.flatnonzero(y <= y[0] - 0.9 * (y[0] - y.min()))
    y = y[: done[0] + 1] if len(done) and done[0] >= 3 else y
    x = view.steps[first : first + len(y)]
    if len(y) < 3 or x[-1] <= x[0]:
        return "exponential", None
    straight, rest = _line(x, y)
    curved, other = _line(np.log(np.maximum(x, 1.0)), y)
    halving = float(-np.log(2) / straight) if abs(straight) > _FLAT else None
    if rest <= other or curved < _STEEPEST:
        return "exponential" if _is_straight(x, y) else "neither", halving
    if _is_straight(np.log(np.maximum(x, 1.0)), y):
        return "power law", curved
    return "neither", halving


def _is_straight(x: Floats, y: Floats) -> bool:
    """Whether the slope of a parabola changes by less than that of the line between its ends."""
    square, slope, _ = np.polyfit(x - x.mean(), y, 2)
    return bool(abs(square) * (x.max() - x.min()) < _BENT * abs(slope))


def find_slowdowns(view: View, blocked: list[tuple[int, int]]) -> list[Bend]:
    """The places where a fall suddenly continues at a small part of its slope.

    At each boundary of two straight pieces, the slopes on both sides are compared over equal
    lengths of at most a third of the step, within which a power law is nearly straight. A curve
    that bends smoothly also bends within each side. So the change is not sudden if the slopes of
    the two halves of a side differ by a large part of it.

    Args:
        view: The curve.
        blocked: Ranges of bins (first, last) to skip: flat stretches and rises.
    """
    found = []
    for number, before in enumerate(view.pieces[:-1]):
        place = view.pieces[number + 1].first
        after = _after_bend(view, number + 1)
        if _is_blocked(place, blocked) or not _goes_on(view, after):
            continue
        sides = _sides(view, before, after, place)
        if sides is None:
            continue
        left, right, reach = sides
        if left.slope > -4 * left.error or -left.slope * reach < _LEAST_FALL:
            continue
        # The fall continues, so the slope here is not zero.
        least = after.slope * view.length(after.first, after.last)
        least /= view.steps_between(after.first, after.last)
        found += _sudden(place, left, right, min(right.slope, least / 2), _LESS_STEEP)
    return found


def find_steepenings(view: View, tops: list[int]) -> list[Bend]:
    """The places where a fall suddenly continues at more than three times its slope per step.

    Two pieces are compared if at most a third of the step lies between them: a fall that becomes
    steeper with a power of the step does so over a longer time. Before, it falls visibly for at
    least a quarter of the step: the beginning of the descent from a level is no steepening.

    Args:
        view: The curve.
        tops: Bins from which the curve falls: the last ones of flat stretches and rises.
    """
    step, pieces = view.bins.step, view.pieces
    sides = [_side(view, piece.first, piece.last) for piece in pieces]
    lengths = [float(step[piece.last] - step[piece.first]) for piece in pieces]
    found: list[Bend] = []
    for number, before in enumerate(pieces[:-1]):
        left, fall, end = sides[number], -sides[number].slope * lengths[number], step[before.last]
        if not fall > max(_LEAST_FALL, 6 * left.error * lengths[number]):
            continue
        if lengths[number] < _LONG * end or any(_RECENT * end < step[top] <= end for top in tops):
            continue
        best = None
        for later in range(number + 1, len(pieces)):
            after, right = pieces[later], sides[later]
            if step[after.first] > (1 + _REACH) * end:
                break
            if -right.slope * lengths[later] < 2 * _LEAST_FALL or after.last - after.first < _BEND:
                continue
            for each in _sudden(after.first, right, left, left.slope, _STEEPER):
                if best is None or each.factor > best.factor:
                    best = each
        if best is None:
            continue
        bend = Bend(pieces[number + 1].first, best.factor, best.score)
        if found and step[bend.bin] <= (1 + _REACH) * step[found[-1].bin]:
            if bend.factor > found[-1].factor:
                found[-1] = bend
        else:
            found.append(bend)
    return found


@dataclass(frozen=True)
class _Side:
    """The slope on one side of a boundary per step, its standard error, and how much it bends."""

    slope: float
    error: float
    bend: float


def _is_blocked(place: int, blocked: list[tuple[int, int]]) -> bool:
    return any(first <= place <= last + 1 for first, last in blocked)


def _sides(
    view: View, before: Piece, after: Piece, place: int
) -> tuple[_Side, _Side, float] | None:
    """Both sides of a boundary, over equal numbers of steps; None if there are too few values."""
    step = view.bins.step
    reach = min(
        view.steps_between(before.first, before.last),
        view.steps_between(after.first, after.last),
        _REACH * float(step[place]),
    )
    first = int(np.searchsorted(step, step[place] - reach))
    last = int(np.searchsorted(step, step[after.first] + reach, side="right")) - 1
    if place - first < 3 or last - after.first < 2:
        return None
    return _side(view, first, place - 1), _side(view, after.first, last), reach


def _sudden(place: int, steep: _Side, other: _Side, slope: float, ratio: float) -> list[Bend]:
    """A bend, if the slopes differ by a ratio and neither side bends as much itself."""
    factor = steep.slope / slope if slope < 0 else np.inf
    if not ratio <= factor < np.inf:
        return []
    change = float(np.log(factor))
    error = float(np.hypot(steep.error / steep.slope, other.error / slope))
    score = (change - np.log(2)) / error if error > 0 else np.inf
    if score <= 3 or max(steep.bend, other.bend) > _SUDDEN * change:
        return []
    return [Bend(place, float(factor), float(score))]


def _after_bend(view: View, number: int) -> Piece:
    """A piece, or the next one if this piece is only a short bend."""
    piece = view.pieces[number]
    short = piece.last - piece.first < _BEND
    return view.pieces[number + 1] if short and number + 1 < len(view.pieces) else piece


def _goes_on(view: View, piece: Piece) -> bool:
    """Whether the curve falls on from a piece: significantly, for long, and more than the noise.

    In logarithmic time, an exponential fall consists of many short pieces, so the bins up to a
    third more steps are looked at.
    """
    if not np.isfinite(piece.slope_deviation):
        return False
    if view.logarithmic:
        step = view.bins.step
        last = int(np.searchsorted(step, (1 + _REACH) * step[piece.first])) - 1
        if last - piece.first < _BEND or step[last] < (1 + _REACH / 2) * step[piece.first]:
            return False
        slope, error = _slope(view, piece.first, last)
        length = float(step[last] - step[piece.first])
        least = max(1.5 * _LEAST_FALL, view.scatter(piece.first, last))
        return slope < -4 * error and -slope * length > least
    length = view.length(piece.first, piece.last)
    least = max(1.5 * _LEAST_FALL, view.scatter(piece.first, piece.last))
    return (
        piece.slope < -4 * piece.slope_deviation
        and -piece.slope * length > least
        and length > _LEAST_LENGTH * view.span
    )


def _side(view: View, first: int, last: int) -> _Side:
    slope, error = _slope(view, first, last)
    return _Side(slope, error, _bend(view, first, last))


def _slope(view: View, first: int, last: int) -> tuple[float, float]:
    """The slope per step over the bins from ``first`` to ``last``, and its standard error."""
    x, y = view.bins.step[first : last + 1], view.bins.mean[first : last + 1]
    spread = float(((x - x.mean()) ** 2).sum())
    error = float(view.bins.deviation[first : last + 1].mean())
    return _line(x, y)[0], error / float(np.sqrt(spread)) if spread else float("inf")


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
