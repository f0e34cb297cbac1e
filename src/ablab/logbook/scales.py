"""The scale of an axis."""

from collections.abc import Sequence

from ablab.read.bands import Band

_WIDE_RANGE = 30.0  # ratio of values above which an axis is logarithmic


def is_wide(bands: Sequence[Band]) -> bool:
    """Whether the values span a range that needs a logarithmic axis."""
    values = [value for band in bands for value in band.values]
    return bool(values) and min(values) > 0 and max(values) / min(values) > _WIDE_RANGE
