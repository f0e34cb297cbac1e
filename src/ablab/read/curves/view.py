"""A curve as the reader uses it: without spikes, in bins and in straight pieces."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ablab.read.curves.noise import Noise
from ablab.read.curves.pieces import Bins, Piece, cut, make_bins
from ablab.read.curves.scale import Floats

_BINS = 256
_TOLERANCE = 0.004  # allowed deviation from a straight line besides noise, on the reading scale
_MOST_VIBRATION = 6.0


@dataclass(frozen=True)
class View:
    """A curve on its reading scale.

    Attributes:
        steps: The steps, (n,).
        values: The values, (n,); NaN within spikes.
        noise: The noise.
        bins: The curve in bins.
        pieces: The curve in straight pieces.
    """

    steps: Floats
    values: Floats
    noise: Noise
    bins: Bins
    pieces: list[Piece]

    @cached_property
    def filled(self) -> Floats:
        """The values, linearly interpolated across spikes."""
        known = np.isfinite(self.values)
        return np.interp(self.steps, self.steps[known], self.values[known])

    @cached_property
    def spacing(self) -> float:
        """The number of steps between bins."""
        return float(np.median(np.diff(self.bins.place))) if len(self.bins.place) > 1 else 1.0

    @property
    def span(self) -> float:
        """The number of steps from the first to the last value."""
        return float(self.steps[-1] - self.steps[0])

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
        return float(self._scatters[first : last + 1].mean())

    @cached_property
    def _scatters(self) -> Floats:
        """The standard deviation of a value in the middle of each bin."""
        here: Floats = self.noise.here[(self.bins.first + self.bins.last) // 2]
        return here

    def length(self, first: int, last: int) -> float:
        """The number of steps covered by the bins from ``first`` to ``last``."""
        return float(self.bins.place[last] - self.bins.place[first] + self.spacing)


def make_view(steps: Floats, values: Floats, noise: Noise) -> View:
    """Makes a view of a curve whose spikes are NaN."""
    bins = _vibration(make_bins(steps, values, noise.here**2, noise.inflation, _BINS))
    price = 8 + 3 * float(np.log(len(bins.mean)))
    return View(steps, values, noise, bins, cut(bins, price, _TOLERANCE))


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
