"""Whether an axis is logarithmic."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from ablab.read.bands import Band, SeedCurve

_Line = TypeVar("_Line", Band, SeedCurve)

_WIDE_RANGE = 30.0  # ratio of values above which an axis is logarithmic


_UNEVEN = 8.0  # ratio of last steps above which the shorter curves would be squeezed


def is_uneven(bands: Sequence[Band]) -> bool:
    """Whether some curves are so much longer than others that steps need a logarithmic axis."""
    ends = [band.steps[-1] for band in bands if band.steps]
    return bool(ends) and min(ends) > 0 and max(ends) / min(ends) > _UNEVEN


def after_start(bands: Sequence[Band]) -> list[Band]:
    """The curves without step 0, which a logarithmic axis of steps cannot show."""
    return [
        replace(_positive(band), seeds=[_positive(seed) for seed in band.seeds]) for band in bands
    ]


def _positive(line: _Line) -> _Line:
    first = sum(step <= 0 for step in line.steps)
    return replace(
        line,
        steps=line.steps[first:],
        values=line.values[first:],
        low=line.low[first:],
        high=line.high[first:],
    )


def is_wide(bands: Sequence[Band]) -> bool:
    """Whether the values span a range that needs a logarithmic axis."""
    values = [value for band in bands for value in band.values]
    return bool(values) and min(values) > 0 and max(values) / min(values) > _WIDE_RANGE
