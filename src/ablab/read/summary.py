"""The final values of each variant: the median and the range over its seeds."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ablab.config.wording import counted
from ablab.store.metrics import experiment_metrics, experiment_runs, unwatched_columns
from ablab.store.records import finite
from ablab.store.store import ExperimentRecord, RunRecord, Store

MEASURES = ("train_loss", "eval_loss", "eval_accuracy", "eval_sequence_accuracy")


@dataclass(frozen=True)
class Spread:
    """A number over several seeds.

    As text, the median with the lowest and the highest value: a mean of runs that learn and runs
    that do not describes no run.

    Attributes:
        values: The finite values, one per seed.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean."""
        return statistics.fmean(self.values)

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation; None for a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        low, high = _number(min(self.values)), _number(max(self.values))
        return low if low == high else f"{_number(self.median)} [{low}, {high}]"

    def as_data(self) -> dict[str, Any]:
        """The spread as plain data."""
        return {
            "median": self.median,
            "mean": self.mean,
            "deviation": self.deviation,
            "min": min(self.values),
            "max": max(self.values),
            "seeds": len(self.values),
        }


@dataclass(frozen=True)
class Final:
    """The final value of a column of a run, and the step that it is of."""

    value: float
    step: int


@dataclass(frozen=True)
class VariantSummary:
    """The final results of a variant.

    Attributes:
        keys: The variant's keys and values.
        statuses: The number of its runs with each status.
        n_params: The number of parameters of its model.
        steps: The smallest and the largest step that its runs reached.
        measures: The final value of each available measure.
        early: For each run whose last evaluation came before its last step, by how many steps.
        ended: The number of its runs that finished or were stopped, of which the measures are.
        unevaluated: How many of these have no evaluation.
    """

    keys: dict[str, Any]
    statuses: dict[str, int]
    n_params: int | None
    steps: tuple[int, int]
    measures: dict[str, Spread]
    early: tuple[int, ...] = ()
    ended: int = 0
    unevaluated: int = 0

    def as_data(self) -> dict[str, Any]:
        """The summary as plain data."""
        return {
            "variant": self.keys,
            "statuses": self.statuses,
            "n_params": self.n_params,
            "steps": list(self.steps),
            **{name: spread.as_data() for name, spread in self.measures.items()},
        }


def summarise(store: Store, record: ExperimentRecord) -> list[VariantSummary]:
    """Summarises each variant, in the grid's order; measures use finished and stopped runs only."""
    records = experiment_runs(store, record)
    metrics = experiment_metrics(store, record, unwatched_columns)
    last = final_values(metrics, {run.run: run.step for run in records})
    variants: dict[str, list[RunRecord]] = {}
    for run in records:
        variants.setdefault(str(run.variant), []).append(run)
    return [_summary(runs, last) for runs in variants.values()]


def last_values(metrics: pl.DataFrame, ends: dict[str, int]) -> dict[str, dict[str, float]]:
    """The measures at the end of each run, by run id; missing and non-finite ones are left out.

    The training loss is the mean over the last logging interval, because a single batch is noisy.

    Args:
        metrics: A row for each run and step.
        ends: The last step of each run, by run id.
    """
    present = [name for name in MEASURES if name in metrics.columns and name != "train_loss"]
    table = pl.DataFrame({"run": list(ends), "_end": list(ends.values())})
    frame = metrics.join(table, on="run").filter(pl.col("step") <= pl.col("_end"))
    result: dict[str, dict[str, float]] = {run: {} for run in ends}
    for row in frame.filter(pl.col("step") == pl.col("_end")).iter_rows(named=True):
        values = {name: finite(row[name]) for name in present}
        result[row["run"]] = {name: v for name, v in values.items() if v is not None}
    if "train_loss" in frame.columns:
        for run, mean in _last_interval(frame).iter_rows():
            if (value := finite(mean)) is not None:
                result[run] = {"train_loss": value} | result[run]
    return result


