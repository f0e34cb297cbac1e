"""Metrics: the rows of all parts, read as one Polars frame."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import polars as pl

from ablab.config import Problem, match_names
from ablab.experiments.inactive import Inactive
from ablab.experiments.variant import variant_label
from ablab.store.findings import is_finding_column, scalar_columns
from ablab.store.index import StoreError
from ablab.store.parts import append_rows, list_parts, part_columns, read_part
from ablab.store.records import finite
from ablab.store.run_list import progress_of
from ablab.store.shares import KEYS
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.tasks.factors import factor_and_value
from ablab.watching.names import is_statistic

__all__ = [
    "KEYS",
    "all_columns",
    "append_rows",
    "column_cells",
    "column_labels",
    "experiment_metrics",
    "experiment_runs",
    "key_column",
    "newest",
    "ordered",
    "read_runs",
    "restarts",
    "run_metrics",
    "unwatched_columns",
]

Choice = Callable[[list[str]], list[str]]  # selects from the names of the columns
FIRST_COLUMNS = ("train_loss", "eval_loss", "eval_accuracy", "eval_sequence_accuracy")


def all_columns(names: list[str]) -> list[str]:
    """Every column, for :func:`read_runs`."""
    return names


def unwatched_columns(names: list[str]) -> list[str]:
    """The columns other than statistics, measures by factor and findings: there may be many."""
    return [
        name
        for name in names
        if not (is_statistic(name) or is_finding_column(name)) and factor_and_value(name) is None
    ]


def read_runs(
    store: Store,
    runs: Sequence[str],
    wanted: Choice = all_columns,
    last: Mapping[str, int] | None = None,
) -> pl.DataFrame:
    """All rows of some runs, ordered by run and step.

    If a step was saved more than once, by a resume or a replay, the latest non-null value of each
    column is used.

    Args:
        store: The store.
        runs: The runs' ids.
        wanted: Selects from the names of the columns other than run and step; only the selected
            columns are read from disk.
        last: The last step of each run in an experiment: what analyses found with the model of a
            later one is left out, at all steps.

    Raises:
        StoreError: A part is missing or damaged.
    """
    for _ in range(5):
        try:
            return _read_runs(store, runs, wanted, last)
        except FileNotFoundError as error:  # another process merged the part: try again
            missing = error
    raise StoreError(
        Problem(
            "a metrics part is missing",
            given=str(missing),
            expected="a complete store; ablab check lists what is damaged",
        )
    )


def restarts(frame: pl.DataFrame) -> dict[str, list[tuple[int, int]]]:
    """The restarts in a frame of metrics, by run, as (after which step, back to which step)."""
    found: dict[str, list[tuple[int, int]]] = {}
    if "restart" in frame.columns:
        rows = frame.select("run", "step", "restart").drop_nulls().sort("step")
        for run, step, back_to in rows.iter_rows():
            found.setdefault(run, []).append((step, back_to))
    return found


def experiment_metrics(
    store: Store, record: ExperimentRecord, columns: Sequence[str] | Choice = ()
) -> pl.DataFrame:
    """A row for each run and step of an experiment, up to the experiment's own number of steps.

    Args:
        store: The store.
        record: The experiment.
        columns: Names or shell-style patterns of columns to return in addition to run,
            experiment, variant keys, seed and step, or a function that selects from all names;
            all by default. Only the selected columns are read from disk.

    Returns:
        A frame with columns ``run``, ``experiment``, the variant's keys, ``seed``, ``step``,
        ``train_loss`` and the other columns that the experiment's runs have logged. A value that
        was not logged at a step is null.

    Raises:
        InputError: A pattern matches no column that the experiment's runs have logged.
        StoreError: A part is missing or damaged.
    """
    members = store.members(record.id)
    variants = [json.loads(member["variant"]) for member in members]
    keys = list(dict.fromkeys(key for variant in variants for key in variant))
    front = ["run", "experiment", *keys, "seed", "step"]
    choice = columns if callable(columns) else _named(front, columns)
    last = {member["run"]: _last(member) for member in members}
    frame = read_runs(store, list(last), choice, last)
    made_of = (id(frame), record.name, tuple(tuple(member) for member in members))
    joined = store.frames.get(made_of, lambda: _with_cells(record, members, keys, frame))
    found = joined.select(front + [name for name in frame.columns if name not in KEYS])
    patterns = () if callable(columns) else columns
    return _logged(found, front, patterns, lambda: experiment_metrics(store, record))


def _with_cells(
    record: ExperimentRecord,
    members: Sequence[Mapping[str, Any]],
    keys: Sequence[str],
    frame: pl.DataFrame,
) -> pl.DataFrame:
    """The rows of an experiment's runs, up to its own steps, with its name and their cells."""
    variants = [json.loads(member["variant"]) for member in members]
    table = pl.DataFrame(
        {
            "experiment": [record.name] * len(members),
            **{key: key_column([variant.get(key) for variant in variants]) for key in keys},
            "seed": [member["seed"] for member in members],
        },
        strict=False,
    )
    # The rows are sorted by run and step, so those of a run are put in place as one piece.
    lengths = frame["run"].rle().struct.unnest()
    starts = np.cumsum([0, *lengths["len"]])
    places = {run: slice(*starts[n : n + 2]) for n, run in enumerate(lengths["value"])}
    steps = frame["step"].to_numpy()
    pieces, counts = [], []
    for member in members:
        place = places.get(member["run"], slice(0, 0))
        counts.append(int(np.searchsorted(steps[place], _last(member), side="right")))
        pieces.append(frame.slice(int(place.start), counts[-1]))
    rows = pl.concat(pieces, rechunk=True) if pieces else frame.clear()
    return rows.hstack(table[np.repeat(np.arange(len(members)), counts)])


