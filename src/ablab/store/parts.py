"""Metrics parts: Parquet files that are written once and never changed."""

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from ablab.config import Problem
from ablab.store.digests import Written, damage, record_digests, write_digested
from ablab.store.index import StoreError
from ablab.store.parquet import DamagedError, column_types, read_rows
from ablab.store.paths import metrics_path
from ablab.store.shares import Share, shares
from ablab.store.store import Store

REPAIR = "the file that was written: ablab check says what to do, ablab check --repair does it"


@dataclass(frozen=True)
class Part:
    """A metrics part as the index lists it.

    Attributes:
        id: Its number; where two parts have a value of the same step, the later part's is used.
        file: Its file name.
        rows: The number of rows.
        bytes: The size of the file.
        digests: The digests that the file may have, with its size; empty in a store that an
            earlier release wrote.
        shares: Its rows by run; empty in a store that an earlier release wrote.
        runs: The runs that have rows in it.
    """

    id: int
    file: str
    rows: int
    bytes: int
    digests: dict[str, int]
    shares: tuple[Share, ...]
    runs: tuple[str, ...]


@dataclass(frozen=True)
class WrittenPart:
    """A part that was written and is not in the index yet."""

    written: Written
    shares: list[Share]

    @property
    def file(self) -> str:
        """Its file name."""
        return self.written.path.name


def write_part(store: Store, frame: pl.DataFrame) -> WrittenPart:
    """Writes rows as a new part. Does not change the index.

    Raises:
        StoreError: The part cannot be written.
    """
    path = metrics_path(store.path, f"{uuid4().hex}.parquet")
    written = write_digested(store, path, lambda to: frame.write_parquet(to, compression="zstd"))
    return WrittenPart(written, shares(frame))


def add_part(
    connection: sqlite3.Connection, store: Store, part: WrittenPart, number: int | None = None
) -> None:
    """Adds a part to the index, inside the caller's transaction."""
    cursor = connection.execute(
        "INSERT INTO parts (id, file, rows, bytes) VALUES (?, ?, ?, ?)",
        (number, part.file, sum(each.rows for each in part.shares), part.written.bytes),
    )
    made = cursor.lastrowid
    connection.executemany(
        "INSERT INTO part_runs (run, part) VALUES (?, ?)",
        [(each.run, made) for each in part.shares],
    )
    assert made is not None, "SQLite numbers every row that it adds"
    add_shares(connection, made, part.shares)
    record_digests(connection, store, [part.written])


def add_shares(connection: sqlite3.Connection, part: int, shares: Sequence[Share]) -> None:
    """Records the shares of a part, inside the caller's transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO shares VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (part, each.run, each.rows, each.first, each.last, each.losses, each.digest)
            for each in shares
        ],
    )


def append_rows(store: Store, frame: pl.DataFrame) -> None:
    """Adds rows of runs that this process owns, as a new part.

    Raises:
        StoreError: The part or the index cannot be written.
    """
    part = write_part(store, frame)
    with store.index.transaction() as connection:
        add_part(connection, store, part)


def list_parts(store: Store, among: Collection[str] | None = None) -> list[Part]:
    """The parts of a store, or those with rows of some runs, ordered by their numbers."""
    runs: dict[int, list[str]] = {}
    for row in store.index.rows("SELECT part, run FROM part_runs ORDER BY part, run"):
        runs.setdefault(row["part"], []).append(row["run"])
    known: dict[int, list[Share]] = {}
    for row in store.index.rows("SELECT * FROM shares ORDER BY part, run"):
        part, *values = tuple(row)
        known.setdefault(part, []).append(Share(*values))
    found = []
    for row in store.index.rows(
        """SELECT p.*, d.digest, d.bytes size FROM parts p LEFT JOIN digests d
           ON d.path = 'metrics/' || p.file ORDER BY p.id"""
    ):
        part_runs = runs.get(row["id"], [])
        if among is None or any(run in among for run in part_runs):
            digests = {} if row["digest"] is None else {row["digest"]: row["size"]}
            found.append(
                Part(
                    row["id"],
                    row["file"],
                    row["rows"],
                    row["bytes"],
                    digests,
                    tuple(known.get(row["id"], [])),
                    tuple(part_runs),
                )
            )
    return found


def part_columns(store: Store, part: Part) -> list[str]:
    """The names of a part's columns.

    Raises:
        StoreError: The part is damaged.
        FileNotFoundError: Another process merged the part.
    """
    path = _sound(store, part)
    try:
        return list(column_types(path))
    except DamagedError as error:
        raise damaged_part(path, part, str(error)) from error


def read_part(store: Store, part: Part, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows of a part.

    Raises:
        StoreError: The part is damaged.
        FileNotFoundError: Another process merged the part.
    """
    path = _sound(store, part)
    try:
        return read_rows(path, part.rows, columns)
    except DamagedError as error:
        raise damaged_part(path, part, str(error)) from error


def damaged_part(path: Path, part: Part, reason: str) -> StoreError:
    """The error that a part is damaged, with the runs and steps whose rows are in it."""
    return StoreError(
        Problem(
            f"a metrics part is damaged ({reason}); it has rows of {_runs(part)}",
            given=str(path),
            expected=REPAIR,
        )
    )


def _sound(store: Store, part: Part) -> Path:
    """The path of a part, whose digest was compared."""
    path = metrics_path(store.path, part.file)
    reason = damage(path, part.digests, once=True)
    if reason is not None:
        raise damaged_part(path, part, reason)
    return path


def _runs(part: Part) -> str:
    named: list[Any] = [
        f"run {each.run}, steps {each.first} to {each.last}" for each in part.shares
    ] or [f"run {run}" for run in part.runs]
    return "; ".join(named[:5]) + (f" and {len(named) - 5} further runs" if named[5:] else "")
