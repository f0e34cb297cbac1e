"""The numeric setting of a grid, against which a measure is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isclose, isfinite, log
from typing import Any

from ablab.experiments.short_names import differing_keys, setting_name, short_keys
from ablab.logbook.variant_values import VariantValues

_FEWEST = 3  # numbers; with fewer, there is no shape to see
_LINES = 4  # with more combinations of the other settings, lines would hide each other
_STEADY = 0.02  # relative tolerance within which steps are equal factors
_SPREAD = 0.11  # of the smallest distance between two values, for the runs of different lines


@dataclass(frozen=True)
class Line:
    """The variants with equal other settings: their name, and each variant with its number."""

    name: str
    points: list[tuple[float, VariantValues]]


@dataclass(frozen=True)
class NumericSetting:
    """A numeric setting with at least three values.

    Attributes:
        key: Its short name.
        values: Its values, in increasing order.
        geometric: Whether an axis of the values should be logarithmic.
        lines: The variants, by the values of the other settings.
    """

    key: str
    values: list[float]
    geometric: bool
    lines: list[Line]

    def moved(self, value: float, line: int) -> float:
        """Where to draw a value of a line, so that the runs of different lines stay apart."""
        steps = line - (len(self.lines) - 1) / 2
        if self.geometric:
            nearest = min(log(b / a) for a, b in pairwise(self.values))
            factor: float = 2.718281828 ** (_SPREAD * nearest * steps)
            return value * factor
        return value + _SPREAD * min(b - a for a, b in pairwise(self.values)) * steps


def numeric_setting(variants: Sequence[VariantValues]) -> NumericSetting | None:
    """The numeric setting with the most values, if there are at least three.

    None if there is none, or if the other settings have too many combinations for lines.
    """
    keys = differing_keys([row.keys for row in variants])
    numbers = {key: [as_number(row.keys.get(key)) for row in variants] for key in keys}
    counts = {
        key: len(set(found))
        for key, found in numbers.items()
        if all(each is not None for each in found)
    }
    key = max(counts, key=lambda each: counts[each], default=None)
    if key is None or counts[key] < _FEWEST:
        return None
    others = [each for each in keys if each != key]
    short = short_keys(keys)
    groups: dict[str, list[tuple[float, VariantValues]]] = {}
    for row, number in zip(variants, numbers[key], strict=True):
        assert number is not None, "counted above"
        name = ", ".join(
            setting_name(short[each], row.keys[each], len(others) == 1) for each in others
        )
        groups.setdefault(name, []).append((number, row))
    if len(groups) > _LINES:
        return None
    lines = [
        Line(name, sorted(found, key=lambda point: point[0])) for name, found in groups.items()
    ]
    values = sorted({each for each in numbers[key] if each is not None})
    return NumericSetting(short[key], values, is_geometric(values), lines)


def is_geometric(values: Sequence[float]) -> bool:
    """Whether increasing numbers grow by equal factors, or span a factor of more than 30."""
    if values[0] <= 0:
        return False
    factors = [after / before for before, after in pairwise(values)]
    steady = all(isclose(factor, factors[0], rel_tol=_STEADY) for factor in factors)
    return (steady and factors[0] >= 1.5) or values[-1] / values[0] > 30


def as_number(value: Any) -> float | None:
    """A value, or the label of a bundle, as a number; None if it is none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if isfinite(found) else None
