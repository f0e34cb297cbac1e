"""Whether an axis is logarithmic."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ablab.read.bands import Band, SeedCurve
from ablab.read.measures import ENDED
from ablab.store.metrics import column_labels
from ablab.store.store import RunRecord

_Line = TypeVar("_Line", Band, SeedCurve)

_WIDE_RANGE = 30.0  # ratio of values above which an axis is logarithmic


_UNEVEN = 8.0  # ratio of last steps above which the shorter curves would be squeezed


def planned_ends(runs: Sequence[RunRecord]) -> dict[str, int]:
    """The step at which each variant's curve will end, by label of the variant.

    It is that to which a run is to be trained, and for one that has ended its last step.
    """
    ends: dict[str, int] = {}
    for run, label in zip(runs, column_labels(runs), strict=True):
        end = run.step if run.status in ENDED else run.steps
        ends[label] = max(end, ends.get(label, 0))
    return ends


def is_uneven(bands: Sequence[Band], planned: Mapping[str, int] | None = None) -> bool:
    """Whether some curves are so much longer than others that steps need a logarithmic axis.

    Args:
        bands: The curves, which can be those of runs that go on.
        planned: The step at which each curve will end, by label of the variant; by default, the
            last step so far.
    """
    ends = [(planned or {}).get(band.label, band.steps[-1]) for band in bands if band.steps]
    begun = any(band.steps[-1] > 0 for band in bands if band.steps)
    return begun and min(ends) > 0 and max(ends) / min(ends) > _UNEVEN


def after_start(bands: Sequence[Band]) -> list[Band]:
    """The curves without step 0, which a logarithmic axis of steps cannot show.

    A curve that has only this step is left out.
    """
    return [
        replace(_positive(band), seeds=[_positive(seed) for seed in band.seeds])
        for band in bands
        if band.steps and band.steps[-1] > 0
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
