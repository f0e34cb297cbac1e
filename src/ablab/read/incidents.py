"""What a flight record says: which statistic moved first."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

_CALM = 0.5  # of the steps before the incident, from the first, which say what is usual
_FAR = 8.0  # times the usual spread, from which on a statistic has moved
_FLOOR = 1e-2  # of a statistic's size, that counts as its spread at least
_NEEDED = 6  # calm steps, to say anything


@dataclass(frozen=True)
class Moved:
    """A statistic that left its usual range before an incident and did not come back.

    Attributes:
        name: The statistic.
        step: The first step from which on it was out of its range, up to the incident.
        score: How far out it was at the incident, in usual spreads.
        usual: Its median over the calm steps.
        value: Its value at the incident.
    """

    name: str
    step: int
    score: float
    usual: float
    value: float


def moved_first(record: pl.DataFrame, incident: int) -> list[Moved]:
    """The statistics that moved, those that moved first first.

    What is usual is a line through the first half of the steps before the incident; its spread the
    median distance from it (scaled to a normal's standard deviation), and a hundredth of the
    statistic's size at least. A statistic has moved from the first step on after which it stays
    more than eight spreads away until the incident. Of those that moved at the same step the
    farthest comes first. What is not finite is away.

    Args:
        record: A row a step with ``step``, ``train_loss`` and statistics.
        incident: The step at which something happened.
    """
    frame = record.filter(pl.col("step") <= incident).sort("step")
    steps = frame["step"].to_numpy()
    calm = int((steps < incident).sum() * _CALM)
    if calm < _NEEDED:
        return []
    found = []
    for name in frame.columns:
        if name == "step":
            continue
        values = frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        moved = _moved(name, values, steps, calm)
        if moved is not None:
            found.append(moved)
    return sorted(found, key=lambda each: (each.step, -each.score))


def _moved(
    name: str, values: NDArray[np.float64], steps: NDArray[np.int64], calm: int
) -> Moved | None:
    usual = values[:calm]
    if not np.isfinite(usual).all():
        return None
    median = float(np.median(usual))
    # What drifts has not moved: the range goes on along the line of the calm steps.
    slope, start = np.polyfit(np.arange(calm), usual, 1)
    expected = start + slope * np.arange(len(values))
    spread = 1.4826 * float(np.median(np.abs(usual - expected[:calm])))
    spread = max(spread, _FLOOR * abs(median), float(np.finfo(np.float32).tiny))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(values - expected) / spread
    apart[~np.isfinite(apart)] = np.inf
    out = apart > _FAR
    if not out[-1]:
        return None
    inside = np.flatnonzero(~out)
    first = int(inside[-1]) + 1 if len(inside) else 0
    return Moved(name, int(steps[first]), float(apart[-1]), median, float(values[-1]))
