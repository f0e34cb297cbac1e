"""A curve as the reader uses it: without spikes, in bins and in straight pieces."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ablab.read.curves.noise import Noise
from ablab.read.curves.pieces import Bins, Piece, cut, even_starts, linear_starts, make_bins
from ablab.read.curves.scale import Floats

_BINS = 256
_TOLERANCE = 0.004  # allowed deviation from a straight line besides noise, on the reading scale
_MOST_VIBRATION = 6.0
_FIRST = 10  # number of logged intervals that are added to the step in logarithmic time


@dataclass(frozen=True)
class View:
    """A curve on its reading scale.

    Attributes:
        steps: The steps, (n,).
        values: The values, (n,); NaN within spikes.
        noise: The noise.
        unit: What changes at the end of the curve are multiplied by; 1 on a logarithmic scale.
        logarithmic: Whether the time of bins and pieces is the logarithm of the step.
        bins: The curve in bins.
        pieces: The curve in straight pieces.
    """

    steps: Floats
    values: Floats
    noise: Noise
    unit: float
    logarithmic: bool
    bins: Bins
    pieces: list[Piece]

    @cached_property
    def filled(self) -> Floats:
        """The values, linearly interpolated across spikes."""
        known = np.isfinite(self.values)
        return np.interp(self.steps, self.steps[known], self.values[known])

    @cached_property
    def spacing(self) -> float:
        """The time between bins."""
        return float(np.median(np.diff(self.bins.place))) if len(self.bins.place) > 1 else 1.0

    @property
    def span(self) -> float:
        """The time from the first to the last bin, both included."""
        if not self.logarithmic:
            return float(self.steps[-1] - self.steps[0])
        return self.length(0, len(self.bins.place) - 1)

    def smooth(self, window: int) -> Floats:
        """The running mean over ``window`` values, fewer at the ends."""
        half = window // 2
        sums = np.concatenate([[0.0], np.cumsum(self.filled)])
        place = np.arange(len(self.filled))
        low, high = np.maximum(place - half, 0), np.minimum(place + half + 1, len(place))
        means: Floats = (sums[high] - sums[low]) / (high - low)
        return means

    def scatter(self, first: int, last: int) -> float:
        """The standard deviation of a value within the bins from ``first`` to ``last``."""
        return float(self.scatters[first : last + 1].mean())

    @cached_property
    def scatters(self) -> Floats:
        """The standard deviation of a value in the middle of each bin."""
        here: Floats = self.noise.here[(self.bins.first + self.bins.last) // 2]
        return here

    def length(self, first: int, last: int) -> float:
        """The time covered by the bins from ``first`` to ``last``."""
        return float(self.bins.place[last] - self.bins.place[first] + self.spacing)

    def steps_between(self, first: int, last: int) -> float:
        """The number of steps covered by the bins from ``first`` to ``last``."""
        low, high = self.bins.first[first], self.bins.last[last]
        after = min(int(high) + 1, len(self.steps) - 1)
        return max(float(self.steps[after] - self.steps[low]), 1.0)

    def bin_of(self, place: int) -> int:
        """The bin of a value, by its index."""
        return int(np.searchsorted(self.bins.last, place))


def make_view(steps: Floats, values: Floats, noise: Noise, unit: float = 1.0) -> View:
    """Makes a view of a curve whose spikes are NaN, in linear time."""
    starts = linear_starts(len(values), _BINS)
    return _view(steps, steps, values, noise, starts, unit)


def make_logarithmic_view(steps: Floats, values: Floats, noise: Noise, unit: float = 1.0) -> View:
    """Makes a view of a curve whose spikes are NaN, in logarithmic time.

    The time is log(step + 10 logged intervals), so the first values are not spread over half of it.
    """
    spacing = float(np.median(np.diff(steps[: _FIRST + 1])))
    times = np.log(steps - min(float(steps[0]) - spacing, 0.0) + _FIRST * spacing)
    return _view(steps, times, values, noise, even_starts(times, _BINS), unit)


def _view(
    steps: Floats,
    times: Floats,
    values: Floats,
    noise: Noise,
    starts: NDArray[np.int64],
    unit: float,
) -> View:
    bins = make_bins(steps, times, values, noise.here**2, noise.inflation, starts)
    bins = _vibration(bins)
    price = 8 + 3 * float(np.log(len(bins.mean)))
    logarithmic = times is not steps
    return View(steps, values, noise, unit, logarithmic, bins, cut(bins, price, _TOLERANCE))


def _vibration(bins: Bins) -> Bins:
    """Increases the errors if bins deviate more than the noise of single values explains.

    Losses oscillate over tens of steps. The second differences of bins show this; those of
    neighbouring values do not.
    """
    if len(bins.mean) < 8:
        return bins
    second = np.abs(bins.mean[:-2] - 2 * bins.mean[1:-1] + bins.mean[2:])
    v = bins.deviation**2
    expected = np.sqrt(v[:-2] + 4 * v[1:-1] + v[2:])
    ratio = float(np.median(second / expected)) / 0.6745
    return replace(bins, deviation=bins.deviation * float(np.clip(ratio, 1.0, _MOST_VIBRATION)))
