"""Where falls begin and arrive: tops, the next stop, the end of a fall."""

from bisect import bisect_right

import numpy as np

from ablab.read.curves.passes import Level
from ablab.read.curves.rises import Rise as RiseOfBins
from ablab.read.curves.scale import Floats
from ablab.read.curves.view import View

_BEGINNING = 0.1  # first part of a stretch whose mean has to agree with its level
_AGREES = 0.01  # minimum difference of a value from a level that a fall still approaches
_CLOSE = 2.0  # ... or in standard errors
_ERRORS = 3.0  # the same where a level is to begin, or bins are at one level


def is_top(level: Level, rises: list[tuple[View, RiseOfBins]]) -> bool:
    """Whether a level is the rounded top of a peak: shorter than the rise that leads to it."""
    if not level.downwards:
        return False
    steps = level.view.steps
    length = steps[level.last] - steps[level.first]
    for view, rise in rises:
        bins = view.bins
        meets = bins.first[rise.last] <= level.last and level.first <= bins.last[rise.top]
        if not rise.after_fall and rise.falls and meets:
            return bool(length <= bins.step[rise.last] - bins.step[rise.first])
    return False


def next_stop(view: View, start: int, stops: list[int]) -> int:
    """The bin of the first stop after that of a value, or the last bin."""
    place = bisect_right(stops, int(view.bins.last[view.bin_of(start)]))
    return len(view.bins.mean) - 1 if place == len(stops) else view.bin_of(stops[place])


def arrival(view: View, first: int, last: int) -> tuple[int, float]:
    """The bin at which a fall between two bins is as low as it gets but for noise, and that value.

    From the bin on, the curve is at one level, the mean of the second half. If it is higher at the
    end, after a spike or a slow rise, the value is the median of the bins that are as low as the
    lowest but for noise: the lowest of many bins at one level is too low.
    """
    mean, error = view.bins.mean[first : last + 1], view.bins.deviation[first : last + 1]
    lowest = int(np.argmin(mean))
    near = mean <= mean[lowest] + _ERRORS * np.hypot(error, error[lowest])
    for place in range(lowest + 1):
        if begins_at_level(mean[place:], error[place:], _AGREES, _CLOSE):
            level, apart = _level(mean[place:], error[place:])
            if level <= mean[lowest] + max(_AGREES, _ERRORS * np.hypot(apart, error[lowest])):
                return first + place, level
            break
    arrived = int(np.argmax(near))
    if near.sum() == 1:  # it falls to the end of the bin
        following = view.bins.mean[first + arrived : first + arrived + 2]
        return first + arrived, float(min(mean[arrived], following.mean()))
    return first + arrived, float(np.median(mean[arrived:][near[arrived:]]))


def begins_at_level(mean: Floats, deviation: Floats, least: float, errors: float = _ERRORS) -> bool:
    """Whether the first bins of a stretch, up to a tenth of it, have the mean of its second half.

    The mean of each number of first bins is compared, as a fall there may be short.

    Args:
        mean: The means of the bins, (bins,).
        deviation: Their standard errors, (bins,).
        least: The difference that is allowed,
        errors: or the number of standard errors of it, if that is more.
    """
    level, apart = _level(mean, deviation)
    part = max(2, round(_BEGINNING * len(mean)))
    weight = 1 / deviation[:part] ** 2
    weights = np.cumsum(weight)
    begins = np.cumsum(weight * mean[:part]) / weights
    error = np.sqrt(1 / weights + apart**2)
    return bool((np.abs(begins - level) <= np.maximum(least, errors * error)).all())


def _level(mean: Floats, deviation: Floats) -> tuple[float, float]:
    """The weighted mean of the second half of some bins, and its standard error."""
    weight = 1 / deviation[len(mean) // 2 :] ** 2
    level = float((weight * mean[len(mean) // 2 :]).sum() / weight.sum())
    return level, float(weight.sum() ** -0.5)
