"""Settings from Python as plain data: NumPy's arrays and numbers, ranges, tuples and parts."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from ablab.config.own_parts import import_path


def plain_numbers(value: Any) -> Any:
    """The value with arrays, ranges and tuples as lists, and NumPy's scalars as Python's.

    A number of single or half precision becomes the shortest decimal that stands for it:
    ``np.float32(1e-3)`` is 0.001, and not 0.0010000000474974513. A function or class becomes its
    import path.

    Raises:
        InputError: A function or class cannot be imported.
    """
    if inspect.isclass(value) or inspect.isroutine(value):
        return import_path(value)
    if isinstance(value, Mapping):
        return {plain_numbers(key): plain_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain_numbers(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return plain_numbers(list(value)) if value.ndim else plain_numbers(value[()])
    if isinstance(value, np.float32 | np.float16):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value
