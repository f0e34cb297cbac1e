"""Which values of a factor are learnt first, and where the held-out loss is."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ablab.config.wording import counted
from ablab.experiments.experiment import variant_label
from ablab.read.measure_words import column_words
from ablab.store.metrics import read_runs
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.tasks.factors import factor_and_value

MEASURES = ("eval_loss", "eval_accuracy")
LEARNT = 0.9
"""The held-out accuracy from which on a value counts as learnt."""
IN_A_ROW = 3
"""Evaluations in a row that must reach it, or all that are left: a value can have few samples."""
_ROWS = 2_000_000  # read at a time
FEWEST = 10  # evaluations; with fewer, the order in which values are learnt is not clear


@dataclass(frozen=True)
class FactorColumns:
    """The columns of a measure by the values of a factor.

    Attributes:
        measure: The column of the measure, such as ``eval_loss``.
        factor: The name of the factor.
        columns: The column of each value, by its name, in the order of the values.
    """

    measure: str
    factor: str
    columns: dict[str, str]


@dataclass(frozen=True)
class ByFactor:
    """An experiment's held-out measures by factor.

    Attributes:
        factors: The columns, by factor and measure.
        frame: A row for each run and step that was evaluated, with ``run``, ``step`` and the
            columns.
    """

    factors: list[FactorColumns]
    frame: pl.DataFrame


def by_factor(store: Store, record: ExperimentRecord, runs: Sequence[RunRecord]) -> ByFactor:
    """The held-out loss and accuracy of an experiment's runs by factor.

    Nothing is read if no task of the experiment was registered with factors.

    Args:
        store: The store.
        record: The experiment.
        runs: Its runs.
    """
    known = record.registration
    order: dict[str, list[str]] = {}
    for task in () if known is None else known.tasks:
        for factor, values in task.factors.items():
            own = order.setdefault(factor, [])
            own += [value for value in values if value not in own]
    if not order:
        return ByFactor([], pl.DataFrame())
    frame = pl.concat([_evaluations(store, some) for some in _shares(runs)], how="diagonal")
    return ByFactor(factor_columns(frame.columns, order), frame)


def _shares(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """The runs in shares of about ``_ROWS`` rows: columns at every step need much memory."""
    shares: list[list[RunRecord]] = [[]]
    rows = 0
    for run in runs:
        if shares[-1] and rows + run.step > _ROWS:
            shares.append([])
            rows = 0
        shares[-1].append(run)
        rows += run.step
    return shares


def _evaluations(store: Store, runs: Sequence[RunRecord]) -> pl.DataFrame:
    """The rows of runs that have a measure by factor."""

    def choose(names: list[str]) -> list[str]:
        found = {name: factor_and_value(name) for name in names}
        return [name for name, part in found.items() if part and part[0] in MEASURES]

    frame = read_runs(store, [run.run for run in runs], choose)
    # Other experiments of the store may have other columns, which are empty here.
    columns = [name for name in choose(frame.columns) if frame[name].null_count() < len(frame)]
    if not columns:
        return frame.select("run", "step").clear()
    ends = pl.DataFrame({"run": [run.run for run in runs], "_end": [run.step for run in runs]})
    inside = frame.filter(pl.any_horizontal(pl.col(columns).is_not_null())).join(ends, on="run")
    return inside.filter(pl.col("step") <= pl.col("_end")).select("run", "step", *columns)


def factor_columns(
    columns: Iterable[str], order: Mapping[str, Sequence[str]]
) -> list[FactorColumns]:
    """Columns by factor and measure.

    Args:
        columns: The names of columns; others than those of factors are left out.
        order: The values of factors, in their order; others follow.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    for column in columns:
        part = factor_and_value(column)
        if part is not None:
            found.setdefault((part[1], part[0]), {})[part[2]] = column
    factors = list(order) + [factor for factor, _ in found if factor not in order]
    made = []
    for factor, measure in sorted(found, key=lambda key: (factors.index(key[0]), key[1])):
        values = list(order.get(factor, ()))
        own = found[factor, measure]
        places = {value: values.index(value) if value in values else len(values) for value in own}
        columns_of = {value: own[value] for value in sorted(own, key=places.__getitem__)}
        made.append(FactorColumns(measure, factor, columns_of))
    return sorted(made, key=lambda each: (factors.index(each.factor), MEASURES.index(each.measure)))


