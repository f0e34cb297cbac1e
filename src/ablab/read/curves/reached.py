"""When a curve reaches a value: for the measures of runs and for two curves read together."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ablab.read.curves.scale import Floats
from ablab.tasks.config import Direction

_CALM = 15  # number of values in the running mean that suppresses noise


def calm(steps: Floats, values: Floats, column: str) -> Floats:
    """The running mean of 15 values if the column is the training loss at every step, else values.

    Args:
        steps: The steps, (n,).
        values: The values, (n,).
        column: The name of the column.
    """
    dense = len(values) > 2 * _CALM and np.median(np.diff(steps)) <= 1
    if not dense or not column.startswith("train_loss"):
        return values
    padded = np.pad(values, _CALM // 2, mode="edge")
    means: Floats = sliding_window_view(padded, _CALM).mean(axis=1)
    return means


def reached(steps: Floats, calm: Floats, value: float, direction: Direction) -> float | None:
    """The first step at which a curve is at a value or better; None if it never is.

    Args:
        steps: The steps, (n,).
        calm: The values without noise, as :func:`calm` gives them, (n,).
        value: The value.
        direction: Which values are better.
    """
    there = calm >= value if direction == "higher" else calm <= value
    return float(steps[int(np.argmax(there))]) if there.any() else None
