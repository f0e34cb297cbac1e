"""Compares two runs: the settings that differ, values and readings side by side, both curves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from ablab.config import InputError, Problem
from ablab.experiments.short_names import differing_keys, short_names
from ablab.logbook.comparison import (
    Comparison,
    Drawn,
    Part,
    Table,
    cell_label,
    draw,
    drawn_columns,
    setting_text,
)
from ablab.logbook.marks import curve_marks
from ablab.read.curves import Reading
from ablab.read.curves.numbers import number
from ablab.read.curves.sentences import sentence
from ablab.read.measure_words import column_words
from ablab.read.readings import experiment_readings
from ablab.read.side_by_side import settings_of_run
from ablab.read.summary import MEASURES, Final, final_values
from ablab.store.index import StoreError
from ablab.store.metrics import read_runs, unwatched_columns
from ablab.store.run_rows import longest_experiment
from ablab.store.store import ExperimentRecord, RunRecord, Store

_APART = 1e-4  # relative: over some steps, rounding explains no more
_NAMED = 4  # with more differing settings, a run is called by its id only


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs.

    Attributes:
        store: Its store.
        record: The experiment that it belongs to.
        run: The run.
        settings: Its settings, as dotted keys.
        frame: A row for each step.
        reading: The reading of its training loss; None without finite values.
    """

    store: Store
    record: ExperimentRecord
    run: RunRecord
    settings: dict[str, Any]
    frame: pl.DataFrame
    reading: Reading | None


def compare_runs(stores: Sequence[Store], names: Sequence[str]) -> Comparison:
    """Compares two runs; reads only what is stored.

    Args:
        stores: The stores to search, in order.
        names: The ids of two runs, or unique prefixes of them.

    Raises:
        InputError: A run is unknown or given twice, or was not trained.
        StoreError: Metrics are missing or damaged.
    """
    if len(names) != 2:
        raise InputError(
            Problem("runs are compared two at a time", given=", ".join(names), expected="two runs")
        )
    first, second = runs = [_find(stores, name) for name in names]
    if first.run.run == second.run.run:
        raise InputError(
            Problem("the same run was given twice", given=names[1], expected="different runs")
        )
    differing = differing_keys([first.settings, second.settings])
    return Comparison(
        targets=[each.run.run for each in runs],
        kind="runs",
        measure=None,
        parts=[
            Part(each.run.run, each.record.question, _about(each),
                 each.record.entry if each.store is stores[0] else None)
            for each in runs
        ],
        findings=_findings(first, second, differing),
        tables=[_settings(first, second, differing), _values(first, second)],
        drawn=_drawn(runs, differing),
        data=_data(first, second, differing),
    )  # fmt: skip


def is_run(store: Store, name: str) -> bool:
    """Whether a store has a run whose id is this, or starts with it."""
    try:
        store.run_row(name)
    except StoreError as error:
        return "more than one run" in error.problems[0].message
    return True


def _find(stores: Sequence[Store], name: str) -> ComparedRun:
    store = next((each for each in stores if is_run(each, name)), stores[0])
    (run,) = store.run_records([store.run_row(name)["id"]])
    if not run.step:
        raise InputError(
            Problem(f"the run {run.run} was not trained yet", given=name, expected="a trained run")
        )
    longest = longest_experiment(store, run.run)
    record = next(each for each in store.experiments() if each.id == longest)
    frame = read_runs(store, [run.run], unwatched_columns)
    reading = experiment_readings(store, record, [run]).get(run.run)
    return ComparedRun(store, record, run, settings_of_run(store, record, run), frame, reading)


def _about(each: ComparedRun) -> list[str]:
    run = each.run
    variant = short_names([run.variant])[0] if not run.variant else cell_label(run.variant)
    text = f"{', '.join(run.experiments)}: {variant}, seed {run.seed}; {run.status} at step "
    return [f"{text}{run.step:,}."]


def _settings(first: ComparedRun, second: ComparedRun, differing: Sequence[str]) -> Table:
    def text(each: ComparedRun, key: str) -> str:
        return setting_text(each.settings[key]) if key in each.settings else "not a setting here"

    rows = [[key, text(first, key), text(second, key)] for key in differing]
    if first.run.seed != second.run.seed:
        rows.append(["seed", str(first.run.seed), str(second.run.seed)])
    header = ["setting", first.run.run, second.run.run]
    note = "" if rows else "All settings and the seed are equal."
    return Table("Settings that differ", header, rows, note, tuple(header[1:]))


def _final(found: Final | None, each: ComparedRun) -> str:
    """A final value, with its step if that is not the run's last."""
    if found is None:
        return "none"
    early = "" if found.step == each.run.step else f" (at step {found.step:,})"
    return number(found.value) + early


