"""Scalars in short: by variant, in the untrained model and after the last step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import polars as pl

from ablab.analysis.finding import Findings
from ablab.read.statistics.array import Array
from ablab.read.statistics.groups import LEAST_GAP, LOGARITHMIC, notice_cut
from ablab.read.statistics.scales import Statistic, average, median_interval
from ablab.store.scalar_records import first_match
from ablab.tasks.config import Limits

_SHOWN = 8  # scalars by default


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
            ends, of skewed values or those of a range that begins at zero, if all are positive, and
            of values in two groups; else the mean (:mod:`ablab.read.statistics.scales`).
        interval: The 95% interval of the average, within the declared range; None with one run, if
            all values are equal, or if they fall into two groups. It is computed on the scale of
            the range; if the median is not in it, from the order of the values.
        groups: How many values are below the cut between two groups, and the cut, if they fall
            into two (:mod:`ablab.read.statistics.groups`).
    """

    median: float
    mean: float
    lowest: float
    highest: float
    runs: int
    statistic: Statistic
    interval: tuple[float, float] | None
    groups: tuple[int, float] | None = None

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
    variants = found.variants()
    labels = [label for label, _ in variants]
    of_cells = [own.filter(pl.col("run").is_not_null()) for _, own in variants]
    rows: dict[tuple[str, str], ScalarSummary] = {}
    for name in chosen:
        ends = first_match(limits or {}, name)
        own = [_ends(variant.filter(pl.col("name") == prefix + name)) for variant in of_cells]
        cuts = _cut([each[0] for each in own], ends), _cut([each[1] for each in own], ends)
        for label, variant, (before, after, steps) in zip(labels, of_cells, own, strict=True):
            rows[label, name] = ScalarSummary(
                label, name, _range(before, ends, cuts[0]), _range(after, ends, cuts[1]),
                variant["run"].n_unique(), steps,
            )  # fmt: skip
    ordered = [rows[label, name] for label in labels for name in chosen]
    return ordered, len(names) - len(chosen)


def _ends(values: pl.DataFrame) -> tuple[Array, Array, tuple[int, int]]:
    """The values of untrained models, those after each run's last step, and the last steps."""
    last = values.filter(pl.col("step") == pl.col("step").max().over("run"))
    first, trained = values.filter(pl.col("step") == 0), last.filter(pl.col("step") > 0)
    steps = last["step"].unique().sort().to_list() or [0]
    known = [each["value"].drop_nulls().sort().to_numpy() for each in (first, trained)]
    return known[0], known[1], (steps[0], steps[-1])


def _cut(of_cells: Sequence[Array], limits: Limits | None) -> float:
    """The cut between two groups of values, by the rule of effects; NaN if there are none."""
    most = max(map(len, of_cells))
    if not most:
        return math.nan
    table = np.full((len(of_cells), most), np.nan)
    for row, values in zip(table, of_cells, strict=True):
        row[: len(values)] = values
    low, high = limits or (None, None)
    if low is not None and high is not None:
        return float(notice_cut(table, LEAST_GAP * (high - low)))
    least, greatest = np.nanmin(table), np.nanmax(table)
    if least > 0 and greatest / least > LOGARITHMIC:
        return float(np.exp(notice_cut(np.log(table))))
    return float(notice_cut(table))


def _range(values: Array, limits: Limits | None, cut: float) -> Range | None:
    if not len(values):
        return None
    low, high = limits or (None, None)
    ends = (-math.inf if low is None else low, math.inf if high is None else high)
    found = average(values, None if limits is None else ends)
    statistic, interval, groups = found.statistic, found.interval, None
    below = int((values < cut).sum())
    if 0 < below < len(values):  # a mean over both groups describes no run
        statistic, interval, groups = "median", None, (below, cut)
    median = float(np.median(values))
    if statistic == "median" and interval and not interval[0] <= median <= interval[1]:
        interval = median_interval(values)
    return Range(
        median, float(values.mean()), float(values[0]), float(values[-1]), len(values),
        statistic, interval, groups,
    )  # fmt: skip
