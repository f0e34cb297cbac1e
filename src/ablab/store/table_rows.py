"""Rows of the index by the values of a column, and rows that are added where there is none."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from ablab.store.store import Store


def insert_missing(
    connection: sqlite3.Connection,
    table: str,
    columns: Iterable[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Adds rows to a table, except those whose key it has."""
    names = list(columns)
    if names:
        marks = ", ".join("?" * len(names))
        connection.executemany(
            f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})", rows
        )


def rows_with(store: Store, table: str, column: str, values: Sequence[Any]) -> list[sqlite3.Row]:
    """The rows of a table with some values in a column."""
    return store.index.rows(
        f"SELECT * FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))",
        json.dumps(list(values)),
    )


def last_snapshots(rows: Sequence[sqlite3.Row]) -> list[sqlite3.Row]:
    """The last snapshot of each run, and the last that training can resume from."""
    last: dict[tuple[str, bool], sqlite3.Row] = {}
    for row in sorted(rows, key=lambda row: row["step"]):
        last[row["run"], False] = row
        if row["has_optimizer"]:
            last[row["run"], True] = row
    return list({(row["run"], row["step"]): row for row in last.values()}.values())
