"""The scale on which a curve is read: logarithmic if it is positive, else linear."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablab.tasks.config import Direction

Floats = NDArray[np.float64]

# Columns that ablab's own tasks declare, for curves whose direction is not given.
_HIGHER = frozenset(
    f"{part}{name}"
    for part in ("", "train_", "eval_")
    for name in ("accuracy", "sequence_accuracy")
)
_LEAST_RANGE = 0.2  # minimum range of the unit of a share, as an accuracy is
_ZERO = 5e-324  # the smallest positive number


@dataclass(frozen=True)
class Scale:
    """Maps the values of a curve to the scale on which it is read, where an improvement is a fall.

    Attributes:
        logarithmic: Whether the scale is the natural logarithm.
        unit: The unit of a linear scale: half of the curve's range.
        sign: -1 if higher values are better, as for an accuracy.
        least: The value that replaces zeros on a logarithmic scale.
        whole: What changes at the end of the curve are multiplied by: 2 on a linear scale, whose
            unit is half of the range, and less if the range is that of the noise of a share.
    """

    logarithmic: bool
    unit: float
    sign: float
    least: float
    whole: float = 1.0

    def read(self, values: Floats) -> Floats:
        """Converts values to this scale."""
        if self.logarithmic:
            return np.log(np.maximum(values, self.least))
        return self.sign * values / self.unit

    def value(self, read: float) -> float:
        """Converts a value on this scale back."""
        return float(np.exp(read)) if self.logarithmic else float(self.sign * read * self.unit)


def direction_of(column: str) -> Direction:
    """The direction of a column that the built-in tasks measure; of any other, ``lower``.

    ``eval_accuracy/digit_0`` is a part of ``eval_accuracy``. Nothing else is inferred from a name.
    """
    return "higher" if column.split("/", maxsplit=1)[0] in _HIGHER else "lower"


def scale_of(values: Floats, direction: Direction) -> Scale:
    """The scale for a curve: logarithmic if no value is negative and few are zero.

    Args:
        values: The finite values of the curve, (n,).
        direction: ``higher`` if higher values are better; such a curve gets a linear scale with
            reversed sign.
    """
    rises = direction == "higher"
    positive = values[values > 0]
    if not rises and values.min() >= 0 and len(positive) > 0.5 * len(values):
        # A value that float32 rounded to zero is taken to be just below the smallest positive one.
        return Scale(True, 1.0, 1.0, max(float(positive.min()) / 2, _ZERO))
    low, high = np.quantile(values, [0.005, 0.995])
    span = float(high - low)
    whole = 2.0
    # The noise of a share that stays where it is has no parts.
    if rises and low >= 0 and high <= 1 and span < _LEAST_RANGE:
        span, whole = _LEAST_RANGE, 0.5
    unit = span / 2 or float(np.abs(values).max()) or 1.0
    return Scale(False, unit, -1.0 if rises else 1.0, 0.0, whole)
