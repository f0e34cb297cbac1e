"""Measures of runs by name: for now a run's last losses and its last accuracy."""

import re

import polars as pl

from ablab.config import InputError, Problem, nearest
from ablab.read.summary import last_values
from ablab.store.metrics import experiment_metrics, experiment_runs, unwatched_columns
from ablab.store.store import ExperimentRecord, Store

_FINAL = ("train_loss", "eval_loss", "eval_accuracy")


def measured(store: Store, record: ExperimentRecord, text: str) -> pl.DataFrame:
    """A measure of every run of an experiment.

    Args:
        store: The store.
        record: The experiment.
        text: The measure, ``final(eval_loss)``.

    Returns:
        A row for each run, in the order of the variants: ``run``, the variant's keys, ``seed``,
        ``value`` (null where the run has none) and ``reason`` (why it has none).

    Raises:
        InputError: There is no such measure.
    """
    found = re.fullmatch(r"final\((\w+)\)", text.strip())
    if found is None or found[1] not in _FINAL:
        names = [f"final({name})" for name in _FINAL]
        raise InputError(
            Problem(
                f"{text!r} is not a measure",
                given=text,
                expected="one of " + ", ".join(names),
                suggestion=nearest(text, names),
            )
        )
    runs = experiment_runs(store, record)
    frame = experiment_metrics(store, record, unwatched_columns)
    last = last_values(frame, {run.run: run.step for run in runs})
    values, reasons = [], []
    for run in runs:
        ended = run.status in ("finished", "stopped")
        value = last[run.run].get(found[1]) if ended else None
        values.append(value)
        reason = f"no {found[1]} at its last step" if ended else run.status
        reasons.append(reason if value is None else None)
    keys = list(record.definition["grid"])
    return pl.DataFrame(
        {
            "run": [run.run for run in runs],
            **{key: _column([run.variant.get(key) for run in runs]) for key in keys},
            "seed": [run.seed for run in runs],
            "value": pl.Series(values, dtype=pl.Float64),
            "reason": pl.Series(reasons, dtype=pl.String),
        }
    )


def _column(values: list[object]) -> pl.Series:
    sorts = {type(value) for value in values if value is not None}
    if sorts <= {int, float} or (len(sorts) == 1 and sorts <= {bool, str}):
        return pl.Series(values, strict=False)
    return pl.Series([None if value is None else str(value) for value in values])
