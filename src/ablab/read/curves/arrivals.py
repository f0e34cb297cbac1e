"""Where falls begin and arrive: tops, the next stop, the end of a fall."""

from bisect import bisect_right

import numpy as np

from ablab.read.curves.passes import Level
from ablab.read.curves.rises import Rise as RiseOfBins
from ablab.read.curves.view import View

_SAME = 3.0  # bins whose difference is below this many standard errors are at one level


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

    A spike may end on another level, so it is not simply the last bin. The value is the median of
    the bins that stay there: the lowest of many bins at one level is too low.
    """
    mean, error = view.bins.mean[first : last + 1], view.bins.deviation[first : last + 1]
    lowest = int(np.argmin(mean))
    near = mean <= mean[lowest] + _SAME * np.hypot(error, error[lowest])
    arrived = int(np.argmax(near))
    return first + arrived, float(np.median(mean[arrived:][near[arrived:]]))
