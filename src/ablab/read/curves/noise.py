"""Estimates the noise of a curve from the curve itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

Floats = NDArray[np.float64]

_WINDOW = 101  # number of values over which the noise is assumed to be constant
_TO_DEVIATION = 1.4826  # ratio of standard and median absolute deviation of a normal distribution
_QUARTER = 0.3186  # the lower quartile of the absolute values of a standard normal distribution
_FEW = 128  # with fewer values, the curve is not smooth from one to the next
_LEAST = 1e-7  # minimum noise, that of float32


@dataclass(frozen=True)
class Noise:
    """The noise of a curve.

    Attributes:
        here: The standard deviation at each value, (n,).
        usual: The median of these deviations.
        correlation: The correlation of the noise of neighbouring values, at least 0.
    """

    here: Floats
    usual: float
    correlation: float

    @property
    def white(self) -> Floats:
        """The standard deviation at each value if the noise were not correlated, (n,).

        It depends on the values around each one alone; the correlation is that of the whole curve.
        """
        spread = 6 - 8 * self.correlation + 2 * self.correlation**2
        deviation: Floats = self.here * np.sqrt(spread / 6)
        return deviation

    @property
    def inflation(self) -> float:
        """The variance of a mean of n values relative to that of n independent values."""
        return (1 + self.correlation) / (1 - self.correlation)


def estimate_noise(values: Floats) -> Noise:
    """Estimates the noise around a smooth curve.

    The second differences of a smooth curve are small, so those of the values come from noise. Its
    standard deviation is their median absolute deviation over sqrt(6 - 8 r + 2 r²), for noise with
    correlation r. The correlation is estimated from second differences of lags 1 and 2: for white
    noise both have the same spread; for correlated noise the second spread is larger.

    Args:
        values: The curve on its reading scale, including spikes, (n,).
    """
    if len(values) < 5:
        flat = np.full(len(values), _LEAST)
        return Noise(flat, _LEAST, 0.0)
    second = np.abs(values[:-2] - 2 * values[1:-1] + values[2:])
    wide = np.abs(values[:-4] - 2 * values[2:-2] + values[4:])
    size = min(_WINDOW, len(second) | 1)
    local = median_filter(second, size=size, mode="reflect")
    correlation = _correlation(second, wide, local)
    spread = float(np.sqrt(6 - 8 * correlation + 2 * correlation**2))
    local = local * _TO_DEVIATION / spread
    usual = max(float(np.median(second)) * _TO_DEVIATION / spread, _LEAST)
    if len(values) < _FEW:  # half of the differences may come from the curve itself
        quarter = float(np.quantile(second, 0.25)) / _QUARTER / spread
        usual = max(min(usual, quarter), _LEAST)
        local = np.full(len(second), usual)
    # A lower bound for stretches without noise: a twentieth of the median noise.
    here = np.concatenate([local[:1], local, local[-1:]])
    return Noise(np.maximum(here, max(0.05 * usual, _LEAST)), usual, correlation)


def _correlation(second: Floats, wide: Floats, local: Floats) -> float:
    """The AR(1) coefficient r that fits the spreads of second differences at lags 1 and 2.

    Their variances are 6 - 8 r + 2 r² and 6 - 8 r² + 2 r⁴ times that of the noise. Each difference
    counts relative to the median of those around it, where that is not zero: an accuracy of 1 has
    no noise, and would hide the correlation of that before.
    """
    inside = slice(1, len(second) - 1)
    scale = local[inside]
    noisy = scale > _LEAST
    if noisy.sum() < 3:
        return 0.0
    narrow = float(np.median(second[inside][noisy] / scale[noisy]))
    return correlation_of(narrow, float(np.median(wide[noisy] / scale[noisy])))


def correlation_of(narrow: float, broad: float) -> float:
    """The AR(1) coefficient for median absolute second differences of lags 1 and 2."""
    if narrow <= 0:
        return 0.0
    ratio = (broad / narrow) ** 2
    grid = np.linspace(0, 0.8, 81)
    expected = (6 - 8 * grid**2 + 2 * grid**4) / (6 - 8 * grid + 2 * grid**2)
    return float(grid[np.argmin(np.abs(expected - ratio))])
