"""A column of each run as a curve: its finite values, and where it has others."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ablab.experiments.measures import Measure
from ablab.store.store import RunRecord


@dataclass(frozen=True)
class RunCurve:
    """A column of a run.

    Attributes:
        steps: The steps at which a finite value was logged, (n,).
        values: These values, (n,).
        last: The run's last step.
        bad: The steps at which another value was logged: NaN, or an infinite one.
    """

    steps: np.ndarray
    values: np.ndarray
    last: int
    bad: np.ndarray = field(default_factory=lambda: np.zeros(0, int))


def run_curves(frame: pl.DataFrame, column: str, runs: Sequence[RunRecord]) -> dict[str, RunCurve]:
    """The curves of a column by run, up to the last step of each; without runs that lack it.

    Args:
        frame: A row for each run and step.
        column: The column.
        runs: The runs.
    """
    if column not in frame.columns:
        return {}
    ends = {run.run: run.step for run in runs}
    last = pl.DataFrame({"run": list(ends), "last": list(ends.values())}, strict=False)
    part = frame.select("run", "step", pl.col(column).cast(pl.Float64)).drop_nulls()
    part = part.join(last, on="run", maintain_order="left")
    part = part.filter(pl.col("step") <= pl.col("last"))
    found = {}
    for (run,), rows in part.group_by("run"):
        steps, values = rows["step"].to_numpy(), rows[column].to_numpy()
        good = np.isfinite(values)
        found[str(run)] = RunCurve(steps[good], values[good], ends[str(run)], steps[~good])
    return found


def not_finite(curve: RunCurve, measure: Measure, end: float | None) -> str | None:
    """Why a run has no value of a measure, if that is of a step whose value is not finite.

    Args:
        curve: The curve.
        measure: The measure, with one curve or the first of two.
        end: The value at the run's end; None if it is not finite, or was not logged there.
    """
    bad, numbers = curve.bad, measure.numbers
    if not len(bad):
        return None
    if not len(curve.steps):
        return f"not finite at step {bad[-1]:,}"
    if measure.function == "final":
        # The training loss is a mean, which one value spoils; of others, a later one counts.
        late = measure.column != "train_loss" and curve.steps[-1] > bad[-1]
        bad = bad[:0] if end is not None or late else bad
    elif measure.function in ("at", "mean"):
        bad = bad[(bad >= numbers[0]) & (bad <= numbers[-1])]
    elif measure.function != "highest":
        return None
    return f"not finite at step {bad[-1]:,}" if len(bad) else None
