"""A curve as the reader sees it: without spikes, in bins, in straight pieces."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ablab.read.curves.noise import Noise
from ablab.read.curves.pieces import Bins, Piece, cut, make_bins
from ablab.read.curves.scale import Floats

_BINS = 256
_TOLERANCE = 0.004  # off a straight line, on the scale read, apart from noise
_MOST_VIBRATION = 6.0


@dataclass(frozen=True)
class View:
    """A curve on the scale on which it is read.

    Attributes:
        steps: Its steps.
        values: Its values; not a number within spikes.
        noise: Its scatter.
        bins: It in bins.
        pieces: It in straight pieces.
    """

    steps: Floats
    values: Floats
    noise: Noise
    bins: Bins
    pieces: list[Piece]

    @cached_property
    def filled(self) -> Floats:
        """The values, with straight lines where spikes were."""
        known = np.isfinite(self.values)
        return np.interp(self.steps, self.steps[known], self.values[known])

    @cached_property
    def spacing(self) -> float:
        """The steps from one bin to the next."""
        return float(np.median(np.diff(self.bins.place))) if len(self.bins.place) > 1 else 1.0

    @property
    def span(self) -> float:
        """The steps from the first to the last."""
        return float(self.steps[-1] - self.steps[0])

    def smooth(self, window: int) -> Floats:
        """The running mean over so many values, fewer at the ends."""
        half = window // 2
        sums = np.concatenate([[0.0], np.cumsum(self.filled)])
        place = np.arange(len(self.filled))
        low, high = np.maximum(place - half, 0), np.minimum(place + half + 1, len(place))
        means: Floats = (sums[high] - sums[low]) / (high - low)
        return means

    def scatter(self, first: int, last: int) -> float:
        """The standard deviation of a value within bins first to last."""
        return float(self._scatters[first : last + 1].mean())

    @cached_property
    def _scatters(self) -> Floats:
        """The standard deviation of a value in the middle of each bin."""
        here: Floats = self.noise.here[(self.bins.first + self.bins.last) // 2]
        return here

    def length(self, first: int, last: int) -> float:
        """The steps that bins first to last cover."""
        return float(self.bins.place[last] - self.bins.place[first] + self.spacing)


def look(steps: Floats, values: Floats, noise: Noise) -> View:
    """A curve without its spikes as a view."""
    bins = _vibration(make_bins(steps, values, noise.here**2, noise.inflation, _BINS))
    price = 8 + 3 * float(np.log(len(bins.mean)))
    return View(steps, values, noise, bins, cut(bins, price, _TOLERANCE))


def _vibration(bins: Bins) -> Bins:
    """Wider errors where bins scatter more than their values' noise says.

    Losses vibrate over tens of steps, which second differences of neighbouring values do not see;
    those of the bins do.
    """
    if len(bins.mean) < 8:
        return bins
    second = np.abs(bins.mean[:-2] - 2 * bins.mean[1:-1] + bins.mean[2:])
    v = bins.deviation**2
    expected = np.sqrt(v[:-2] + 4 * v[1:-1] + v[2:])
    ratio = float(np.median(second / expected)) / 0.6745
    return replace(bins, deviation=bins.deviation * float(np.clip(ratio, 1.0, _MOST_VIBRATION)))
