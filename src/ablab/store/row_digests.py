"""Digests of the index's rows: kept up to date by triggers, and compared when an index is opened.

A digest covers every value of a row, and lies on another page of the file than the row. So a
changed value, a row that can no longer be found and one that was never written are all noticed. The
triggers belong to a connection (they are temporary); the file contains none.
"""

import sqlite3
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ablab.config import Problem, counted, doing
from ablab.store.schema import FORMAT, ROW_DIGESTS, CoveredTable, StoreError, covered_tables
from ablab.store.sums_sql import has_sums, wrong_sums
from ablab.store.verified import Verified, files_state, is_large, last_verified, note_verified

Value = int | float | bytes | None
_BYTES = 8  # of a digest; it guards against damage, not against forgery
_SHOWN = 3


@dataclass(frozen=True)
class DamagedRow:
    """A row that differs from what was written.

    Attributes:
        table: Its table.
        row: Its primary key as text.
        what: What is wrong.
    """

    table: str
    row: str
    what: str

    def __str__(self) -> str:
        return f"{self.table}, row {self.row!r}: {self.what}"


def digest_of_row(*values: Value) -> bytes:
    """The digest of a row's values; text is given as bytes."""
    parts = []  # hashed at once: an index has millions of rows
    for value in values:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, bytes):
            parts.append(b"t%d:%b" % (len(value), value))
        elif isinstance(value, float):
            parts.append(b"r" + struct.pack(">d", value))
        else:
            parts.append(b"i%d;" % value)
    return blake2b(b"".join(parts), digest_size=_BYTES).digest()


def add_functions(connection: sqlite3.Connection) -> None:
    """Makes the digest known to a connection, as the SQL function ``row_digest``."""
    connection.create_function("row_digest", -1, digest_of_row, deterministic=True)


def keep_digests(connection: sqlite3.Connection) -> None:
    """From now on, what this connection writes updates the digests."""
    for table in covered_tables():
        name, new, old = table.name, table.key("NEW."), table.key("OLD.")
        forget = f"DELETE FROM row_digests WHERE of_table = '{name}' AND of_row = {{}};"
        add = f"INSERT INTO row_digests VALUES ('{name}', {new}, {table.digest('NEW.')});"
        for event, body in (
            ("INSERT", forget.format(new) + add),
            ("UPDATE", forget.format(old) + forget.format(new) + add),
            ("DELETE", forget.format(old)),
        ):
            connection.execute(
                f"CREATE TEMP TRIGGER IF NOT EXISTS digest_{name}_{event.lower()} "
                f"AFTER {event} ON {name} BEGIN {body} END"
            )


def add_digests(connection: sqlite3.Connection) -> None:
    """Adds digests to an index of format 1, inside the caller's transaction."""
    connection.execute(ROW_DIGESTS)
    for table in covered_tables():
        connection.execute(
            f"INSERT INTO row_digests SELECT '{table.name}', {table.key()}, {table.digest()} "
            f"FROM {table.name}"
        )
    connection.execute("UPDATE meta SET value = ? WHERE key = 'format'", (str(FORMAT),))


def damaged_rows(connection: sqlite3.Connection, with_digests: bool) -> Iterator[DamagedRow]:
    """The rows of an index that are not what was written.

    Args:
        connection: A connection that knows the digest.
        with_digests: Whether the index has digests; without them, only types, JSON and names of
            files are checked.
    """
    for table in covered_tables():
        yield from _invalid(connection, table)
        if with_digests:
            yield from _different(connection, table)
    for experiment in wrong_sums(connection) if has_sums(connection) else ():
        yield DamagedRow("sums", str(experiment), "is not what counting gives")


def _invalid(connection: sqlite3.Connection, table: CoveredTable) -> Iterator[DamagedRow]:
    for (row,) in connection.execute(
        f"SELECT CAST({table.key()} AS BLOB) FROM {table.name} NOT INDEXED "
        f"WHERE NOT ({table.valid})"
    ):
        yield DamagedRow(table.name, _text(row), "a value is not of the expected form")


def _different(connection: sqlite3.Connection, table: CoveredTable) -> Iterator[DamagedRow]:
    key = table.key("t.")
    (digests,) = connection.execute(
        "SELECT count(*) FROM row_digests WHERE of_table = ?", (table.name,)
    ).fetchone()
    (rows,) = connection.execute(f"SELECT count(*) FROM {table.name} NOT INDEXED").fetchone()
    different = 0
    for row, known in connection.execute(
        f"""SELECT CAST({key} AS BLOB), d.digest IS NOT NULL FROM {table.name} t NOT INDEXED
            LEFT JOIN row_digests d ON d.of_table = '{table.name}' AND d.of_row = {key}
            WHERE d.digest IS NOT {table.digest("t.")}"""
    ):
        different += 1
        what = "differs from what was written" if known else "was not written by ablab"
        yield DamagedRow(table.name, _text(row), what)
    if not different and rows == digests:
        return  # each row has one of the digests, and there are no others
    for (row,) in connection.execute(
        f"""SELECT CAST(of_row AS BLOB) FROM row_digests WHERE of_table = '{table.name}'
            EXCEPT SELECT CAST({key} AS BLOB) FROM {table.name} t NOT INDEXED"""
    ):
        yield DamagedRow(table.name, _text(row), "is missing")


def _text(row: bytes | None) -> str:
    return (row or b"").decode("utf-8", "backslashreplace")


def verify_rows(connection: sqlite3.Connection, path: Path, with_digests: bool) -> None:
    """Verifies an index, unless that was done in this state of its files.

    See :mod:`ablab.store.verified`.

    Raises:
        StoreError: Some rows are damaged.
    """
    state = files_state(path)
    before = last_verified(path)
    if before is not None and (before.state == state or (is_large(path) and before.rests())):
        return
    began, clock = time.time(), time.monotonic()
    connection.execute("BEGIN")  # one view of all tables, whatever others write
    try:
        with doing("verifying the index"):
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check")]
            if problems == ["ok"]:
                problems = [str(each) for each in damaged_rows(connection, with_digests)]
    finally:
        connection.execute("COMMIT")
    if problems:
        few = "; ".join(problems[:_SHOWN]) + ("; …" if len(problems) > _SHOWN else "")
        raise StoreError(
            Problem(
                f"the store's index is damaged in {counted(len(problems), 'place')}: {few}",
                given=str(path),
                expected="what ablab wrote; ablab check --repair corrects what can be corrected",
            )
        )
    note_verified(path, Verified(state, began, time.monotonic() - clock))
