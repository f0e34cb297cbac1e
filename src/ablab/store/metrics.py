"""Metrics in Parquet: append-only parts, merged now and then, read as one Polars frame."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import polars as pl

from ablab.config import Problem, match_names
from ablab.store.files import write_atomically
from ablab.store.index import StoreError
from ablab.store.store import ExperimentRecord, RunRecord, Store, finite

KEYS = ("run", "step")
FIRST_COLUMNS = ("train_loss", "eval_loss", "eval_accuracy", "eval_sequence_accuracy")
_SMALL_BYTES = 8 * 2**20
_SMALL_PARTS = 32


def write_part(store: Store, frame: pl.DataFrame) -> tuple[str, int]:
    """Writes rows as a new part; returns its file's name and size. The index is left alone."""
    name = f"{uuid4().hex}.parquet"
    size = write_atomically(
        store.path / "metrics" / name, lambda path: frame.write_parquet(path, compression="zstd")
    )
    return name, size


def read_runs(store: Store, runs: Sequence[str]) -> pl.DataFrame:
    """All rows of some runs by run and step; where a step was kept twice, the later row counts.

    Raises:
        StoreError: A part is missing or damaged.
    """
    for _ in range(5):
        try:
            return _read_runs(store, runs)
        except FileNotFoundError as error:  # merged away by another process: look again
            missing = error
    raise StoreError(
        Problem(
            "a part of the metrics is missing",
            given=str(missing),
            expected="a whole store; ablab check lists what is damaged",
        )
    )


def restarts(frame: pl.DataFrame) -> dict[str, list[tuple[int, int]]]:
    """The restarts in a frame of metrics by run: after which step, and back to which."""
    found: dict[str, list[tuple[int, int]]] = {}
    if "restart" in frame.columns:
        rows = frame.select("run", "step", "restart").drop_nulls().sort("step")
        for run, step, back_to in rows.iter_rows():
            found.setdefault(run, []).append((step, back_to))
    return found


def experiment_metrics(
    store: Store, record: ExperimentRecord, columns: Sequence[str] = ()
) -> pl.DataFrame:
    """A row for each run and step of an experiment, up to its own steps.

    Args:
        store: The store.
        record: The experiment.
        columns: Names or shell-style patterns of the columns wanted beside run, experiment,
            variant keys, seed and step; all by default.

    Returns:
        Columns ``run``, ``experiment``, the variant's keys, ``seed``, ``step``, ``train_loss`` and
        whatever else was logged; a value that was not logged at a step is null.

    Raises:
        InputError: A pattern matches no column.
    """
    members = store.members(record.id)
    frame = read_runs(store, [member["run"] for member in members])
    variants = [json.loads(member["variant"]) for member in members]
    keys = list(dict.fromkeys(key for variant in variants for key in variant))
    table = pl.DataFrame(
        {
            "run": [member["run"] for member in members],
            "experiment": [record.name] * len(members),
            **{key: _column([variant.get(key) for variant in variants]) for key in keys},
            "seed": [member["seed"] for member in members],
            "_last": [
                member["steps"] if member["stopped"] is None else member["stopped"]
                for member in members
            ],
            "_position": [member["position"] for member in members],
        },
        strict=False,
    )
    joined = table.join(frame, on="run", how="inner").filter(pl.col("step") <= pl.col("_last"))
    joined = joined.sort("_position", "step").drop("_position", "_last")
    front = ["run", "experiment", *keys, "seed", "step"]
    return joined.select(front + chosen_columns(joined, front, columns))


def experiment_runs(store: Store, record: ExperimentRecord) -> list[RunRecord]:
    """The runs of an experiment as it sees them: their losses are those of its own last step.

    An evaluation counts only if it was taken at that step.
    """
    records = store.runs(record)
    ends = {each.run: each.step for each in records}
    rows = {row["id"]: row["step"] for row in store.index.rows("SELECT id, step FROM runs")}
    further = [run for run, end in ends.items() if rows[run] > end]
    if not further:
        return records
    frame = read_runs(store, further)
    measured: dict[tuple[str, int], dict[str, float | None]] = {
        (row["run"], row["step"]): row for row in frame.iter_rows(named=True)
    }
    result = []
    for each in records:
        if each.run in further:
            row = measured.get((each.run, each.step), {})
            losses = {name: finite(row.get(name)) for name in ("train_loss", "eval_loss")}
            result.append(replace(each, **losses))  # type: ignore[arg-type]
        else:
            result.append(each)
    return result


