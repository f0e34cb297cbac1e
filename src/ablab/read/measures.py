"""Measures of stored runs: a number for each run, or the reason why there is none."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view

from ablab.config import InputError, Problem, nearest
from ablab.experiments.measures import COUNTED, WORDS, Measure, parse_measure
from ablab.read.curves import Reading
from ablab.read.readings import experiment_readings
from ablab.read.summary import last_values
from ablab.store.metrics import experiment_metrics, experiment_runs, key_column
from ablab.store.store import ExperimentRecord, RunRecord, Store

_CALM = 15  # number of values in the running mean that suppresses noise
_AT = 0.03  # relative tolerance within which a curve is at a level
_READ = ("floor", "leaves", "noise", *COUNTED)
_PLACE = {"spikes": "step", "growbacks": "first", "plateaus": "level", "slowdowns": "value"}


@dataclass(frozen=True)
class Measured:
    """The measured value of one run.

    Attributes:
        value: The number; None if there is none.
        reason: Why there is no number, or a remark about it.
        beyond: Whether the measure is a step that the run did not reach.
    """

    value: float | None
    reason: str | None = None
    beyond: bool = False


@dataclass(frozen=True)
class _Curve:
    """A column of a run: the steps at which it was logged, and the values."""

    steps: np.ndarray
    values: np.ndarray
    last: int


def measure_table(store: Store, record: ExperimentRecord, text: str) -> pl.DataFrame:
    """Computes a measure for every run of an experiment.

    Args:
        store: The store.
        record: The experiment.
        text: The measure; see :func:`ablab.experiments.measures.parse_measure`.

    Returns:
        A row for each run, with ``run``, the variant's keys, ``seed``, ``value`` (null if there is
        none), ``reason`` (why there is none), and ``beyond`` (the run's last step if the measure
        is a step that the run did not reach, else null).

    Raises:
        InputError: The measure is invalid, or its column was not logged.
    """
    measure = parse_measure(text)
    runs = experiment_runs(store, record)
    values = measure_runs(store, record, runs, measure)
    keys = list(dict.fromkeys(key for run in runs for key in run.variant))
    rows = [values[run.run] for run in runs]
    return pl.DataFrame(
        {
            "run": [run.run for run in runs],
            **{key: key_column([run.variant.get(key) for run in runs]) for key in keys},
            "seed": [run.seed for run in runs],
            "value": pl.Series([row.value for row in rows], dtype=pl.Float64),
            "reason": pl.Series([row.reason for row in rows], dtype=pl.String),
            "beyond": pl.Series(
                [run.step if row.beyond else None for run, row in zip(runs, rows, strict=True)],
                dtype=pl.Int64,
            ),
        },
        strict=False,
    )  # fmt: skip


def measure_runs(
    store: Store, record: ExperimentRecord, runs: list[RunRecord], measure: Measure
) -> dict[str, Measured]:
    """Computes a measure for some runs of an experiment; returns the results by run id.

    Raises:
        InputError: The measure's column was not logged.
    """
    if measure.function in WORDS:
        return {run.run: _word(run, measure.function) for run in runs}
    column = measure.column
    names: list[str] = []

    def choose(every: list[str]) -> list[str]:
        names.extend(every)
        return [name for name in every if name in (column, "lr", "train_loss")]

    frame = experiment_metrics(store, record, choose)
    started = any(run.step for run in runs)
    if started and column not in frame.columns:
        raise InputError(
            Problem(
                f"no column {column} was logged",
                given=measure.text,
                expected="one of " + ", ".join(names[:12]) + (", …" if len(names) > 12 else ""),
                suggestion=nearest(column, names),
            )
        )
    readings: dict[str, Reading] = {}
    if measure.function in _READ:
        readings = experiment_readings(store, record, runs, column)
    ends = last_values(frame, {run.run: run.step for run in runs}) if started else {}
    curves = _curves(frame, column, runs)
    training = _curves(frame, "train_loss", runs) if measure.function == "lag" else {}
    found = {}
    for run in runs:
        curve = curves.get(run.run)
        if run.status in ("diverged", "failed"):
            found[run.run] = Measured(None, f"{run.status} at step {run.step}")
        elif curve is None:
            found[run.run] = Measured(None, "not trained yet" if not run.step else "not logged")
        elif measure.function == "final":
            found[run.run] = _final(curve, ends[run.run].get(column), column)
        elif measure.function in _READ:
            found[run.run] = _read(measure, curve, readings[run.run])
        elif measure.function == "lag":
            found[run.run] = _lag(curve, training[run.run], measure)
        else:
            found[run.run] = _FUNCTIONS[measure.function](curve, measure)
        if found[run.run].value is not None and run.status not in ("finished", "stopped"):
            found[run.run] = Measured(None, f"{run.status} at step {run.step}")
    return found


def _word(run: RunRecord, word: str) -> Measured:
    if word == "diverged":
        ended = run.status in ("finished", "stopped", "diverged")
        return Measured(float(run.status == "diverged")) if ended else Measured(None, run.status)
    value = run.seconds if word == "seconds" else run.n_params
    return Measured(float(value)) if value else Measured(None, "not trained yet")


def _curves(frame: pl.DataFrame, column: str, runs: list[RunRecord]) -> dict[str, _Curve]:
    if column not in frame.columns:
        return {}
    ends = {run.run: run.step for run in runs}
    found = {}
    part = frame.select("run", "step", pl.col(column).cast(pl.Float64)).drop_nulls()
    for (run,), rows in part.filter(pl.col(column).is_finite()).group_by("run"):
        own = rows.filter(pl.col("step") <= ends[str(run)])
        if own.height:
            found[str(run)] = _Curve(own["step"].to_numpy(), own[column].to_numpy(), ends[str(run)])
    return found


def _final(curve: _Curve, end: float | None, column: str) -> Measured:
    """The value at the end of the run, or else the last logged value."""
    if end is not None:
        return Measured(end)
    late = None if curve.steps[-1] == curve.last else f"at step {int(curve.steps[-1])}"
    return Measured(float(curve.values[-1]), late)


def _best(curve: _Curve, measure: Measure) -> Measured:
    calm = _calm(curve, measure.column)
    best = calm.max() if "accuracy" in measure.column else calm.min()
    return Measured(float(best))


def _at(curve: _Curve, measure: Measure) -> Measured:
    (place,) = np.nonzero(curve.steps == int(measure.numbers[0]))
    if not len(place):
        return Measured(None, f"not logged at step {int(measure.numbers[0])}")
    return Measured(float(curve.values[place[0]]))


def _mean(curve: _Curve, measure: Measure) -> Measured:
    first, last = measure.numbers
    inside = (curve.steps >= first) & (curve.steps <= last)
    if not inside.any():
        return Measured(None, f"not logged from step {first:g} to {last:g}")
    return Measured(float(curve.values[inside].mean()))


def _steps_to(curve: _Curve, measure: Measure) -> Measured:
    (wanted,) = measure.numbers
    calm = _calm(curve, measure.column)
    there = calm >= wanted if "accuracy" in measure.column else calm <= wanted
    if not there.any():
        return Measured(None, f"not reached by step {curve.last}", beyond=True)
    return Measured(float(curve.steps[int(np.argmax(there))]))


def _lag(curve: _Curve, training: _Curve, measure: Measure) -> Measured:
    """The number of steps between the training loss and the column reaching a value."""
    first = _steps_to(training, replace(measure, column="train_loss"))
    then = _steps_to(curve, measure)
    if first.value is None or then.value is None:
        return Measured(None, then.reason if first.value is not None else first.reason)
    return Measured(then.value - first.value)


def _read(measure: Measure, curve: _Curve, reading: Reading) -> Measured:
    if measure.function == "leaves":
        return _leaves(measure, curve, reading)
    if measure.function == "floor":
        if reading.floor is None:
            what = "still falling" if not reading.finished else "no floor"
            return Measured(None, f"{what} at step {reading.last}")
        return Measured(reading.floor.level)
    if measure.function == "noise":
        return Measured(reading.noise)
    low, high = measure.numbers or (-math.inf, math.inf)
    places = (getattr(e, _PLACE[measure.function]) for e in getattr(reading, measure.function))
    return Measured(float(sum(low <= place <= high for place in places)))


def _leaves(measure: Measure, curve: _Curve, reading: Reading) -> Measured:
    """The step at which the level is left: that of the reader, or else of the running mean."""
    (level,) = measure.numbers
    seen = [each.start for each in reading.descents if abs(each.level / level - 1) <= _AT]
    if seen:
        return Measured(float(seen[0]))
    calm = _calm(curve, measure.column)
    if calm.min() > (1 - 2 * _AT) * level:
        return Measured(None, f"not left by step {curve.last}", beyond=True)
    above = np.flatnonzero(calm >= (1 - _AT) * level)
    below = np.flatnonzero(calm < (1 - 2 * _AT) * level)
    if not len(above) or above[0] > below[0]:
        return Measured(None, f"never at {level:.4g}")
    return Measured(float(curve.steps[above[above < below[0]][-1]]))


def _calm(curve: _Curve, column: str) -> np.ndarray:
    """The running mean if the column is the training loss at every step, else the values."""
    values = curve.values
    dense = len(values) > 2 * _CALM and np.median(np.diff(curve.steps)) <= 1
    if not dense or not column.startswith("train_loss"):
        return values
    padded = np.pad(values, _CALM // 2, mode="edge")
    calm: np.ndarray = sliding_window_view(padded, _CALM).mean(axis=1)
    return calm


_FUNCTIONS: dict[str, Callable[[_Curve, Measure], Measured]] = {
    "best": _best,
    "at": _at,
    "mean": _mean,
    "steps_to": _steps_to,
}


def is_step(measure: Measure) -> bool:
    """Whether the measure is a step that a run may not have reached."""
    return measure.function in ("leaves", "steps_to")


def shown(value: float) -> str:
    """A number, formatted for tables and sentences."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:.4g}"