def final_values(metrics: pl.DataFrame, ends: dict[str, int]) -> dict[str, dict[str, Final]]:
    """The final measures of each run, by run id: held-out ones are those of its last evaluation.

    A measure whose last value is not finite is left out, whatever it was before.

    A run has no evaluation at its last step if a stop rule was applied to steps that an experiment
    without one had trained.

    Args:
        metrics: A row for each run and step.
        ends: The last step of each run, by run id.
    """
    found = {
        run: {name: Final(value, ends[run]) for name, value in values.items()}
        for run, values in last_values(metrics, ends).items()
    }
    table = pl.DataFrame({"run": list(ends), "_end": list(ends.values())})
    frame = metrics.join(table, on="run").filter(pl.col("step") <= pl.col("_end"))
    for name in (each for each in MEASURES if each in frame.columns and each != "train_loss"):
        known = frame.filter(pl.col(name).is_not_null()).sort("step").group_by("run")
        for run, step, last in known.agg(pl.col("step", name).last()).iter_rows():
            if (value := finite(last)) is not None:
                found[run].setdefault(name, Final(value, step))
    return found


def early_words(finals: Mapping[str, Mapping[str, Final]], ends: Mapping[str, int]) -> str:
    """Which evaluation final values are of, if that is not the last step of every run; else empty.

    Args:
        finals: The final values, as :func:`final_values` gives them.
        ends: The last step of each run, by run id.
    """
    steps = {run: step for run, found in finals.items() if (step := _evaluated(found)) is not None}
    if not steps:
        return ""
    early = [ends[run] - step for run, step in steps.items() if step < ends[run]]
    return _early(early, len(finals), len(finals) - len(steps))


def _evaluated(found: Mapping[str, Final]) -> int | None:
    """The step of a run's last evaluation; None without any."""
    return max((each.step for name, each in found.items() if name != "train_loss"), default=None)


def _early(early: Sequence[int], runs: int, without: int = 0) -> str:
    if not early and not without:
        return ""
    on_time = runs - len(early) - without
    steps = counted(max(early, default=0), "step")
    if runs == 1 and early:
        told = [f"{steps} before its last step"]
    elif not on_time and early:
        told = [f"of {len(early)} of {runs} runs up to {steps} before their last step"]
    else:
        told = [f"of {on_time} of {runs} runs at their last step"]
        told += [f"of {len(early)} up to {steps} earlier"] if early else []
    if without:
        told.append(f"{without} {'has' if without == 1 else 'have'} none")
    return f"Held-out values are of the last evaluation that each run has: {', '.join(told)}."


def early_note(summaries: Sequence[VariantSummary]) -> str:
    """The same for summaries of variants."""
    early = [steps for each in summaries for steps in each.early]
    ended = sum(each.ended for each in summaries)
    without = sum(each.unevaluated for each in summaries)
    return _early(early, ended, without) if without < ended else ""


def _last_interval(frame: pl.DataFrame) -> pl.DataFrame:
    """The mean training loss of each run over the steps after its second-to-last logged step."""
    logged = pl.col("lr").is_not_null() if "lr" in frame.columns else pl.lit(False)
    before = (
        frame.filter(logged & (pl.col("step") < pl.col("_end")))
        .group_by("run")
        .agg(pl.col("step").max().alias("_before"))
    )
    interval = frame.join(before, on="run", how="left").filter(
        pl.col("step") > pl.col("_before").fill_null(0)
    )
    return interval.group_by("run").agg(pl.col("train_loss").mean())


def table(summaries: Sequence[VariantSummary]) -> tuple[list[str], list[list[str]]]:
    """Summaries as the header and rows of a text table."""
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


def _summary(runs: list[RunRecord], last: dict[str, dict[str, Final]]) -> VariantSummary:
    statuses = [record.status for record in runs]
    ended = [record for record in runs if record.status in ("finished", "stopped")]
    measures = {}
    for name in MEASURES:
        values = tuple(last[record.run][name].value for record in ended if name in last[record.run])
        if values:
            measures[name] = Spread(values)
    steps = [record.step for record in runs]
    evaluated = [(record.step, _evaluated(last[record.run])) for record in ended]
    held_out = [end - step for end, step in evaluated if step is not None]
    return VariantSummary(
        runs[0].variant,
        {status: statuses.count(status) for status in dict.fromkeys(statuses)},
        next((record.n_params for record in runs if record.n_params), None),
        (min(steps), max(steps)),
        measures,
        tuple(each for each in held_out if each),
        len(ended),
        len(ended) - len(held_out),
    )


def _number(value: float) -> str:
    """A number in three significant digits, trailing zeros included."""
    return f"{value:#.3g}" if abs(value) < 1000 else f"{value:,.0f}"
