"""The index: a SQLite file that lists runs, metrics parts and snapshots.

A file that the index does not list is ignored; its write was never finished.
"""

import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ablab.config import Problem
from ablab.config.files import WriteError, create_atomically
from ablab.store.file_system import connect, identity, network_problem
from ablab.store.row_digests import (
    add_digests,
    add_functions,
    damaged_rows,
    keep_digests,
    verify_rows,
)
from ablab.store.schema import (
    ADDED,
    FORMAT,
    READABLE,
    StoreError,
    check_schema,
    create_tables,
    stored_format,
)
from ablab.store.sums_sql import count_sums, keep_sums
from ablab.store.verified import Verified, files_state, note_verified, staying_verified

__all__ = ["Index", "StoreError"]

_CACHE_KIB = 65_536  # SQLite's own 2 MiB hold few of the keys of a large index


def _make(path: Path) -> None:
    """Creates an index atomically; if another process was faster, its index stays."""
    try:
        create_atomically(path, _write_empty)
    except WriteError as error:
        raise StoreError(
            Problem(f"cannot create the store's index ({error.__cause__})", given=str(path))
        ) from error


def _write_empty(path: Path) -> None:
    """Writes an index without rows.

    It is written before it gets a write-ahead log: closing a connection tells nobody if the disk
    was too full to copy the log's end into the file, and the log does not move with the file.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN")
        create_tables(connection)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")  # writes the file's header only
    finally:
        connection.close()


class Index:
    """A connection to a store's index.

    The index is verified when it is opened: it must hold the tables of :mod:`ablab.store.schema`
    and nothing else, and every row must be the one that was written
    (:mod:`ablab.store.row_digests`).

    Args:
        path: The SQLite file.
        create: Whether to create the index if it is missing.
        write: Whether to open it for writing. If false, not even the tables that a later release
            added are created.
        verify: Whether to verify the rows; false for what reports or repairs damage.

    Raises:
        StoreError: The file is missing, damaged, not an index, or from another release.
    """

    def __init__(
        self, path: Path, create: bool, write: bool = True, *, verify: bool = True
    ) -> None:
        if not create and not path.is_file():
            raise StoreError(Problem(f"there is no store index at {path}", given=str(path)))
        self.path = path
        if create:
            refusal = network_problem(path)
            if refusal is not None:
                raise StoreError(refusal)
            if not path.is_file():
                _make(path)
        try:
            opened = connect(path, write)
        except sqlite3.DatabaseError as error:
            raise _unreadable(error, path) from error
        self._connection, self._refusal = opened.connection, opened.refusal
        self._connection.row_factory = sqlite3.Row
        self._end = weakref.finalize(self, _end, self._connection, path)
        self._keeps_digests = False
        self.has_sums = True
        self._identity = identity(path)
        try:
            self._open(opened.writable, verify)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            self.close()
            raise _unreadable(error, path) from error
        except StoreError:
            self.close()
            raise

    def _open(self, writable: bool, verify: bool) -> None:
        connection = self._connection
        for pragma in (
            "foreign_keys = ON",
            "trusted_schema = OFF",  # functions in a file from elsewhere are not called
            "cell_size_check = ON",
            "temp_store = MEMORY",
            f"cache_size = -{_CACHE_KIB}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        add_functions(connection)
        self._format = stored_format(connection)
        if self._format not in READABLE:
            raise StoreError(
                Problem(
                    "this store was written by another release of ablab"
                    if self._format
                    else "the store's index is empty or incomplete",
                    given=f"{self.path}, format {self._format}",
                    expected="format " + " or ".join(map(str, READABLE)),
                )
            )
        check_schema(connection, str(self.path))
        self._complete(writable)
        if verify:
            verify_rows(connection, self.path, with_digests=self._format == FORMAT)

    def damage(self) -> list[str]:
        """What is wrong with the index, a sentence for each place; empty if it is sound."""
        state, began, clock = files_state(self.path), time.time(), time.monotonic()
        try:
            broken = [
                f"index: {row[0]}"
                for row in self._connection.execute("PRAGMA integrity_check")
                if row[0] != "ok"
            ]
            rows = damaged_rows(self._connection, with_digests=self._format == FORMAT)
            broken += [f"index: {each}" for each in rows]
            if not broken:
                note_verified(self.path, Verified(state, began, time.monotonic() - clock))
            return broken
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            return [f"index: {error}"]

    def _complete(self, writable: bool) -> None:
        """Adds the tables that a store from an earlier release lacks."""
        rows = self._connection.execute("SELECT name FROM sqlite_master").fetchall()
        lacking = [name for name in ADDED if name not in {row["name"] for row in rows}]
        if not lacking:
            return
        if not writable:  # temporary tables, for this connection only
            self.has_sums = "sums" not in lacking
            for name in lacking if self.has_sums else set(lacking) - {"sums"}:
                self._connection.execute(f"CREATE TEMP TABLE {name} {ADDED[name]}")
            return
        with self._writing():
            for name in lacking:  # another process may be doing the same
                self._connection.execute(f"CREATE TABLE IF NOT EXISTS {name} {ADDED[name]}")
            if "sums" in lacking:
                count_sums(self._connection)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction, rolled back if an exception is raised.

        It keeps the digests of rows; the first one on an index without digests adds them.

        Raises:
            StoreError: The index cannot be written.
        """
        if not self._keeps_digests:
            keep_digests(self._connection)
            keep_sums(self._connection)
            self._keeps_digests = True
        with self._writing():
            if self._format != FORMAT and stored_format(self._connection) != FORMAT:
                add_digests(self._connection)
            yield self._connection
        self._format = FORMAT

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("BEGIN IMMEDIATE")
            with staying_verified(self.path):  # nobody else writes until the end
                yield
                self.check_in_place()
                self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:  # a full disk has already rolled it back
                with suppress(sqlite3.DatabaseError):
                    self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) or _is_damage(error):
                raise StoreError(
                    self._refusal
                    or Problem(f"cannot write the store's index ({error})", given=str(self.path))
                ) from error
            raise

    def check_in_place(self) -> None:
        """Checks that the index is still the file at its path.

        SQLite goes on with a file that was deleted or moved, but new files of the store would go
        to the old path.

        Raises:
            StoreError: The store was deleted, moved or replaced.
        """
        found = identity(self.path)
        if found == self._identity:
            return
        what = "was deleted or moved" if found is None else "was replaced by another one"
        raise StoreError(
            Problem(
                f"the store {what} while it was in use",
                given=str(self.path.parent),
                expected="the store that was opened; nothing more is written. If it was moved, run "
                "the same command with its new path",
            )
        )

    @property
    def writable(self) -> bool:
        """Whether this connection may write."""
        return self._refusal is None

    @contextmanager
    def view(self) -> Iterator[None]:
        """Within this context, all queries see one state of the index, whatever others write.

        So they do within a transaction, and within another such context.

        Raises:
            StoreError: The index is damaged.
        """
        if self._connection.in_transaction:
            yield
            return
        self.rows("BEGIN")
        try:
            yield
        finally:
            with suppress(sqlite3.DatabaseError):
                self._connection.execute("COMMIT")

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
            raise _unreadable(error, self.path) from error

    def close(self) -> None:
        """Closes the connection."""
        self._end()


_DISK_ERRORS = ("IOERR", "FULL", "CANTOPEN", "READONLY", "BUSY", "LOCKED", "PERM", "NOMEM")


def _end(connection: sqlite3.Connection, path: Path) -> None:
    """Closes a connection; the last one moves the log into the file, which stays verified."""
    with staying_verified(path), suppress(sqlite3.ProgrammingError):  # one of another thread
        connection.close()


def _is_damage(error: BaseException) -> bool:
    return type(error) is sqlite3.DatabaseError


def _unreadable(error: Exception, path: Path) -> StoreError:
    """The error for an index that is damaged, or that cannot be read because of its disk."""
    name = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_")
    if name.startswith(_DISK_ERRORS):
        return StoreError(
            Problem(
                f"cannot read the store's index ({error})",
                given=str(path),
                expected="a disk that works and is not full, and permission to read",
            )
        )
    return StoreError(
        Problem(
            f"the store's index is damaged or not an index ({error})",
            given=str(path),
            expected="an index written by ablab; restore it from a backup of the store",
        )
    )
