"""Measures of stored runs: a number for each run, or the reason why there is none."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from ablab.config import InputError, Problem, nearest
from ablab.experiments.measures import COUNTED, STEPS, WORDS, Measure, parse_measure
from ablab.read.curves import Reading
from ablab.read.curves.reached import calm, reached
from ablab.read.directions import directed
from ablab.read.measured import PAUSED, Measured, measured_columns
from ablab.read.readings import experiment_readings
from ablab.read.run_curves import RunCurve, not_finite, run_curves
from ablab.read.summary import last_values
from ablab.store.metrics import experiment_metrics, experiment_runs, key_column
from ablab.store.run_rows import run_settings
from ablab.store.rungs import PausedRun, paused_runs
from ablab.store.store import ExperimentRecord, RunRecord, Store

_AT = 0.03  # relative tolerance within which a curve is at a level
_READ = ("floor", "leaves", "noise", "transition", *COUNTED)
ENDED = ("finished", "stopped", "diverged", "failed")
"""The statuses of runs that go no further."""
_BROKEN = ("diverged", "failed")  # they did not end as planned
_POSITION = {"spikes": "step", "growbacks": "first", "plateaus": "level", "slowdowns": "value"}


def measure_table(store: Store, record: ExperimentRecord, text: str) -> pl.DataFrame:
    """Computes a measure for every run of an experiment.

    Args:
        store: The store.
        record: The experiment.
        text: The measure; see :func:`ablab.experiments.measures.parse_measure`.

    Returns:
        A row for each run, with ``run``, the variant's keys, ``seed``; ``value``, ``not_before``
        and ``reason`` (see :class:`ablab.read.measured.Measured`); and ``status``, which says what
        ended the run.

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
            **measured_columns(rows),
            "status": pl.Series([run.status for run in runs], dtype=pl.String),
        },
        strict=False,
    )  # fmt: skip


def measure_runs(
    store: Store, record: ExperimentRecord, runs: list[RunRecord], measure: Measure
) -> dict[str, Measured]:
    """Computes a measure for some runs of an experiment; returns the results by run id.

    Raises:
        InputError: The measure's column was not logged, or a level is no number of these runs.
    """
    paused = paused_runs(store, record)
    if measure.function in WORDS:
        words = {run.run: _word(run, measure.function) for run in runs}
        return words if measure.function == "n_params" else _of_paused(words, measure, paused)
    column = measure.column
    names: list[str] = []

    def choose(every: list[str]) -> list[str]:
        names.extend(every)
        return [name for name in every if name in (column, measure.other, "lr", "train_loss")]

    frame = experiment_metrics(store, record, choose)
    started = any(run.step for run in runs)
    lacking = [name for name in (column, measure.other) if name and name not in frame.columns]
    if started and lacking:
        raise InputError(
            Problem(
                f"no column {lacking[0]} was logged",
                given=measure.text,
                expected="one of " + ", ".join(names[:12]) + (", …" if len(names) > 12 else ""),
                suggestion=nearest(lacking[0], names),
            )
        )
    known = _of_each_run(store, record, runs, measure)
    readings: dict[str, Reading] = {}
    if measure.function in _READ:
        readings = experiment_readings(store, record, runs, column)
    ends = last_values(frame, {run.run: run.step for run in runs}) if started else {}
    curves = run_curves(frame, column, runs)
    second_column = measure.other or "train_loss"
    of_two = run_curves(frame, second_column, runs) if measure.function in _OF_TWO else {}
    found = {}
    for run in runs:
        curve = curves.get(run.run)
        if run.status not in ENDED:
            found[run.run] = Measured(reason=_place(run) if run.step else "not trained yet")
        elif run.status in _BROKEN and not is_step(measure):
            found[run.run] = Measured(reason=_place(run))
        elif curve is None:
            found[run.run] = Measured(reason=_place(run) if run.status in _BROKEN else "not logged")
        else:
            others = of_two.get(run.run), readings.get(run.run), ends[run.run].get(column)
            found[run.run] = _of_curve(known[run.run], curve, *others)
        if run.status in _BROKEN and is_step(measure) and curve is not None:
            reasons = [each for each in (found[run.run].reason, _place(run)) if each]
            found[run.run] = replace(found[run.run], reason="; ".join(reasons))
    return _of_paused(found, measure, paused)


def _of_paused(
    found: dict[str, Measured], measure: Measure, paused: Mapping[str, PausedRun]
) -> dict[str, Measured]:
    """Measured values in which runs that halving paused have none of their end, which is unknown.

    Values at steps that they reached are known, and so are steps that were reached before.
    """
    for run in paused.keys() & found.keys():
        why = f"{PAUSED} at step {paused[run].step}"
        value = found[run]
        if measure.function in ("at", "mean") and value.value is not None:
            continue
        if is_step(measure) and measure.function != "transition" and value.kind != "none":
            reasons = [each for each in (value.reason, why) if each]
            found[run] = replace(value, reason="; ".join(reasons))
        else:
            found[run] = Measured(reason=why)
    return found


