"""The index: a SQLite file that lists runs, metrics parts and snapshots.

A file that the index does not list is ignored; its write was never finished.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ablab.config import InputError, Problem
from ablab.config.files import WriteError, create_atomically

FORMAT = 1

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE experiments (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL UNIQUE,
    question TEXT NOT NULL, definition TEXT NOT NULL, command TEXT NOT NULL,
    environment TEXT NOT NULL, levels TEXT NOT NULL, created TEXT NOT NULL, asked TEXT NOT NULL,
    entry TEXT
);
CREATE INDEX experiments_by_name ON experiments (name, asked);
CREATE TABLE runs (
    id TEXT PRIMARY KEY, trajectory TEXT NOT NULL, seed INTEGER NOT NULL,
    step INTEGER NOT NULL DEFAULT 0, outcome TEXT, error TEXT, n_params INTEGER,
    seconds REAL NOT NULL DEFAULT 0, train_loss REAL, eval_loss REAL,
    segments TEXT NOT NULL DEFAULT '[]', deaths INTEGER NOT NULL DEFAULT 0, owner TEXT,
    created TEXT NOT NULL, updated TEXT NOT NULL
);
CREATE INDEX runs_by_owner ON runs (owner) WHERE owner IS NOT NULL;
CREATE TABLE members (
    experiment INTEGER NOT NULL REFERENCES experiments (id), run TEXT NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL, variant TEXT NOT NULL, steps INTEGER NOT NULL, stopped INTEGER,
    PRIMARY KEY (experiment, run)
) WITHOUT ROWID;
CREATE INDEX members_by_run ON members (run);
CREATE TABLE owners (
    token TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, started REAL NOT NULL,
    heartbeat REAL NOT NULL
);
CREATE TABLE parts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, file TEXT NOT NULL UNIQUE, rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL
);
CREATE TABLE part_runs (
    run TEXT NOT NULL, part INTEGER NOT NULL REFERENCES parts (id) ON DELETE CASCADE,
    PRIMARY KEY (run, part)
) WITHOUT ROWID;
CREATE TABLE snapshots (
    run TEXT NOT NULL, step INTEGER NOT NULL, bytes INTEGER NOT NULL,
    has_optimizer INTEGER NOT NULL, passing INTEGER NOT NULL, PRIMARY KEY (run, step)
) WITHOUT ROWID;
CREATE TABLE notes (
    id INTEGER PRIMARY KEY, experiment INTEGER NOT NULL REFERENCES experiments (id),
    text TEXT NOT NULL, created TEXT NOT NULL
);
"""
# Tables added by later releases; an older store gets them when it is next opened for writing.
_ADDED = {
    "kept": """(
    kind TEXT NOT NULL, run TEXT NOT NULL, step INTEGER NOT NULL, bytes INTEGER NOT NULL,
    about TEXT NOT NULL, PRIMARY KEY (kind, run, step)
) WITHOUT ROWID""",
    "readings": """(
    run TEXT NOT NULL, column TEXT NOT NULL, steps INTEGER NOT NULL, edition TEXT NOT NULL,
    reading TEXT NOT NULL, PRIMARY KEY (run, column, steps)
) WITHOUT ROWID""",
    "expectations": """(
    id INTEGER PRIMARY KEY, experiment INTEGER NOT NULL, expectation TEXT NOT NULL,
    written TEXT NOT NULL, seen INTEGER NOT NULL, runs INTEGER NOT NULL,
    UNIQUE (experiment, expectation)
)""",
    "registrations": "(experiment INTEGER PRIMARY KEY, registration TEXT NOT NULL)",
    "samples": """(
    run TEXT NOT NULL, step INTEGER NOT NULL, text TEXT NOT NULL, about TEXT NOT NULL,
    PRIMARY KEY (run, step)
) WITHOUT ROWID""",
}


class StoreError(InputError):
    """The store cannot be used: it is missing, damaged, not a store, or from another release."""


def _make(path: Path) -> None:
    """Creates an index atomically; if another process was faster, its index stays."""
    try:
        create_atomically(path, _write_empty)
    except WriteError as error:
        raise StoreError(
            Problem(f"cannot create the store's index ({error.__cause__})", given=str(path))
        ) from error


def _write_empty(path: Path) -> None:
    added = [f"CREATE TABLE {name} {columns}" for name, columns in _ADDED.items()]
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN")
        for statement in [*_SCHEMA.split(";"), *added]:
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES ('format', ?)", (str(FORMAT),))
        connection.execute("COMMIT")
    finally:
        connection.close()


class Index:
    """A connection to a store's index.

    Args:
        path: The SQLite file.
        create: Whether to create the index if it is missing.
        write: Whether to open it for writing. If false, not even the tables that a later release
            added are created.

    Raises:
        StoreError: The file is missing, damaged, not an index, or from another release.
    """

    def __init__(self, path: Path, create: bool, write: bool = True) -> None:
        if not create and not path.is_file():
            raise StoreError(Problem(f"there is no store index at {path}", given=str(path)))
        self.path = path
        if create and not path.is_file():
            _make(path)
        # A store can be read without write permission.
        allowed = create or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
        writable = write and allowed
        # mode=ro reads the write-ahead log of concurrent writers; immutable=1 needs no lock files.
        mode = "" if writable else "?mode=ro" if allowed else "?immutable=1"
        name = path.absolute().as_uri() + mode
        self._connection = sqlite3.connect(name, timeout=60, isolation_level=None, uri=True)
        self._connection.row_factory = sqlite3.Row
        try:
            self._connection.execute("PRAGMA foreign_keys = ON")
            found = self._format()
            if found == FORMAT:
                self._complete(writable)
        except sqlite3.DatabaseError as error:
            raise StoreError(
                Problem(
                    f"the store's index is damaged or not an index ({error})",
                    given=str(path),
                    expected="an index written by ablab; restore it from a backup of the store",
                )
            ) from error
        if found != FORMAT:
            raise StoreError(
                Problem(
                    "this store was written by another release of ablab"
                    if found
                    else "the store's index is empty or incomplete",
                    given=f"{path}, format {found}",
                    expected=f"format {FORMAT}",
                )
            )

    def _format(self) -> int | None:
        has_meta = self._connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = 'meta'"
        ).fetchone()
        if not has_meta:
            return None
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
        return int(row["value"]) if row else None

    def _complete(self, writable: bool) -> None:
        """Adds the tables that a store from an earlier release lacks."""
        rows = self._connection.execute("SELECT name FROM sqlite_master").fetchall()
        lacking = [name for name in _ADDED if name not in {row["name"] for row in rows}]
        if not lacking:
            return
        if not writable:  # temporary tables, for this connection only
            for name in lacking:
                self._connection.execute(f"CREATE TEMP TABLE {name} {_ADDED[name]}")
            return
        with self.transaction():
            for name in lacking:  # another process may be doing the same
                self._connection.execute(f"CREATE TABLE IF NOT EXISTS {name} {_ADDED[name]}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction, rolled back if an exception is raised.

        Raises:
            StoreError: The index cannot be written.
        """
        try:
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:  # a full disk has already rolled it back
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise StoreError(
                    Problem(f"cannot write the store's index ({error})", given=str(self.path))
                ) from error
            raise

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """The rows of a query.

        Raises:
            StoreError: The index is damaged.
        """
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.ProgrammingError:  # a bug in ablab, not damage to the file
            raise
        except sqlite3.DatabaseError as error:
            raise StoreError(
                Problem(f"the store's index is damaged ({error})", given=str(self.path))
            ) from error

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()
