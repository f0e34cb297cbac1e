"""How much a curve scatters from step to step, from the curve itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

Floats = NDArray[np.float64]

_WINDOW = 101  # values, over which the scatter is taken to be the same
_TO_DEVIATION = 1.4826  # of a normal's median absolute deviation
_LEAST = 1e-7  # of the scatter, as float32 has it


@dataclass(frozen=True)
class Noise:
    """A curve's scatter.

    Attributes:
        here: The standard deviation at each value.
        usual: Its median.
        correlation: Of one value's noise with the next one's, 0 at least.
    """

    here: Floats
    usual: float
    correlation: float

    @property
    def inflation(self) -> float:
        """The variance of a mean of n values, times n over that of one value."""
        return (1 + self.correlation) / (1 - self.correlation)


def estimate_noise(values: Floats) -> Noise:
    """The scatter around a smooth curve.

    A smooth curve's second differences are small, so those of the values are the noise's: their
    median absolute deviation over sqrt(6 - 8 r + 2 r²) for noise of correlation r. The correlation
    is that of the differences between values one and two steps apart: of white noise both have the
    same spread, of correlated noise the second has more.

    Args:
        values: The curve on the scale on which it is read, spikes and all.
    """
    if len(values) < 5:
        flat = np.full(len(values), _LEAST)
        return Noise(flat, _LEAST, 0.0)
    second = np.abs(values[:-2] - 2 * values[1:-1] + values[2:])
    wide = np.abs(values[:-4] - 2 * values[2:-2] + values[4:])
    correlation = _correlation(second, wide)
    spread = float(np.sqrt(6 - 8 * correlation + 2 * correlation**2))
    size = min(_WINDOW, len(second) | 1)
    local = median_filter(second, size=size, mode="reflect") * _TO_DEVIATION / spread
    usual = max(float(np.median(second)) * _TO_DEVIATION / spread, _LEAST)
    # Where some stretch is dead still, a fifth of the usual scatter counts.
    here = np.concatenate([local[:1], local, local[-1:]])
    return Noise(np.maximum(here, max(0.05 * usual, _LEAST)), usual, correlation)


def _correlation(second: Floats, wide: Floats) -> float:
    """The AR(1) coefficient r that explains the spreads of second differences at lags 1 and 2.

    Their variances are 6 - 8 r + 2 r² and 6 - 8 r² + 2 r⁴ (in the noise's own).
    """
    narrow, broad = float(np.median(second)), float(np.median(wide))
    if narrow <= 0:
        return 0.0
    ratio = (broad / narrow) ** 2
    grid = np.linspace(0, 0.8, 81)
    expected = (6 - 8 * grid**2 + 2 * grid**4) / (6 - 8 * grid + 2 * grid**2)
    return float(grid[np.argmin(np.abs(expected - ratio))])
