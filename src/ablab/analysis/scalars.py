"""The scalars of a finding: what is a number, and how it may be called."""

import math
import re
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

# The letters that the name of a column has in a measure (ablab.experiments.grammar).
_NAME = re.compile(r"[\w./*:-]+")
NAME_LETTERS = "letters, digits and . / * : _ -, so that measures can name the column"


def is_name(name: Any) -> bool:
    """Whether a scalar can be called so: a measure can name its column."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def as_number(value: Any) -> float | None:
    """A number, or an array or a tensor with one element, as a float; None if it is not one.

    A number that is too large for a float is infinite.
    """
    if isinstance(value, Tensor):
        value = _item(value) if value.numel() == 1 and _is_real(value) else None
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 and value.dtype.kind in "biuf" else None
    if not isinstance(value, Real | np.bool_):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value == abs(value) else -math.inf


def described(value: Any) -> str:
    """A value that is not a number, for errors: its shape, or its type."""
    shape = getattr(value, "shape", None)
    if shape is None:
        return type(value).__name__
    if getattr(value, "is_meta", False):
        return "a tensor without values (on the device meta)"
    if math.prod(shape) == 1:
        return f"a value of the type {value.dtype}"
    return f"an array of shape {tuple(shape)}"


def _is_real(value: Tensor) -> bool:
    return not (value.is_complex() or value.is_quantized or value.is_meta)


def _item(value: Tensor) -> Any:
    """The only element of a tensor of any type of number and any layout."""
    return (value if value.layout == torch.strided else value.to_dense()).detach().item()
