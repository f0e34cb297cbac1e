"""Falls: how they go, and where they become slower."""

from dataclasses import dataclass

import numpy as np

from ablab.read.curves.pieces import Piece
from ablab.read.curves.scale import Floats
from ablab.read.curves.view import View

_LESS_STEEP = 3.5  # times
_SUDDEN = 0.4  # of the change (in the slope's logarithm) that may lie within either side
_LEAST_FALL = 0.1  # on the scale read, of either side
_LEAST_LENGTH = 0.04  # of the curve's steps, of the slower side


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
    """Where a fall goes on at a quarter of its slope or less, all at once.

    The slopes are those of the straight pieces on both sides. A curve that bends smoothly bends
    within the pieces too: where the halves of a piece differ by much of the change, it is no sudden
    one. Power laws, whose slope falls with the step, are compared by their slope times the step.

    Args:
        view: The curve.
        blocked: Bins (first, last) at which no slowdown is looked for: flat stretches and rises.
    """
    found = []
    for before, after in zip(view.pieces[:-1], view.pieces[1:], strict=True):
        place = after.first
        if any(first <= place <= last + 1 for first, last in blocked):
            continue
        if not (_falls(view, before) and _falls(view, after)):
            continue
        if view.length(after.first, after.last) < _LEAST_LENGTH * view.span:
            continue
        factor = min(before.slope / after.slope, _by_log(view, before, after))
        if factor < _LESS_STEEP:
            continue
        change = np.log(factor)
        if max(_bend(view, before), _bend(view, after)) > _SUDDEN * change:
            continue
        error = np.hypot(
            before.slope_deviation / before.slope, after.slope_deviation / after.slope
        )
        found.append(Slower(place, float(factor), float((change - np.log(2)) / error)))
    return found


def _falls(view: View, piece: Piece) -> bool:
    if not np.isfinite(piece.slope_deviation):
        return False
    fall = -piece.slope * view.length(piece.first, piece.last)
    return piece.slope < -3 * piece.slope_deviation and fall > _LEAST_FALL


def _by_log(view: View, before: Piece, after: Piece) -> float:
    """The ratio of the slopes against the steps' logarithm."""
    slopes = []
    for piece in (before, after):
        x = np.log(np.maximum(view.bins.place[piece.first : piece.last + 1], 1.0))
        slopes.append(_line(x, view.bins.mean[piece.first : piece.last + 1])[0])
    return slopes[0] / slopes[1] if slopes[1] else np.inf


def _bend(view: View, piece: Piece) -> float:
    """By how much the slope falls within a piece, in its logarithm, as far as that is sure."""
    count = piece.last - piece.first + 1
    if count < 4:
        return 0.0
    middle = piece.first + count // 2
    slopes, errors = [], []
    for first, last in ((piece.first, middle - 1), (middle, piece.last)):
        x, y = view.bins.place[first : last + 1], view.bins.mean[first : last + 1]
        slopes.append(_line(x, y)[0])
        error = view.bins.deviation[first : last + 1].mean()
        errors.append(error / np.sqrt(((x - x.mean()) ** 2).sum()))
    if slopes[0] >= 0:
        return 0.0
    if slopes[1] >= 0:
        return np.inf if slopes[1] > 2 * errors[1] else 0.7
    error = np.hypot(errors[0] / slopes[0], errors[1] / slopes[1])
    return max(float(np.log(slopes[0] / slopes[1])) - float(error), 0.0)


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """The slope of the best straight line, and the sum of squares that it leaves."""
    x, y = x - x.mean(), y - y.mean()
    spread = float((x * x).sum())
    if spread == 0:
        return 0.0, float((y * y).sum())
    slope = float((x * y).sum()) / spread
    return slope, float(((y - slope * x) ** 2).sum())
