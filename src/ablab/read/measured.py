"""Measured values: a number, a step that was not reached, or nothing with its reason."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

Kind = Literal["number", "not before", "none"]

COLUMNS = ("value", "not_before", "reason")
"""The columns of measured values in a table."""

PAUSED = "paused by halving"
"""What the reason of a run that halving paused says."""


def is_paused() -> pl.Expr:
    """Of the rows of a table with measured values: whether halving paused the run."""
    return pl.col("reason").str.contains(PAUSED, literal=True).fill_null(False)


@dataclass(frozen=True)
class Measured:
    """The measured value of one run: exactly one of three kinds, none of which becomes another.

    - *A number*: ``value``. ``reason`` can be a remark about it.
    - *Not before step n*: a step that was looked for and not reached by the run's end, whatever
      ended it. ``not_before`` is that last step: the step looked for is a later one, or there is
      none. For a number of steps (``lag``), it is the number that was exceeded.
    - *None*: ``reason`` says why there is no value.

    Attributes:
        value: The number; None for the other kinds.
        not_before: The last step at which it was looked for; None for the other kinds.
        reason: Why there is no number, or a remark about it.
        broken: Whether there is none because what was measured is infinite or not a number.

    Raises:
        ValueError: It is of two kinds, has no reason for being none, or the number is not finite.
    """

    value: float | None = None
    not_before: int | None = None
    reason: str | None = None
    broken: bool = False

    def __post_init__(self) -> None:
        if self.value is not None and self.not_before is not None:
            raise ValueError("a measured value cannot be a number and a step that was not reached")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"{self.value} is not a measured value; give the reason instead")
        if self.kind == "none" and not self.reason:
            raise ValueError("a measured value that is none needs its reason")

    @property
    def kind(self) -> Kind:
        """Which of the three kinds it is."""
        if self.value is not None:
            return "number"
        return "none" if self.not_before is None else "not before"

    def __str__(self) -> str:
        if self.value is not None:
            return shown(self.value)
        if self.not_before is not None:
            return f"not before step {self.not_before:,}"
        return f"none ({self.reason})"

    def as_data(self) -> dict[str, Any]:
        """The value as plain data: ``value``, ``not_before`` and ``reason``."""
        return {name: getattr(self, name) for name in COLUMNS}


def measured_columns(values: Sequence[Measured]) -> dict[str, pl.Series]:
    """Measured values as the columns of a table: ``value``, ``not_before`` and ``reason``."""
    types = (pl.Float64, pl.Int64, pl.String)
    return {
        name: pl.Series([getattr(each, name) for each in values], dtype=dtype)
        for name, dtype in zip(COLUMNS, types, strict=True)
    }


def shown(value: float) -> str:
    """A number, formatted for tables and sentences."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:.4g}"