def _last(member: Mapping[str, Any]) -> int:
    """The last step of a run in an experiment."""
    steps: int = member["steps"] if member["stopped"] is None else member["stopped"]
    return steps


def experiment_runs(
    store: Store, record: ExperimentRecord, first: int = 0, count: int | None = None
) -> list[RunRecord]:
    """The runs of an experiment, with their losses at the experiment's own last step.

    ``eval_loss`` is None if the run was not evaluated at that step. Of the time of a run that was
    trained further, each step has an equal share.

    Args:
        store: The store.
        record: The experiment.
        first: The number of its runs before the first of the list.
        count: The most runs of the list; all if None.
    """
    records = store.runs(record, first, count)
    ends = {each.run: each.step for each in records}
    steps = progress_of(store.index, ends)
    further = {run for run, end in ends.items() if steps[run] > end}
    if not further:
        return records
    losses = ("train_loss", "eval_loss")
    frame = read_runs(
        store, sorted(further), lambda names: [name for name in names if name in losses]
    )
    measured: dict[tuple[str, int], dict[str, float | None]] = {
        (row["run"], row["step"]): row for row in frame.iter_rows(named=True)
    }
    result = []
    for each in records:
        if each.run in further:
            row = measured.get((each.run, each.step), {})
            own: dict[str, Any] = {name: finite(row.get(name)) for name in losses}
            own["seconds"] = each.seconds * each.step / steps[each.run]
            result.append(replace(each, **own))
        else:
            result.append(each)
    return result


def run_metrics(
    store: Store, run: str, columns: Sequence[str] = (), cell: Mapping[str, Any] | None = None
) -> pl.DataFrame:
    """A row for each step of one run: ``run``, ``step`` and the logged columns.

    Args:
        store: The store.
        run: The run's id.
        columns: Names or shell-style patterns of the columns to return; all by default.
        cell: Columns of one value to put before ``step``, such as the choices of the run's variant.

    Raises:
        InputError: A pattern matches no column that the run has logged.
        StoreError: A part is missing or damaged.
    """
    front = ["run", *(cell or {}), "step"]
    found = read_runs(store, [run], _named(front, columns))
    of_cell = [key_column([value] * found.height).alias(key) for key, value in (cell or {}).items()]
    logged = found.select(each for each in found.columns if each not in front)
    found = found.select("run").hstack(of_cell).hstack(found.select("step")).hstack(logged)
    return _logged(found, front, columns, lambda: run_metrics(store, run, (), cell))


