"""Floors: levels at the end of a curve that an equivalence test shows to be flat."""

import numpy as np

from ablab.read.curves.arrivals import begins_at_level
from ablab.read.curves.ends import change_of
from ablab.read.curves.scale import Floats
from ablab.read.curves.stops import stops
from ablab.read.curves.view import View

_LENGTH = 0.05  # minimum length of a floor, as a fraction of the curve's steps
_FEWEST = 4  # ... and in bins
_SURE = 1.64  # standard errors of a one-sided bound of 95%
# The change over a floor has to be shown to be smaller than the largest of these.
_LEAST = 0.005  # on the reading scale, or
_SEEN = 1.0  # so many standard deviations of a single value, which hide it,
_HIDDEN = 0.08  # but at most this
_SHARE = 0.04  # on a linear scale, in its own unit: 1% of the curve's range
_OF_FALL = 0.004  # of the fall that leads to it,
_MOST = 0.05  # but at most this
_ERRORS = 3.3  # in standard errors, so that a floor of few values can be shown,
_NOISE = 3.0  # but at most this many standard deviations of a single value
_LESS = 0.4  # residuals with less than this part of the noise show that it is overestimated,
_LEAST_NOISE = 0.1  # at most by a factor of ten
_SLIGHT = 0.004  # maximum significant change over a floor, or that which cannot be seen,
_FLAT = 1.96  # or so many standard errors
_AGREES = 0.01  # maximum difference of its beginning from its level
_WINDOW = 9  # maximum number of values in the running mean that shows where it begins
_LAST = 0.35  # last part of a floor, in which no change may be significant, unless
_MOVES = 0.005  # it is at most this and the curve slows down, or cannot be seen beside the fall
_LONGER = (4, 2)  # longer stretches that may show that a curve goes on, in lengths of a floor
_BEFORE = 4.0  # minimum change there, in standard errors
_STEADY = 0.6  # minimum ratio of the slopes of the end and of the whole, if it goes on
_SIGNIFICANT = 2.5  # in standard errors
_WINDOWS = (4, 3, 2, 1.5)  # stretches that may show that a fall stops, in lengths of a floor,
_SHOWN = 10.0  # by twice the logarithm of a likelihood ratio
_SEVERAL = 10  # minimum number of bins of such a floor
_PARTS = (0.0, 0.25, 0.5)  # first parts of a floor in which the curve may still approach it
_DOUBLED = 0.02  # maximum change while the number of steps doubles
_DOUBLINGS = 8.0  # maximum ratio of half of the steps and those of a floor
_STOPS = 4.0  # ... or the minimum ratio of the fall before a floor and that within it,
_FALL = 0.1  # and the minimum fall before it
_THROUGHOUT = 0.6  # minimum part of a curve that is most of it
_WHOLE = 0.15  # maximum change of a stretch that is most of a curve and flat as a whole


def floor_start(view: View, earliest: int) -> int | None:
    """The first bin of the longest floor: a stretch up to the end that is shown to be flat.

    That a fall is not significant does not show that there is none. So the confidence interval of
    the change over the whole stretch has to lie within what matters (the two one-sided tests of
    Schuirmann, "A comparison of the two one-sided tests procedure", 1987). The beginning of the
    stretch has to be at its level, and its change may be significant only where it is less than
    0.4%, or cannot be seen beside the fall before. And the curve has to be shown to have stopped:
    it changes by less than 2% while the number of steps doubles, or by less than a quarter of what
    it fell by in as many steps before, or a fall that stops describes what leads to the stretch
    better than one that goes on (:func:`~ablab.read.curves.stops.stops`).

    Args:
        view: The curve, in linear or in logarithmic time.
        earliest: The first bin in which the floor may begin.

    Returns:
        The bin, or None if there is no floor.
    """
    last = float(view.steps[-1])
    latest = last - _LENGTH * (last - view.steps[0])
    change, error, ratio = _changes(view)
    mean, deviation = view.bins.mean, view.bins.deviation
    for first in range(earliest, len(mean) - _FEWEST + 1):
        if view.steps[view.bins.first[first]] > latest:
            return None
        matters, size = _least_change(view, first), abs(change[first])
        noise = min(_ERRORS * error[first], _NOISE * view.scatters[first:].mean())
        slight = max(_SLIGHT / view.unit, _beside_fall(view, first), _FLAT * error[first])
        bound = size + _SURE * error[first]
        if bound > max(matters, noise) or size > slight:
            continue
        agrees = max(_AGREES / view.unit, matters / 2)
        if not begins_at_level(mean[first:], ratio[first] * deviation[first:], agrees):
            continue
        if _moves(view, first):
            continue
        shown = bound <= max(matters, _HIDDEN) and _is_shown_to_stop(view, first)
        if shown or _has_stopped(view, first):
            return first
    return None


