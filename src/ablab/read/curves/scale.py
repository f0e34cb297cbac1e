"""The scale on which a curve is read: logarithmic where it is positive."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ZERO = 1e-45  # below every positive number of float32


@dataclass(frozen=True)
class Scale:
    """From a curve's values to those on which it is read, in which a fall is a fall.

    Attributes:
        logarithmic: Whether the curve is read in its natural logarithm.
        unit: What counts as 1 otherwise: a quarter of the curve's range.
        sign: -1 for what gets better by growing, as an accuracy.
        least: What a zero is taken for, where the scale is logarithmic.
    """

    logarithmic: bool
    unit: float
    sign: float
    least: float

    def read(self, values: Floats) -> Floats:
        """The values on this scale."""
        if self.logarithmic:
            return np.log(np.maximum(values, self.least))
        return self.sign * values / self.unit

    def value(self, read: float) -> float:
        """The value that is read so."""
        return float(np.exp(read)) if self.logarithmic else float(self.sign * read * self.unit)


def scale_of(values: Floats, column: str) -> Scale:
    """The scale for a curve: its logarithm where no value is negative and few are zero.

    Args:
        values: Its finite values.
        column: Its name; an accuracy is read downwards and on a linear scale.
    """
    rises = "accuracy" in column
    positive = values[values > 0]
    if not rises and values.min() >= 0 and len(positive) > 0.5 * len(values):
        # What float32 rounded to zero lies just below the smallest number that it did not.
        return Scale(True, 1.0, 1.0, max(float(positive.min()) / 2, _ZERO))
    low, high = np.quantile(values, [0.005, 0.995])
    unit = float(high - low) / 4 or float(np.abs(values).max()) or 1.0
    return Scale(False, unit, -1.0 if rises else 1.0, 0.0)