def _logged(
    frame: pl.DataFrame,
    front: Sequence[str],
    patterns: Sequence[str],
    everything: Callable[[], pl.DataFrame],
) -> pl.DataFrame:
    """A frame without the columns that only other runs in the same parts have logged.

    Args:
        frame: The frame.
        front: The columns that it always has.
        patterns: The patterns that selected its other columns; all were selected if empty.
        everything: Returns the frame of all columns, for the message of the error.

    Raises:
        InputError: A pattern matches no column that is left.
    """
    if frame.is_empty():
        return frame
    always = {*front, "train_loss"}
    names = [name for name in frame.columns if name in always or frame[name].count()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            _named(front, [pattern])([each for each in everything().columns if each not in front])
    return frame.select(names)


def _named(front: Sequence[str], patterns: Sequence[str]) -> Choice:
    """A function that selects the names that any pattern matches, in their own order.

    Names in ``front`` are always present, so patterns equal to one of them are ignored. The
    function raises an InputError if another pattern matches no name.
    """
    others = [pattern for pattern in patterns if pattern not in front]

    def choose(names: list[str]) -> list[str]:
        return match_names(others, names, "no column {} was logged") if patterns else names

    return choose


def ordered(names: Iterable[str]) -> list[str]:
    """Metric columns in the order of tables: losses and accuracies first, then the others."""
    names = list(names)
    first = [name for name in FIRST_COLUMNS if name in names]
    return first + [name for name in names if name not in first]


def _read_runs(
    store: Store, runs: Sequence[str], wanted: Choice, last: Mapping[str, int] | None
) -> pl.DataFrame:
    among = set(runs)
    parts = list_parts(store, among)
    schemas = [part_columns(store, part) for part in parts]
    every = dict.fromkeys(name for schema in schemas for name in schema if name not in KEYS)
    found = scalar_columns(store, among, last)
    every |= dict.fromkeys(name for name in found.columns if name not in KEYS)
    chosen = wanted(ordered(every))
    own = found.select(*KEYS, *(name for name in found.columns if name in chosen))
    files = tuple(part.file for part in parts)  # a part never changes

    def read() -> pl.DataFrame:
        frames = [
            read_part(store, part, [*KEYS, *(name for name in chosen if name in schema)]).filter(
                pl.col("run").is_in(list(among))
            )
            for part, schema in zip(parts, schemas, strict=True)
            if not chosen or any(name in schema for name in chosen)
        ]
        if own.width > len(KEYS):
            frames.append(own)
        if not frames:
            schema = {"run": pl.String, "step": pl.Int64, "train_loss": pl.Float64}
            return pl.DataFrame(schema=schema)
        by_run = sorted(frames, key=lambda each: each.item(0, "run") if each.height else "")
        if _increases(whole := pl.concat(by_run, how="diagonal_relaxed")):
            return whole.select([*KEYS, *chosen])
        return newest(pl.concat(frames, how="diagonal_relaxed")).select([*KEYS, *chosen])

    scalars = tuple(own.hash_rows()) if own.width > len(KEYS) else ()
    return store.frames.get((files, frozenset(among), tuple(chosen), scalars), read)


def newest(frame: pl.DataFrame) -> pl.DataFrame:
    """One row for each run and step, with the last non-null value of each column."""
    if _increases(frame):
        return frame
    frame = frame.sort(KEYS, maintain_order=True)
    follows = (frame["run"] == frame["run"].shift()) & (frame["step"] == frame["step"].shift())
    if not follows.any():
        return frame
    again = follows.fill_null(value=False) | follows.shift(-1).fill_null(value=False)
    several = frame.filter(again)
    merged = several.group_by(KEYS, maintain_order=True).agg(pl.exclude(KEYS).drop_nulls().last())
    return pl.concat([frame.filter(~again), merged.select(frame.columns)]).sort(KEYS)


def _increases(frame: pl.DataFrame) -> bool:
    """Whether rows are sorted by run and step, and none has those of another one."""
    run, step = frame["run"], frame["step"]
    same, later = run == run.shift(), step > step.shift()
    return bool(((run > run.shift()) | (same & later)).slice(1).all())


def key_column(values: list[object]) -> pl.Series:
    """A variant key's values as a column; values of mixed or nested types become text.

    It has no value where the key does not vary.
    """
    values = [None if isinstance(value, Inactive) else value for value in values]
    types = {type(value) for value in values if value is not None}
    if types <= {int, float} or (len(types) == 1 and types <= {bool, str}):
        return pl.Series(values, strict=False)
    return pl.Series([None if value is None else _text(value) for value in values])


def column_cells(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The variant of each run with the values that columns have, as labels of curves show them.

    Whole numbers beside decimals are decimals there, and values of mixed types are text.
    """
    keys = dict.fromkeys(key for run in runs for key in run.variant)
    columns = {key: key_column([run.variant.get(key) for run in runs]) for key in keys}
    return [
        {
            key: value if isinstance(value, Inactive) else columns[key][place]
            for key, value in run.variant.items()
        }
        for place, run in enumerate(runs)
    ]


def column_labels(runs: Sequence[RunRecord]) -> list[str]:
    """The label of each run's variant, as bands of its metrics have it."""
    return [variant_label(cell) for cell in column_cells(runs)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
