"""How a curve ends: its last value, and whether it still falls."""

import numpy as np
from numpy.typing import NDArray

from ablab.read.curves.scale import Floats
from ablab.read.curves.stops import stops
from ablab.read.curves.view import View

_END = 0.12  # fraction of the curve that decides whether it is still falling
_FALLS = 0.03  # minimum fall over that fraction, on the reading scale
_HALF = 0.05  # minimum fall over the second half of the curve
_SLOWLY = 0.012  # ... or, if that is more than four errors, this much
_SEEN = 0.67  # and more than so many standard deviations of a single value
_SLOW = 0.1  # a fall of the second half is slow up to this,
_LATE = 0.6  # unless this part of it is in the last eighth
_ENDED = 0.125  # maximum part of the last fall that is in the last eighth, if that has ended
_SURE = 1.64  # standard errors of a one-sided bound of 95%
_CLEAR = 1.5  # standard errors by which the last parts of a fall have to fall
_SHARE = 0.25  # minimum part of that fall in the second half of these steps, and so on
_STOPS = 4.0  # twice the logarithm of a likelihood ratio that shows that a fall stops
_EXACT = 0.003  # wanted error of the value at the end, on the reading scale
_STEEP = 2.0  # standard errors of a slope at the end that is more than chance
_LAST = 25  # maximum number of values that it is taken from, or a fiftieth of the curve


def end_value(view: View) -> float:
    """The value at the very end, on the reading scale.

    A line through the last values, evaluated at the last step, so a fall is not averaged; their
    mean if the line is not steep. As many values are used as the noise requires, all of them from
    the last straight piece. If that has fewer than four, the last value is as good as any: those
    before belong to another level or slope.
    """
    known = np.flatnonzero(np.isfinite(view.values))
    values, steps = view.values[known], view.steps[known]
    scatter = float(view.noise.here[known[-1]])
    wanted = 4 * view.noise.inflation * (scatter / _EXACT) ** 2
    count = int(np.clip(wanted, 1, max(_LAST, len(values) // 50)))
    piece = int((known >= view.bins.first[view.pieces[-1].first]).sum())
    count = min(count, len(values), max(piece, 1))
    if count < 4:
        return float(values[-1])
    x, y = steps[-count:] - steps[-1], values[-count:]
    slope, error = line(x, y, np.full(count, scatter * np.sqrt(view.noise.inflation)))
    at_end = float(y.mean() - slope * x.mean())
    rest = float(np.std(y - at_end - slope * x, ddof=2))
    if abs(slope) < _STEEP * min(error, rest / float(np.std(x) * np.sqrt(count))):
        return float(y.mean())
    return float(np.clip(at_end, y.min(), y.max()))


def falls_at_end(view: View) -> bool:
    """Whether the curve still falls at its end, quickly or slowly.

    Either its last part falls by more than 3%, three errors and the noise of a single value, or its
    second half falls by more than 5% and goes on falling in its last parts, or it
    :func:`falls_slowly`.

    Args:
        view: The curve in linear time.
    """
    bins, last = view.bins, float(view.steps[-1])
    late = bins.step >= last - _END * view.span
    late[-min(6, len(late)) :] = True
    late &= bins.step >= last - 2 * _END * view.span
    change, error = change_of(view, late)
    if change < -max(_FALLS, 3 * error, _noise(view, late)) and not _settles(view, change):
        return True
    return _goes_on(view) or falls_slowly(view)


def _noise(view: View, chosen: NDArray[np.bool_]) -> float:
    """The mean standard deviation of a single value in some bins; 0 without any."""
    return float(view.scatters[chosen].mean()) if chosen.any() else 0.0


def _settles(view: View, change: float) -> bool:
    """Whether a fall of the last bins, which may be long, has ended in the last eighth."""
    end, error = _late_change(view, _END)
    return end > _ENDED * change + _SURE * error


def _goes_on(view: View) -> bool:
    """Whether the second half falls, and each half of what is left by a part of that."""
    change, error = _late_change(view, 0.5)
    if change > -max(_HALF, 4 * error):
        return False
    for part in (0.25, _END):  # a power law falls by nearly half as much in half as many steps
        end, error = _late_change(view, part)
        if end > -max(_SHARE * -change, _CLEAR * error):
            return False
        change = end
    return True


def falls_slowly(view: View) -> bool:
    """Whether the curve falls by little in its second half, but by more than noise explains.

    The last quarter falls by a quarter of that, too. Where the second half falls by up to 10%, that
    alone need not be significant, as it is short, but the curve may not be shown to stop
    (:func:`~ablab.read.curves.stops.stops`). Where it falls by more, the last quarter has to be
    significant, and the last eighth may not be shown to fall by less than a quarter of the quarter.

    Args:
        view: The curve in linear time.
    """
    half, error = _late_change(view, 0.5)
    late, bins = view.bins.step >= float(view.steps[-1]) - 0.5 * view.span, view.bins
    if half > -max(_SLOWLY, 4 * error, _SEEN * _noise(view, late)):
        return False
    quarter, error = _late_change(view, 0.25)
    if -half > _SLOW:  # so much that its parts have to be significant, too
        end, unsure = _late_change(view, _END)
        falls = quarter <= -max(_SHARE * -half, _CLEAR * error)
        return falls and end <= _SHARE * quarter + _CLEAR * unsure
    if quarter > -_SHARE * -half:
        return False
    return stops(bins.step[late], bins.mean[late], bins.deviation[late]) < _STOPS


def slow_fall(view: View) -> float | None:
    """By how much the second half of the curve falls, on the reading scale, if it falls slowly.

    Args:
        view: The curve in linear time.
    """
    if not falls_slowly(view):
        return None
    half, end = _late_change(view, 0.5)[0], _late_change(view, _END)[0]
    return -half if -half <= _SLOW and end >= _LATE * half else None


def _late_change(view: View, part: float) -> tuple[float, float]:
    """The change of the last part of the curve, and its standard error."""
    return change_of(view, view.bins.step >= float(view.steps[-1]) - part * view.span)


def change_of(view: View, chosen: np.ndarray) -> tuple[float, float]:
    """The change of the curve over some bins by a line in linear time, and its standard error."""
    x, y = view.bins.step[chosen], view.bins.mean[chosen]
    slope, error = line(x, y, view.bins.deviation[chosen])
    length = float(x[-1] - x[0]) if len(x) else 0.0
    return slope * length, error * length


def line(x: Floats, y: Floats, deviation: Floats) -> tuple[float, float]:
    """The slope of the weighted least-squares line and its standard error; 0, ∞ without one."""
    if len(x) < 2:
        return 0.0, float("inf")
    weight = 1 / deviation**2
    middle = (weight * x).sum() / weight.sum()
    spread = float((weight * (x - middle) ** 2).sum())
    if spread <= 0:
        return 0.0, float("inf")
    return float((weight * (x - middle) * y).sum() / spread), float(1 / np.sqrt(spread))