def _values(first: ComparedRun, second: ComparedRun) -> Table:
    """Status, steps, final values and readings."""
    runs = [first, second]
    ends = [final_values(each.frame, {each.run.run: each.run.step})[each.run.run] for each in runs]
    rows = [
        ["status", *(each.run.status for each in runs)],
        ["steps", *(f"{each.run.step:,} of {each.run.steps:,}" for each in runs)],
        ["parameters", *(f"{each.run.n_params:,}" if each.run.n_params else "" for each in runs)],
        ["training time", *(f"{each.run.seconds:.1f} s" for each in runs)],
    ]
    for name in MEASURES:
        if any(name in end for end in ends):
            final = [_final(end.get(name), each) for end, each in zip(ends, runs, strict=True)]
            rows.append([f"final {column_words(name)}", *final])
    told = [sentence(each.reading) if each.reading is not None else "nothing to read"
            for each in runs]  # fmt: skip
    rows.append(["training loss", *told])
    header = ["", first.run.run, second.run.run]
    note = "One run each: nothing can be said about chance, so nothing is tested."
    return Table("Values and readings", header, rows, note, tuple(header[1:]))


def _findings(first: ComparedRun, second: ComparedRun, differing: Sequence[str]) -> list[str]:
    """Where the training losses part, if both runs saw the same batches."""
    if not _same_batches(first, second, differing):
        return []
    steps, apart = first_difference(first.frame, second.frame)
    if not steps:
        return []
    same = "Both runs saw the same batches (equal seed, task and batch size)"
    if apart is None:
        return [
            f"{same}. Over the {steps:,} steps that were logged for both, their training losses "
            f"differ by at most {100 * _APART:g}%, as rounding explains."
        ]
    step, one, other = apart
    return [
        f"{same}. Their training losses first differ by more than {100 * _APART:g}% at step "
        f"{step:,}: {one:.6g} vs {other:.6g}."
    ]


def _same_batches(first: ComparedRun, second: ComparedRun, differing: Sequence[str]) -> bool:
    """Whether the runs saw the same batches, which depend on task, seed and batch size only."""
    of_batches = [key for key in differing if key.startswith(("task.", "train.batch_size"))]
    return first.run.seed == second.run.seed and not of_batches


def first_difference(
    first: pl.DataFrame, second: pl.DataFrame
) -> tuple[int, tuple[int, float, float] | None]:
    """The first step at which two training losses differ by more than rounding explains.

    Args:
        first: A row for each step of a run, with ``step`` and ``train_loss``.
        second: The same of the other run.

    Returns:
        The number of steps that both have, and the step with both losses; None if they agree.
    """
    if "train_loss" not in first.columns or "train_loss" not in second.columns:
        return 0, None
    both = (
        first.select("step", "train_loss")
        .drop_nulls()
        .join(second.select("step", pl.col("train_loss").alias("other")).drop_nulls(), on="step")
        .sort("step")
    )
    one, other = pl.col("train_loss"), pl.col("other")
    larger = pl.max_horizontal(one.abs(), other.abs())
    apart = both.filter((one - other).abs() > _APART * larger)
    return both.height, next(apart.iter_rows(), None)


def _drawn(runs: Sequence[ComparedRun], differing: Sequence[str]) -> Drawn:
    names = [each.run.run for each in runs]
    if 0 < len(differing) <= _NAMED:
        told = short_names([{key: each.settings.get(key) for key in differing} for each in runs])
        names = [f"{run} ({name})" for run, name in zip(names, told, strict=True)]
    cells = [{"run": name} for name in names]
    frames: list[pl.DataFrame] = []
    marks: dict[str, list[dict[str, Any]]] = {}
    for each, cell in zip(runs, cells, strict=True):
        logged = drawn_columns(each.frame.columns)
        about = [pl.lit(cell["run"]).alias("run"), pl.lit(each.run.seed).alias("seed")]
        frames.append(each.frame.select("step", *logged).with_columns(about))
        if each.reading is not None:
            run = replace(each.run, variant=cell)
            marks |= curve_marks([run], {run.run: each.reading})
    levels = runs[0].record.levels if runs[0].record.levels == runs[1].record.levels else {}
    return draw(pl.concat(frames, how="diagonal_relaxed"), ["run"], cells, levels, marks)


def _data(first: ComparedRun, second: ComparedRun, differing: Sequence[str]) -> dict[str, Any]:
    steps, apart = 0, None
    same = _same_batches(first, second, differing)
    if same:
        steps, apart = first_difference(first.frame, second.frame)
    return {
        "differing": {
            key: [first.settings.get(key), second.settings.get(key)] for key in differing
        },
        "runs": [vars(each.run) for each in (first, second)],
        "readings": [None if each.reading is None else sentence(each.reading)
                     for each in (first, second)],
        "same_batches": same,
        "common_steps": steps,
        "first_difference": None if apart is None
        else dict(zip(("step", "first", "second"), apart, strict=True)),
    }  # fmt: skip