def _of_each_run(
    store: Store, record: ExperimentRecord, runs: list[RunRecord], measure: Measure
) -> dict[str, Measure]:
    """The measure with its direction, and with levels that are settings of each run."""
    known = directed(store, record, runs, measure)
    if not measure.levels:
        return known
    settings = run_settings(store, [run.run for run in runs])
    return {run: each.resolved(settings[run]) for run, each in known.items()}


def _place(run: RunRecord) -> str:
    """How far a run came, and what ended it."""
    return f"{run.status} at step {run.step}"


def _word(run: RunRecord, word: str) -> Measured:
    if word == "diverged":
        known = run.status in ENDED and run.status != "failed"
        return Measured(float(run.status == "diverged")) if known else Measured(reason=run.status)
    value = run.seconds if word == "seconds" else run.n_params
    return Measured(float(value)) if value else Measured(reason="not trained yet")


def _of_curve(
    measure: Measure,
    curve: RunCurve,
    second: RunCurve | None,
    reading: Reading | None,
    end: float | None,
) -> Measured:
    """The measure of a run's curve, and of a second one if it is of two."""
    why = not_finite(curve, measure, end)
    if why is not None:
        return Measured(reason=why, broken=True)
    if measure.function == "final":
        return _final(curve, end)
    if reading is not None:
        return _read(measure, curve, reading)
    if measure.function in _OF_TWO:
        if second is not None and not len(second.steps):
            name = measure.other or "train_loss"
            why = f"{name} was not finite at step {second.bad[-1]:,}"
            return Measured(reason=why, broken=True)
        return _OF_TWO[measure.function](curve, second, measure)
    return _FUNCTIONS[measure.function](curve, measure)


def _final(curve: RunCurve, end: float | None) -> Measured:
    """The value at the end of the run, or else the last logged value."""
    if end is not None:
        return Measured(end)
    late = None if curve.steps[-1] == curve.last else f"at step {int(curve.steps[-1])}"
    return Measured(float(curve.values[-1]), reason=late)


def _best(curve: RunCurve, measure: Measure) -> Measured:
    smooth = _calm(curve, measure.column)
    return Measured(float(smooth.max() if measure.direction == "higher" else smooth.min()))


def _highest(curve: RunCurve, measure: Measure) -> Measured:
    return Measured(float(_calm(curve, measure.column).max()))


def _at(curve: RunCurve, measure: Measure) -> Measured:
    step = int(measure.numbers[0])
    (place,) = np.nonzero(curve.steps == step)
    if step > curve.last:
        return Measured(reason=f"ended before step {step:,} (at {curve.last:,})")
    if not len(place):
        return Measured(reason=f"not logged at step {step}")
    return Measured(float(curve.values[place[0]]))


def _mean(curve: RunCurve, measure: Measure) -> Measured:
    first, last = measure.numbers
    inside = (curve.steps >= first) & (curve.steps <= last)
    if last > curve.last:
        missed = first if first > curve.last else last
        return Measured(reason=f"ended before step {missed:,.0f} (at {curve.last:,})")
    if not inside.any():
        return Measured(reason=f"not logged from step {first:g} to {last:g}")
    return Measured(float(curve.values[inside].mean()))


def _steps_to(curve: RunCurve, measure: Measure) -> Measured:
    (wanted,) = measure.numbers
    smooth = _calm(curve, measure.column)
    step = reached(curve.steps, smooth, wanted, measure.direction or "lower")
    if step is None:
        return Measured(not_before=curve.last, reason=f"not reached by step {curve.last}")
    return Measured(step)


def _lag(curve: RunCurve, training: RunCurve | None, measure: Measure) -> Measured:
    """The number of steps between the training loss and the column reaching a value."""
    if training is None:
        return Measured(reason="train_loss was not logged")
    first = _steps_to(training, replace(measure, column="train_loss", direction="lower"))
    then = _steps_to(curve, measure)
    if first.value is None:
        return Measured(reason=f"train_loss was {first.reason}")
    if then.not_before is not None:
        return Measured(not_before=then.not_before - int(first.value), reason=then.reason)
    assert then.value is not None, "a step is reached or not"
    return Measured(then.value - first.value)


def _lead(curve: RunCurve, other: RunCurve | None, measure: Measure) -> Measured:
    """The number of steps by which a column is half-way through its last change before another."""
    if other is None:
        return Measured(reason=f"{measure.other} was not logged")
    first, then = _half_way(curve), _half_way(other)
    for column, step in ((measure.column, first), (measure.other, then)):
        if step is None:
            return Measured(reason=f"{column} has no change that is larger than its fluctuation")
    assert first is not None and then is not None, "checked above"
    return Measured(then - first)


