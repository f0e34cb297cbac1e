"""Each variant's last values, with their mean and spread over the seeds."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ablab.store.metrics import experiment_metrics
from ablab.store.store import RunRecord, Store, finite

MEASURES = ("train_loss", "eval_loss", "eval_accuracy", "eval_sequence_accuracy")


@dataclass(frozen=True)
class Spread:
    """A number over several seeds.

    Attributes:
        values: One for each seed that has a finite one.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The sample's standard deviation; None of a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        if self.deviation is None:
            return f"{self.mean:.4g}"
        digits = _digits(self.mean, self.deviation)
        return f"{self.mean:.{digits}f} ± {self.deviation:.{digits}f}"

    def as_data(self) -> dict[str, Any]:
        """The spread as plain data."""
        return {
            "mean": self.mean,
            "deviation": self.deviation,
            "min": min(self.values),
            "max": max(self.values),
            "seeds": len(self.values),
        }


@dataclass(frozen=True)
class VariantSummary:
    """What a variant came to.

    Attributes:
        keys: The axes' keys with this cell's values.
        statuses: How many of its runs have each status.
        n_params: Parameters of its model.
        steps: The steps that its runs reached, fewest and most.
        measures: The last value of each measure that was taken.
    """

    keys: dict[str, Any]
    statuses: dict[str, int]
    n_params: int | None
    steps: tuple[int, int]
    measures: dict[str, Spread]

    def as_data(self) -> dict[str, Any]:
        """The summary as plain data."""
        return {
            "variant": self.keys,
            "statuses": self.statuses,
            "n_params": self.n_params,
            "steps": list(self.steps),
            **{name: spread.as_data() for name, spread in self.measures.items()},
        }


def summarise(store: Store, experiment: str) -> list[VariantSummary]:
    """A summary of each variant, in the grid's order.

    Raises:
        StoreError: The store has no such experiment.
    """
    records = store.runs(experiment)
    last = last_values(experiment_metrics(store, experiment))
    variants: dict[str, list[RunRecord]] = {}
    for record in records:
        variants.setdefault(str(record.variant), []).append(record)
    return [_summary(runs, last) for runs in variants.values()]


def last_values(metrics: pl.DataFrame) -> dict[str, dict[str, float]]:
    """The last value of each measure by run; none where it was never taken or is not finite."""
    present = [name for name in MEASURES if name in metrics.columns]
    table = metrics.group_by("run").agg(
        pl.col(name).sort_by("step").drop_nulls().last() for name in present
    )
    result: dict[str, dict[str, float]] = {}
    for row in table.iter_rows(named=True):
        values = {name: finite(row[name]) for name in present}
        result[row["run"]] = {name: v for name, v in values.items() if v is not None}
    return result


def table(summaries: Sequence[VariantSummary]) -> tuple[list[str], list[list[str]]]:
    """Summaries as the header and the rows of a table, for people."""
    keys = list(dict.fromkeys(key for summary in summaries for key in summary.keys))
    measures = [name for name in MEASURES if any(name in s.measures for s in summaries)]
    if all(s.measures.get("eval_accuracy") == s.measures.get(MEASURES[-1]) for s in summaries):
        measures = [name for name in measures if name != MEASURES[-1]]
    header = [*(keys or ["variant"]), "parameters", "steps", "runs", *measures]
    rows = []
    for summary in summaries:
        cells = [str(summary.keys.get(key, "")) for key in keys] or ["base"]
        cells.append("" if summary.n_params is None else f"{summary.n_params:,}")
        low, high = summary.steps
        cells.append(f"{high:,}" if low == high else f"{low:,} … {high:,}")
        cells.append(", ".join(f"{n} {status}" for status, n in summary.statuses.items()))
        cells += [str(summary.measures.get(name, "")) for name in measures]
        rows.append(cells)
    return header, rows


def _summary(runs: list[RunRecord], last: dict[str, dict[str, float]]) -> VariantSummary:
    statuses = [record.status for record in runs]
    measures = {}
    for name in MEASURES:
        values = tuple(
            last[record.run][name] for record in runs if name in last.get(record.run, {})
        )
        if values:
            measures[name] = Spread(values)
    steps = [record.step for record in runs]
    return VariantSummary(
        runs[0].variant,
        {status: statuses.count(status) for status in dict.fromkeys(statuses)},
        next((record.n_params for record in runs if record.n_params), None),
        (min(steps), max(steps)),
        measures,
    )


def _digits(mean: float, deviation: float) -> int:
    """Decimals that show the deviation to two digits, three to eight of them."""
    small = deviation or abs(mean)
    return 4 if not small else min(8, max(3, 1 - math.floor(math.log10(small))))
