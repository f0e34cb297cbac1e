"""The type of the arrays in this room, and their unit."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


def unit_of(values: Array, axes: tuple[int, ...]) -> Array:
    """A unit in which numbers have squares, however large or small they are.

    Args:
        values: Finite numbers, (…).
        axes: The axes of which all numbers have the same unit.

    Returns:
        The power of two at or below the largest absolute value, 1 if all are 0; the axes have
        length 1. Dividing by it rounds nothing.
    """
    top = np.abs(values).max(axis=axes, keepdims=True, initial=0.0)
    _, exponents = np.frexp(top)
    return np.asarray(np.where(top > 0, np.ldexp(1.0, exponents - 1), 1.0))