def _half_way(curve: RunCurve) -> float | None:
    """The step at which half of the last change of a curve is done; None if it has none.

    The last change begins where the curve is farthest from its end, the median of the last tenth of
    its values. Between logged steps, the curve is a straight line. A change counts if it is ten
    times as large as the fluctuation at the end: the median distance from the end.
    """
    values = curve.values
    late = values[-max(1, len(values) // 10) :]
    end = float(np.median(late))
    apart = np.abs(values - end)
    start = len(values) - 1 - int(np.argmax(apart[::-1]))
    if not apart[start] > 10 * float(np.median(np.abs(late - end))):
        return None
    half = apart[start] / 2
    done = apart[start:] <= half
    if not done.any():
        return None
    after = start + int(np.argmax(done))
    before, there = apart[after - 1], apart[after]
    share = (before - half) / (before - there)
    steps = curve.steps
    return float(steps[after - 1] + share * (steps[after] - steps[after - 1]))


def _read(measure: Measure, curve: RunCurve, reading: Reading) -> Measured:
    if measure.function == "leaves":
        return _leaves(measure, curve, reading)
    if measure.function == "transition":
        return _transition(measure, curve, reading)
    if measure.function == "floor":
        if reading.floor is None:
            what = "still falling" if not reading.finished else "no floor"
            return Measured(reason=f"{what} at step {reading.last}")
        return Measured(reading.floor.level)
    if measure.function == "noise":
        return Measured(reading.noise)
    low, high = measure.numbers or (-math.inf, math.inf)
    places = (getattr(e, _POSITION[measure.function]) for e in getattr(reading, measure.function))
    return Measured(float(sum(low <= place <= high for place in places)))


def _leaves(measure: Measure, curve: RunCurve, reading: Reading) -> Measured:
    """The step at which the level is left: that of the reader, or else of the running mean.

    A curve above the level that falls toward it has not left it; one that is at no step within 3%
    of it was never there.
    """
    (level,) = measure.numbers
    smooth = _calm(curve, measure.column)
    below = np.flatnonzero(smooth < (1 - 2 * _AT) * level)
    gone = float(curve.steps[below[0]]) if len(below) else math.inf
    left = {plateau.last for plateau in reading.plateaus}
    for peak in reading.peaks:  # a flat top that is shorter than the rise before it
        after = int(np.searchsorted(curve.steps, peak.step, side="right"))
        left |= {peak.step, *map(int, curve.steps[after : after + 1])}
    descents = [each for each in reading.descents if each.start in left]
    seen = [each.start for each in descents if abs(each.level / level - 1) <= _AT]
    if seen:
        return Measured(float(max([each for each in seen if each <= gone], default=seen[0])))
    if not len(below):
        return Measured(not_before=curve.last, reason=f"not left by step {curve.last}")
    there = np.flatnonzero(np.abs(smooth[: below[0]] / level - 1) <= _AT)
    if not len(there):
        return Measured(reason=f"never at {level:.4g}")
    return Measured(float(curve.steps[there[-1]]))


def _transition(measure: Measure, curve: RunCurve, reading: Reading) -> Measured:
    """The step of the largest transition; of a loss, half of a descent in the logarithm."""
    if reading.transitions:
        largest = max(reading.transitions, key=lambda each: abs(each.high - each.low))
        return Measured(float(largest.step))
    left = {plateau.last for plateau in reading.plateaus}
    for peak in reading.peaks:  # a flat top that is shorter than the rise before it
        after = int(np.searchsorted(curve.steps, peak.step, side="right"))
        left |= {peak.step, *map(int, curve.steps[after : after + 1])}
    descents = [d for d in reading.descents if d.start in left and min(d.level, d.to) > 0]
    if reading.direction == "higher" or not descents:
        return Measured(not_before=curve.last, reason=f"no transition by step {curve.last}")
    largest_fall = max(descents, key=lambda each: each.level / each.to)
    middle = math.sqrt(largest_fall.level * largest_fall.to)
    below = (_calm(curve, measure.column) <= middle) & (curve.steps >= largest_fall.start)
    return Measured(float(curve.steps[int(np.argmax(below))]))


def _calm(curve: RunCurve, column: str) -> np.ndarray:
    """The running mean if the column is the training loss at every step, else the values."""
    return calm(curve.steps, curve.values, column)


_FUNCTIONS: dict[str, Callable[[RunCurve, Measure], Measured]] = {
    "best": _best,
    "highest": _highest,
    "at": _at,
    "mean": _mean,
    "steps_to": _steps_to,
}

# Of the curve and a second one: ``other``, or the training loss.
_OF_TWO: dict[str, Callable[[RunCurve, RunCurve | None, Measure], Measured]] = {
    "lag": _lag,
    "lead": _lead,
}


def is_step(measure: Measure) -> bool:
    """Whether the measure is a step, or a number of steps, that a run may not have reached."""
    return measure.function in STEPS
