"""Whether an axis is logarithmic."""

from collections.abc import Sequence

from ablab.read.bands import Band

_WIDE_RANGE = 30.0  # ratio of values above which an axis is logarithmic


_UNEVEN = 8.0  # ratio of last steps above which the shorter curves would be squeezed


def is_uneven(bands: Sequence[Band]) -> bool:
    """Whether some curves are so much longer than others that steps need a logarithmic axis."""
    ends = [band.steps[-1] for band in bands if band.steps]
    return bool(ends) and min(ends) > 0 and max(ends) / min(ends) > _UNEVEN


def is_wide(bands: Sequence[Band]) -> bool:
    """Whether the values span a range that needs a logarithmic axis."""
    values = [value for band in bands for value in band.values]
    return bool(values) and min(values) > 0 and max(values) / min(values) > _WIDE_RANGE
