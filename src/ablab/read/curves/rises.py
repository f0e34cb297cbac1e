"""Rises, after a fall or from the start, on a curve without spikes."""

from dataclasses import dataclass

import numpy as np

from ablab.read.curves.scale import Floats
from ablab.read.curves.view import View

# A rise must exceed all of these three limits.
_LEAST = 0.2  # on the reading scale: a factor of 1.22
_ERRORS = 5.7  # in standard errors of the difference of two bins' means
_NOISE = 1.5  # in standard deviations of a single value
_SOON = 0.08  # a spike decays within this fraction of the curve
_SUDDEN = 10.0  # a rise within this number of steps is a jump


@dataclass(frozen=True)
class Rise:
    """A rise over several bins.

    Attributes:
        first: The last bin at the lowest level before the rise.
        last: The first bin at the highest level.
        low: The mean of the lowest bin.
        high: The mean of the highest bin.
        score: The height of the rise in standard errors.
        after_fall: Whether the curve fell before.
        falls: Whether the curve falls again afterwards.
        top: The bin of the highest mean.
    """

    first: int
    last: int
    low: float
    high: float
    score: float
    after_fall: bool
    falls: bool
    top: int = 0


def find_rises(view: View) -> list[Rise]:
    """The rises that are larger than the noise explains."""
    mean, error = view.bins.mean, view.bins.deviation
    count = len(mean)
    scatter = view.scatters
    least = np.maximum(_LEAST, _NOISE * scatter)

    def needed(one: int, other: int) -> float:
        both = float(np.hypot(error[one], error[other]))
        return max(float(least[other]), _ERRORS * both)

    found: list[Rise] = []
    low = high = 0
    rising, top_before = False, 0
    for place in range(count):
        if not rising:
            if mean[place] < mean[low]:
                low = place
            elif mean[place] - mean[low] > needed(low, place):
                rising, high = True, place
            continue
        if mean[place] > mean[high]:
            high = place
        fallen = mean[high] - mean[place] > min(needed(high, place), 0.5 * (mean[high] - mean[low]))
        if fallen or place == count - 1:
            fell = bool(mean[top_before] - mean[low] > needed(top_before, low))
            if not (_is_sudden(view, low, high) and _comes_back(view, low, high)):
                found.append(_rise(mean, error, low, high, fell, bool(fallen)))
            rising, top_before, low = False, high, place
    return found


def _is_sudden(view: View, low: int, high: int) -> bool:
    """Whether a rise is a jump: it goes from 20% to 80% of its height in one or a few steps."""
    bins = view.bins
    height = bins.mean[high] - bins.mean[low]
    values = view.filled[bins.first[low] : bins.last[high] + 1]
    below = np.flatnonzero(values < bins.mean[low] + 0.2 * height)
    above = np.flatnonzero(values > bins.mean[low] + 0.8 * height)
    if not len(below) or not len(above):
        return False
    start = int(below[below < above[-1]][-1]) if (below < above[-1]).any() else int(below[0])
    after = above[above > start]
    if not len(after):
        return False
    steps = view.steps[bins.first[low] : bins.last[high] + 1]
    return bool(after[0] - start <= 1 or steps[after[0]] - steps[start] <= _SUDDEN)


def _comes_back(view: View, low: int, high: int) -> bool:
    """Whether the curve falls by half the height soon after a rise, as after a spike."""
    bins = view.bins
    after = bins.mean[high + 1 : high + 1 + max(3, round(_SOON * len(bins.mean)))]
    half = (bins.mean[low] + bins.mean[high]) / 2
    return bool((after < half).any())


def _rise(mean: Floats, error: Floats, low: int, high: int, after_fall: bool, falls: bool) -> Rise:
    height = mean[high] - mean[low]
    slack = max(0.02 * height, min(float(error[low : high + 1].max()), 0.1 * height))
    part = mean[low : high + 1]
    first = low + int(np.flatnonzero(part <= mean[low] + slack)[-1])
    last = first + int(np.flatnonzero(mean[first : high + 1] >= mean[high] - slack)[0])
    both = float(np.hypot(error[low], error[high]))
    return Rise(
        first,
        last,
        float(mean[low]),
        float(mean[high]),
        float(height / both),
        after_fall,
        falls,
        high,
    )
