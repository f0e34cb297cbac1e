"""Scalars in short: by variant, in the untrained model and after the last step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import polars as pl

from ablab.analysis.finding import Findings
from ablab.experiments.short_names import short_names
from ablab.read.statistics.scales import Statistic, average
from ablab.store.scalar_records import first_match
from ablab.tasks.config import Limits

_SHOWN = 8  # scalars by default
_FRONT = ("run", "seed", "step", "name", "value")


@dataclass(frozen=True)
class Range:
    """The values of a scalar in some runs.

    Attributes:
        median: Their median.
        mean: Their mean.
        lowest: The lowest.
        highest: The highest.
        runs: The number of runs that have a value.
        statistic: Which of the two is their average: the median on the scale of a range with two
            ends, and of skewed values or those of a range that begins at zero, if all are positive;
            else the mean (:mod:`ablab.read.statistics.scales`).
        interval: The 95% interval of the average, within the declared range; None with one run, or
            if all values are equal.
    """

    median: float
    mean: float
    lowest: float
    highest: float
    runs: int
    statistic: Statistic
    interval: tuple[float, float] | None

    @property
    def average(self) -> float:
        """The average that the interval belongs to."""
        return self.of(self.statistic)

    def of(self, statistic: Statistic) -> float:
        """The median or the mean."""
        return self.median if statistic == "median" else self.mean

    def __str__(self) -> str:
        if self.runs == 1:
            return f"{self.median:.4g}"
        return f"{self.median:.4g} [{self.lowest:.4g}, {self.highest:.4g}]"


@dataclass(frozen=True)
class ScalarSummary:
    """A scalar in one variant.

    Attributes:
        variant: The variant, by what differs between variants; empty if there is only one.
        name: The scalar.
        untrained: Its values in the untrained models; None if it has none there.
        trained: Its values after the latest step that was looked at; None if it has none there.
        runs: The number of the variant's runs.
        steps: The latest steps that were looked at, the lowest and the highest over the runs.
    """

    variant: str
    name: str
    untrained: Range | None
    trained: Range | None
    runs: int
    steps: tuple[int, int]

    @property
    def statistic(self) -> Statistic | None:
        """Which average over the runs it is, of trained models if there are any; None of one run.

        Untrained models are averaged in the same way, so that both can be compared.
        """
        if self.runs == 1:
            return None
        known = self.trained or self.untrained
        return "median" if known is None else known.statistic

    @property
    def after(self) -> str:
        """The latest steps that were looked at, in words."""
        low, high = self.steps
        return f"{high:,}" if low == high else f"{low:,} to {high:,}"


def summarise(
    found: Findings,
    headline: Sequence[str] = (),
    limits: Mapping[str, Limits] | None = None,
) -> tuple[list[ScalarSummary], int]:
    """The scalars of each variant, in the untrained models and after the last step.

    Args:
        found: The findings.
        headline: Names or patterns of the scalars; the first eight by default.
        limits: The ranges of scalars, by name or pattern, for intervals.

    Returns:
        The scalars, by variant, and the number of those that were left out.
    """
    frame = found.scalars.filter(pl.col("run").is_not_null())
    prefix = f"analysis/{found.analysis}/"
    names = [name.removeprefix(prefix) for name in frame["name"].unique(maintain_order=True)]
    chosen = [
        name for pattern in headline for name in names if fnmatchcase(name, pattern)
    ] or names[:_SHOWN]
    chosen = list(dict.fromkeys(chosen))
    keys = [column for column in frame.columns if column not in _FRONT]
    cells = frame.select(keys).unique(maintain_order=True).to_dicts() if keys else [{}]
    labels = short_names(cells) if len(cells) > 1 else [""]
    rows = []
    for cell, label in zip(cells, labels, strict=True):
        variant = frame.filter(
            [pl.col(key).eq_missing(pl.lit(value)) for key, value in cell.items()] or True
        )
        runs = variant["run"].n_unique()
        for name in chosen:
            values = variant.filter(pl.col("name") == prefix + name)
            last = values.filter(pl.col("step") == pl.col("step").max().over("run"))
            first = values.filter(pl.col("step") == 0)
            trained = last.filter(pl.col("step") > 0)
            steps = last["step"].unique().sort().to_list() or [0]
            ends = first_match(limits or {}, name)
            both = _range(first, ends), _range(trained, ends)
            rows.append(ScalarSummary(label, name, *both, runs, (steps[0], steps[-1])))
    return rows, len(names) - len(chosen)


def _range(frame: pl.DataFrame, limits: Limits | None) -> Range | None:
    values = sorted(frame["value"].drop_nulls().to_list())
    if not values:
        return None
    low, high = limits or (None, None)
    ends = (-math.inf if low is None else low, math.inf if high is None else high)
    known = np.array(values)
    found = average(known, None if limits is None else ends)
    return Range(
        float(np.median(known)), float(known.mean()), values[0], values[-1], len(values),
        found.statistic, found.interval,
    )  # fmt: skip
