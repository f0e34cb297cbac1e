"""Metrics parts: Parquet files that are written once and never changed."""

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
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
        runs: The runs that have rows in it; of parts with rows of some runs, only those runs.
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
    return list(each_part(store, among))


def each_part(store: Store, among: Collection[str] | None = None) -> Iterator[Part]:
    """As :func:`list_parts`, read as the list goes on: a part may have rows of many runs."""
    named = "" if among is None else "WHERE run IN (SELECT value FROM json_each(?))"
    values = () if among is None else (json.dumps(sorted(among)),)
    runs: dict[int, list[str]] = {}
    with store.index.view():  # else parts that are merged between both queries would be missed
        listed = store.index.rows(f"SELECT part, run FROM part_runs {named} ORDER BY run", *values)
        for row in listed:
            runs.setdefault(row["part"], []).append(row["run"])
        parts = store.index.rows(
            """SELECT p.*, d.digest, d.bytes size FROM parts p LEFT JOIN digests d
               ON d.path = 'metrics/' || p.file WHERE ?1 IS NULL OR p.id IN
               (SELECT value FROM json_each(?1)) ORDER BY p.id""",
            None if among is None else json.dumps(list(runs)),
        )
    for row in parts:
        number = row["id"]
        known = store.index.rows("SELECT * FROM shares WHERE part = ? ORDER BY run", number)
        yield Part(
            number,
            row["file"],
            row["rows"],
            row["bytes"],
            {} if row["digest"] is None else {row["digest"]: row["size"]},
            tuple(Share(*tuple(each)[1:]) for each in known),
            tuple(runs.get(number, ())),
        )


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