def factor_sentences(found: ByFactor, runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    """What is learnt first, or where the loss is, for each factor, by the label of the variant.

    Only runs that have ended count, without those that failed or diverged. For a factor of which a
    value is learnt (its accuracy is at least ``LEARNT`` in ``IN_A_ROW`` evaluations), the first
    step of these; for others, the final losses.

    Args:
        found: The measures by factor.
        runs: The runs.
    """
    if not found.factors:
        return {}
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        if run.status in ("finished", "stopped"):
            groups.setdefault(variant_label(run.variant), []).append(run)
    accuracies = {e.factor: e for e in found.factors if e.measure == "eval_accuracy"}
    losses = [each for each in found.factors if each.measure == "eval_loss"]
    frames = {str(run): part for (run,), part in found.frame.group_by("run", maintain_order=True)}
    result = {}
    for label, members in groups.items():
        mine = [frames[run.run].sort("step") for run in members if run.run in frames]
        sentences = []
        for each in losses if len(mine) == len(members) else []:
            accuracy = accuracies.get(each.factor)
            said = None if accuracy is None else _learnt(accuracy, mine)
            sentences.append(said or _final(each, mine))
        if worded := [sentence for sentence in sentences if sentence]:
            result[label] = worded
    return result


def _learnt(accuracy: FactorColumns, frames: Sequence[pl.DataFrame]) -> str | None:
    """The steps at which the values are learnt; None if none is, or that is not clear."""
    if len(accuracy.columns) < 2 or min(frame.height for frame in frames) < FEWEST:
        return None
    first = {
        value: [_first(frame, column) for frame in frames]
        for value, column in accuracy.columns.items()
    }
    if not any(step is not None for steps in first.values() for step in steps):
        return None
    last = min(int(frame["step"].max()) for frame in frames)  # type: ignore[arg-type]
    parts = [*_of_all(first), *_of_some(first, last)]
    words = column_words(accuracy.measure)
    return f"by {accuracy.factor}, the {words} reaches {LEARNT:.0%}: {'; '.join(parts)}"


def _of_all(first: Mapping[str, Sequence[int | None]]) -> list[str]:
    """The values that all seeds have learnt, in the order in which they did, as one part."""
    steps = {value: [s for s in found if s is not None] for value, found in first.items()}
    middle = {
        value: statistics.median(found)
        for value, found in steps.items()
        if found and len(found) == len(first[value])
    }
    if not middle:
        return []
    order = sorted(middle, key=lambda value: middle[value])
    text = ", ".join(f"{_quoted(value)} at step {middle[value]:g}" for value in order)
    if len(order) == len(first) and len(set(middle.values())) == 1:
        text = f"all values at step {middle[order[0]]:g}"
    seeds = len(first[order[0]])
    return [f"{text} (median of {seeds} seeds)" if seeds > 1 else text]


def _of_some(first: Mapping[str, Sequence[int | None]], last: int) -> list[str]:
    """The values that some seeds or none have learnt, those of more seeds first."""
    reached = {value: sum(s is not None for s in steps) for value, steps in first.items()}
    parts = []
    for value in sorted(reached, key=lambda value: -reached[value]):
        if 0 < reached[value] < len(first[value]):
            parts.append(
                f"{_quoted(value)} in {reached[value]} of {counted(len(first[value]), 'seed')}"
            )
    never = [_quoted(value) for value, count in reached.items() if not count]
    return [*parts, f"{', '.join(never)} not by step {last}"] if never else parts


def _quoted(value: str) -> str:
    """The name of a value, which can be a number, in a sentence with other numbers."""
    return f"“{value}”" if value[0].isdigit() else value


def _first(frame: pl.DataFrame, column: str) -> int | None:
    """The first step at which a value is learnt, and stays so; None if there is none."""
    known = frame.select("step", column).drop_nulls()
    steps, reached = known["step"].to_list(), (known[column] >= LEARNT).to_list()
    for place, step in enumerate(steps):
        if all(reached[place : place + IN_A_ROW]):
            return int(step)
    return None


def _final(loss: FactorColumns, frames: Sequence[pl.DataFrame]) -> str | None:
    """The losses at the last evaluation of each run; None if there is nothing to compare."""
    last = [frame.row(-1, named=True) for frame in frames]
    values = {
        value: [row[column] for row in last if row[column] is not None]
        for value, column in loss.columns.items()
    }
    medians = [
        f"{statistics.median(found):.3g} ({value})"
        for value, found in values.items()
        if len(found) == len(frames)
    ]
    if len(medians) < 2:
        return None
    seeds = f" (median of {len(frames)} seeds)" if len(frames) > 1 else ""
    return (
        f"by {loss.factor}, the final {column_words(loss.measure)} is {', '.join(medians)}{seeds}"
    )
