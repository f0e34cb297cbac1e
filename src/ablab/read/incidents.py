"""Analyses a flight record: which statistics deviated first."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

_CALM = 0.5  # the first half of the steps before the incident defines the usual range
_FAR = 8.0  # a statistic deviates if it is this many usual spreads away
_FLOOR = 1e-2  # minimum spread, as a fraction of the statistic's absolute median
_NEEDED = 6  # minimum number of calm steps
_LEAST_FACTOR = 1.5  # a change by less, however unusual, explains no incident


@dataclass(frozen=True)
class Moved:
    """A statistic that left its usual range before an incident and did not return to it.

    Attributes:
        name: The name of the statistic.
        step: The step from which it stayed outside its usual range until the incident.
        score: Its deviation at the incident, in usual spreads.
        usual: Its median over the calm steps.
        value: Its value at the incident, or at the last step before it that was recorded.
        at: The step of that value.
    """

    name: str
    step: int
    score: float
    usual: float
    value: float
    at: int


def moved_first(record: pl.DataFrame, incident: int) -> list[Moved]:
    """The statistics that deviated before an incident, earliest first.

    The usual value is a line fitted to the first half of the steps before the incident. The usual
    spread is the median distance from that line (scaled to the standard deviation of a normal
    distribution), but at least a hundredth of the statistic's absolute median. A statistic
    deviates from the step after which it stays more than eight spreads away until the incident. Of
    statistics that deviate from the same step, the one with the largest deviation comes first. A
    value that is not finite counts as a deviation; one that is within a factor of 1.5 of the usual
    value does not.

    Args:
        record: One row per step, with ``step``, ``train_loss`` and statistics.
        incident: The step of the incident.
    """
    frame = record.filter(pl.col("step") <= incident).sort("step")
    steps = frame["step"].to_numpy()
    calm = int((steps < incident).sum() * _CALM)
    if calm < _NEEDED:
        return []
    names = [name for name in frame.columns if name != "step"]
    values = frame.select(pl.col(names).cast(pl.Float64).fill_null(np.nan)).to_numpy()  # (steps, n)
    known = np.isfinite(values[:calm]).all(0)
    names = [name for name, own in zip(names, known, strict=True) if own]
    found = _moved(names, values[:, known], steps, calm) if names else []
    return sorted(found, key=lambda each: (each.step, -each.score))


def _moved(
    names: list[str], values: NDArray[np.float64], steps: NDArray[np.int64], calm: int
) -> list[Moved]:
    """The statistics that left their usual range, of columns whose calm steps are finite."""
    usual = values[:calm]
    medians = np.median(usual, axis=0)
    # A steady drift is not a deviation: the usual range follows the line of the calm steps.
    slopes, starts = np.polyfit(np.arange(calm), usual, 1)
    expected = starts + slopes * np.arange(len(values))[:, None]
    spreads = 1.4826 * np.median(np.abs(usual - expected[:calm]), axis=0)
    spreads = np.maximum(spreads, np.maximum(_FLOOR * np.abs(medians), np.finfo(np.float32).tiny))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(values - expected) / spreads
    apart[~np.isfinite(apart)] = np.inf
    inside = apart <= _FAR
    changed = _changed(values[-1], medians) & _changed(values[-1], expected[-1])
    first = np.where(inside.any(0), len(values) - np.argmax(inside[::-1], axis=0), 0)
    return [
        Moved(
            names[place],
            int(steps[first[place]]),
            float(apart[-1, place]),
            float(medians[place]),
            float(values[-1, place]),
            int(steps[-1]),
        )
        for place in np.flatnonzero(~inside[-1] & changed)
    ]


def _changed(values: NDArray[np.float64], usual: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each value differs from its usual value in sign, or by the least factor, (n,)."""
    least, most = np.sort(np.abs([values, usual]), axis=0)
    changed: NDArray[np.bool_] = (values * usual <= 0) | ~(most < _LEAST_FACTOR * least)
    return changed