def chosen_columns(frame: pl.DataFrame, front: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The columns behind ``front`` that any pattern matches, in the frame's order.

    Raises:
        InputError: A pattern matches none.
    """
    names = [name for name in frame.columns if name not in front]
    if not patterns:
        return names
    others = [pattern for pattern in patterns if pattern not in front]
    return match_names(others, names, "no column {} was logged")


def compact(store: Store) -> int:
    """Merges small parts into one, if there are many; returns how many were merged."""
    small = store.index.rows(
        "SELECT id, file, bytes FROM parts WHERE bytes < ? ORDER BY id", _SMALL_BYTES
    )
    if len(small) <= _SMALL_PARTS:
        return 0
    try:
        frames = [_read_part(store.path / "metrics" / row["file"]) for row in small]
    except (FileNotFoundError, StoreError):  # merged by another, or damaged: leave all as it is
        return 0
    frame = _newest(_together(frames))
    name, size = write_part(store, frame)
    with store.index.transaction() as connection:
        marks = ",".join("?" * len(small))
        ids = [row["id"] for row in small]
        (still_there,) = connection.execute(
            f"SELECT count(*) FROM parts WHERE id IN ({marks})", ids
        ).fetchone()
        if still_there == len(small):
            # The merged part takes the place, and so the age, of the newest that it replaces.
            connection.execute(f"DELETE FROM parts WHERE id IN ({marks})", ids)
            add_part(connection, name, size, frame, number=ids[-1])
    if still_there != len(small):  # another process merged first
        (store.path / "metrics" / name).unlink()
        return 0
    for row in small:
        (store.path / "metrics" / row["file"]).unlink(missing_ok=True)
    return len(small)


def add_part(
    connection: sqlite3.Connection,
    name: str,
    size: int,
    frame: pl.DataFrame,
    number: int | None = None,
) -> None:
    """Enters a part into the index, inside a transaction of the caller's."""
    cursor = connection.execute(
        "INSERT INTO parts (id, file, rows, bytes) VALUES (?, ?, ?, ?)",
        (number, name, frame.height, size),
    )
    part = cursor.lastrowid
    connection.executemany(
        "INSERT INTO part_runs (run, part) VALUES (?, ?)",
        [(run, part) for run in frame["run"].unique().to_list()],
    )


def ordered(names: Iterable[str]) -> list[str]:
    """Metric columns as tables show them: losses and accuracies first, then by name."""
    names = list(names)
    first = [name for name in FIRST_COLUMNS if name in names]
    return first + [name for name in names if name not in first]


def _read_runs(store: Store, runs: Sequence[str]) -> pl.DataFrame:
    wanted = set(runs)
    rows = store.index.rows(
        "SELECT p.id, p.file, r.run FROM parts p JOIN part_runs r ON r.part = p.id ORDER BY p.id"
    )
    files = list(dict.fromkeys(row["file"] for row in rows if row["run"] in wanted))
    frames = [
        _read_part(store.path / "metrics" / file).filter(pl.col("run").is_in(list(wanted)))
        for file in files
    ]
    if not frames:
        return pl.DataFrame(schema={"run": pl.String, "step": pl.Int64, "train_loss": pl.Float64})
    frame = _newest(_together(frames))
    return frame.select([*KEYS, *ordered(name for name in frame.columns if name not in KEYS)])


def _read_part(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StoreError(
            Problem(
                f"a part of the metrics is damaged ({str(error).splitlines()[0]})",
                given=str(path),
                expected="a whole Parquet file; ablab check lists what is damaged",
            )
        ) from error


def _together(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="diagonal_relaxed")


def _newest(frame: pl.DataFrame) -> pl.DataFrame:
    """One row for each run and step: the last in the frame's order."""
    return frame.unique(subset=KEYS, keep="last", maintain_order=True).sort(KEYS)


def _column(values: list[object]) -> pl.Series:
    """A variant key's values as a column; values of mixed or nested sorts become text."""
    sorts = {type(value) for value in values if value is not None}
    if sorts <= {int, float} or (len(sorts) == 1 and sorts <= {bool, str}):
        return pl.Series(values, strict=False)
    return pl.Series([None if value is None else _text(value) for value in values])


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
