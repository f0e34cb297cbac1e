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


def lacking_findings(source: Store, target: Store, runs: Sequence[str]) -> list[sqlite3.Row]:
    """The findings of some runs that a target lacks.

    Those of an analysis of a run are left out where the target has such with another key, found in
    another way.
    """
    there = rows_with(target, "findings", "run", runs)
    places = {(row["run"], row["step"], row["name"]) for row in there}
    keys = {(row["run"], row["name"]): row["key"] for row in there}
    return [
        row
        for row in rows_with(source, "findings", "run", runs)
        if (row["run"], row["step"], row["name"]) not in places
        and keys.get((row["run"], row["name"]), row["key"]) == row["key"]
    ]


def last_snapshots(rows: Sequence[sqlite3.Row]) -> list[sqlite3.Row]:
    """The last snapshot of each run, and the last that training can resume from."""
    last: dict[tuple[str, bool], sqlite3.Row] = {}
    for row in sorted(rows, key=lambda row: row["step"]):
        last[row["run"], False] = row
        if row["has_optimizer"]:
            last[row["run"], True] = row
    return list({(row["run"], row["step"]): row for row in last.values()}.values())