def first_at_level(view: View, first: int) -> int:
    """The index of the first value at the level of a floor, which may be in the bin before it."""
    low, high = (int(view.bins.first[place]) for place in (max(first - 1, 0), first))
    level = float(view.bins.mean[first + (len(view.bins.mean) - first) // 2 :].mean())
    apart = np.abs(view.smooth(min(_WINDOW, (high - low) | 1))[low:high] - level)
    limit = max(_AGREES / view.unit, float(view.scatters[first]))
    away = np.flatnonzero(apart > limit)
    return low + int(away[-1]) + 1 if len(away) else low


def _least_change(view: View, first: int) -> float:
    """The smallest change of a stretch from a bin to the end that matters."""
    if view.unit != 1:
        return _SHARE / view.unit
    noise = _SEEN * float(view.scatters[first:].mean())
    matters = float(np.clip(noise, _LEAST, _HIDDEN))
    return max(matters, _beside_fall(view, first))


def _beside_fall(view: View, first: int) -> float:
    """The change that cannot be seen beside the fall that leads to a stretch."""
    mean = view.bins.mean
    fall = max(float(mean[: first + 1].max() - mean[first:].mean()), 0.0)
    return min(_OF_FALL * fall, _MOST)


def _changes(view: View) -> tuple[Floats, Floats, Floats]:
    """The change from each bin to the last one by a line in linear time, its error, and a ratio.

    The error is that of the noise, or of the residuals if these are much smaller: the noise of a
    few values is overestimated where the curve is steep. The ratio is that of the two. The last
    two errors are infinite.
    """
    x, y = view.bins.step - view.bins.step[-1], view.bins.mean - view.bins.mean[-1]
    weight = 1 / view.bins.deviation**2

    def sums(values: Floats) -> Floats:
        from_here: Floats = np.cumsum(values[::-1])[::-1]
        return from_here

    w, wx, wy = sums(weight), sums(weight * x), sums(weight * y)
    count = np.arange(len(x), 0, -1)
    known = count > 2
    spread = np.where(known, np.maximum(sums(weight * x * x) - wx * wx / w, 1e-300), 1.0)
    slope = (sums(weight * x * y) - wx * wy / w) / spread
    rest = np.maximum(sums(weight * y * y) - wy * wy / w - slope**2 * spread, 0.0)
    ratio = np.sqrt(rest / np.maximum(count - 2, 1))
    ratio = np.where((count >= _FEWEST) & (ratio < _LESS), np.maximum(2 * ratio, _LEAST_NOISE), 1.0)
    change = np.where(known, slope * -x, np.inf)
    return change, np.where(known, ratio * -x / np.sqrt(spread), np.inf), ratio


def _has_stopped(view: View, first: int) -> bool:
    """Whether the curve is shown to have stopped falling by the end of a stretch."""
    start, last = _start(view, first), float(view.steps[-1])
    if _goes_on(view, start):
        return False
    level = float(view.bins.mean[first:].mean())
    return any(_stopped(view, start + part * (last - start), level) for part in _PARTS)


def _goes_on(view: View, start: float) -> bool:
    """Whether the curve changes from a step on, significantly, and hardly slows down by the end.

    As a short stretch cannot show that, longer ones are looked at, too. A change that cannot be
    seen beside the fall before it does not count, nor does one of up to 0.4% of a stretch that
    takes most of the curve.
    """
    last = float(view.steps[-1])
    least = _beside_fall(view, int(np.searchsorted(view.bins.step, start)))
    for times in _LONGER:
        first = max(last - times * (last - start), float(view.steps[0]))
        whole, error = change_of(view, view.bins.step >= first)
        late, unsure = change_of(view, view.bins.step >= start)
        most = max(late * np.sign(whole), 0.0) + _SURE * unsure
        part = (last - start) / (last - first)
        if abs(whole) > max(_BEFORE * error, least) and most > _STEADY * part * abs(whole):
            return True
    whole, error = change_of(view, view.bins.step >= start)
    late, _ = change_of(view, view.bins.step >= (start + last) / 2)
    if last - start >= _THROUGHOUT * (last - view.steps[0]):
        least = max(least, _SLIGHT / view.unit)  # a level that is reached early and never left
    return abs(whole) > max(_SIGNIFICANT * error, least) and late / whole > _STEADY / 2


def _is_shown_to_stop(view: View, first: int) -> bool:
    """Whether a fall that stops describes the curve up to a floor better than one that goes on."""
    bins, last, start = view.bins, float(view.steps[-1]), _start(view, first)
    if len(bins.step) - first < _SEVERAL:
        return False
    for times in _WINDOWS:
        inside = bins.step >= last - times * (last - start)
        if stops(bins.step[inside], bins.mean[inside], bins.deviation[inside]) >= _SHOWN:
            return True
    return False


def _start(view: View, first: int) -> float:
    """The first step of a bin."""
    return float(view.steps[view.bins.first[first]])


def _moves(view: View, first: int) -> bool:
    """Whether the last part of a floor changes significantly, by more than can be overlooked."""
    start, last = _start(view, first), float(view.steps[-1])
    least = _beside_fall(view, first)
    whole, _ = change_of(view, view.bins.step >= start)
    late, error = change_of(view, view.bins.step >= last - _LAST * (last - start))
    slows = abs(late) < _LAST * abs(whole)
    least = max(_MOVES if slows else 0.0, view.unit * least / 2)
    return abs(late) > _SIGNIFICANT * error and view.unit * abs(late) > least


def _stopped(view: View, first: float, level: float) -> bool:
    """Whether the curve is shown to have stopped falling from a step on."""
    bins, last = view.bins, float(view.steps[-1])
    inside = bins.step >= first
    if inside.sum() < _FEWEST:
        return False
    change, error = change_of(view, inside)
    length = last - first
    bound = view.unit * (abs(change) + _SURE * error)
    before = (bins.step < first) & (bins.step >= first - length)
    if before.any():
        early = bins.mean[before][: max(1, int(before.sum()) // 4)]
        fell = view.unit * (float(early.mean()) - level)
        if fell >= max(_STOPS * bound, _FALL):
            return True
    if bound * min(last / 2 / length, _DOUBLINGS) <= _DOUBLED:
        return True
    return length >= _THROUGHOUT * (last - view.steps[0]) and bound <= _WHOLE
