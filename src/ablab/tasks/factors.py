"""Factors: named labels of samples, in a few classes. Does not import torch.

A task declares the names of its factors and of their values in its configuration
(:attr:`ablab.tasks.config.TaskConfig.factors`), and labels samples in
:meth:`ablab.tasks.base.Task.factors`.
"""

import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

DOES_NOT_APPLY = -1
"""The label of a sample or position to which a factor does not apply."""
MAX_VALUES = 64  # each value is a column of the metrics for every measure
_FACTOR = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_VALUE = re.compile(r"[\w-]+", re.ASCII)
_COLUMN = re.compile(rf"(eval_\w+)/({_FACTOR.pattern})\.({_VALUE.pattern})", re.ASCII)

NO_YES = ("no", "yes")


def check_factors(factors: Mapping[str, tuple[str, ...]]) -> None:
    """Checks the names of factors and of their values, which become parts of column names.

    Args:
        factors: The names of the values of each factor, by its name.

    Raises:
        ValueError: A name is not valid, a value occurs twice, or there are too many values.
    """
    for name, values in factors.items():
        if not _FACTOR.fullmatch(name):
            raise ValueError(
                f"factor {name!r} is not a valid name; expected letters, digits and underscores"
            )
        if not values:
            raise ValueError(f"factor {name} has no values")
        if len(values) > MAX_VALUES:
            raise ValueError(f"factor {name} has {len(values)} values; at most {MAX_VALUES}")
        for value in values:
            if not _VALUE.fullmatch(value):
                raise ValueError(
                    f"value {value!r} of factor {name} is not a valid name; expected letters, "
                    f"digits, underscores and hyphens"
                )
            if values.count(value) > 1:
                raise ValueError(f"factor {name} has the value {value} twice")


def column_suffix(factor: str, value: str) -> str:
    """What the name of a measure is followed by in a column: ``/FACTOR.VALUE``."""
    return f"/{factor}.{value}"


def factor_and_value(column: str) -> tuple[str, str, str] | None:
    """The measure, the factor and the value of a column of the metrics; None if it has none.

    ``eval_loss/cascade.2`` is ``("eval_loss", "cascade", "2")``.
    """
    found = _COLUMN.fullmatch(column)
    return None if found is None else (found[1], found[2], found[3])


def octaves(largest: int, first: int = 0) -> tuple[str, ...]:
    """The names of the classes 0, 1, 2-3, 4-7, … up to a number.

    Args:
        largest: The largest number.
        first: The smallest number, 0 or 1.
    """
    names = ["0"] if first == 0 else []
    low = 1
    while low <= largest:
        high = min(2 * low - 1, largest)
        names.append(str(low) if low == high else f"{low}-{high}")
        low *= 2
    return tuple(names)


def octave_of(numbers: Int[np.ndarray, "..."]) -> NDArray[np.int64]:
    """The class of each number among 0, 1, 2-3, 4-7, …: the number of its binary digits."""
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64)


def sample_labels(labels: Int[np.ndarray, "..."]) -> NDArray[np.int64]:
    """One label per sample, (B,), from labels of samples or of predicted positions.

    Args:
        labels: Labels of shape (B,), or (B, P) where positions are labelled.

    Returns:
        The label that all labelled positions of a sample share; ``DOES_NOT_APPLY`` if no position
        is labelled or their labels differ.
    """
    if labels.ndim == 1:
        return labels.astype(np.int64)
    highest = labels.max(-1)
    agrees = ((labels == highest[:, None]) | (labels == DOES_NOT_APPLY)).all(-1)
    return np.where(agrees, highest, DOES_NOT_APPLY)


def at_positions(
    labels: Int[np.ndarray, "B P"], tokens: Int[np.ndarray, "B T"], predicted: slice
) -> NDArray[np.int64]:
    """Labels of predicted positions as labels of input positions, (B, T).

    Args:
        labels: Labels of the predicted positions.
        tokens: The input.
        predicted: The positions at which something is predicted (P of them).

    Returns:
        The labels; ``DOES_NOT_APPLY`` at positions at which nothing is predicted.
    """
    found = np.full(tokens.shape, DOES_NOT_APPLY)
    found[:, predicted] = labels
    return found
