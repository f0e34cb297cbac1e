"""Repairs the rows of an index: finds the bit that changed, or drops what can be made again.

A row whose digest does not fit is tried with each of its bits flipped; the row that fits is the one
that was written. A row that cannot be corrected is dropped if reading or training makes it again.
"""

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablab.config import Problem
from ablab.config.files import write_atomically
from ablab.store.index import Index
from ablab.store.leases import live_owners
from ablab.store.paths import DAMAGED, inside
from ablab.store.row_digests import Value, add_functions, digest_of_row
from ablab.store.schema import FORMAT, CoveredTable, StoreError, covered_tables, stored_format
from ablab.store.sums_sql import count_sums, has_sums, wrong_sums

# Training or reading makes the rows of these tables again.
_MADE_AGAIN = {
    "runs": "ablab run registers it again and continues from its last snapshot",
    "members": "ablab run registers it again",
    "parts": "ablab run trains the steps again",
    "part_runs": "ablab run trains the steps again",
    "snapshots": "ablab run trains from an earlier snapshot",
    "bundles": "ablab check --repair lists it again",
    "kept": "ablab replay captures it again",
    "readings": "it is read again",
    "findings": "ablab analyze computes it again",
    "analyses": "ablab analyze records it again",
    "registrations": "ablab run records it again",
    "samples": "ablab run generates it again",
    "aliases": "ablab run registers it again",
    "initial": "the snapshot of step 0 has the same parameters",
    "digests": "ablab check --repair records the digest again",
    "shares": "ablab check --repair records the digest again",
}


@dataclass(frozen=True)
class IndexRepair:
    """What was done to an index.

    Attributes:
        done: What was corrected or dropped, one sentence each.
        left: Damage that remains, one sentence each.
    """

    done: list[str]
    left: list[str]


def repair_index(folder: Path) -> IndexRepair:
    """Repairs the index of a store; a copy of the damaged one is kept in ``damaged/``.

    Args:
        folder: The store's folder.

    Raises:
        StoreError: The index cannot be read, or a process is training in the store.
    """
    path = folder / "index.sqlite"
    index = Index(path, create=False, verify=False)
    damage = index.damage()
    in_use = bool(damage) and bool(live_owners(index))
    index.close()
    if not damage:
        return IndexRepair([], [])
    if in_use:
        raise StoreError(
            Problem(
                "a process is training in this store", given=str(folder), expected="an idle one"
            )
        )
    _keep_copy(path, folder / DAMAGED)
    done = _repair(path)
    index = Index(path, create=False, verify=False)
    left = index.damage()
    index.close()
    return IndexRepair(done, left)


def _keep_copy(path: Path, folder: Path) -> None:
    """Copies the index and its log."""
    root, number = folder.parent, 1
    while any(inside(root, DAMAGED, each).exists() for each in _copies(path, number)):
        number += 1
    for name, copy in zip((path.name, f"{path.name}-wal"), _copies(path, number), strict=True):
        source = path.with_name(name)
        if source.is_file():
            to = inside(root, DAMAGED, copy)
            content = source.read_bytes()
            write_atomically(to, lambda partial, content=content: partial.write_bytes(content))  # type: ignore[misc]


def _copies(path: Path, number: int) -> tuple[str, str]:
    """The names of a copy of the index and of its log."""
    name = f"{path.stem}-{number}{path.suffix}"
    return name, f"{name}-wal"


def _repair(path: Path) -> list[str]:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    try:
        add_functions(connection)
        if stored_format(connection) != FORMAT:
            return []
        connection.execute("BEGIN IMMEDIATE")
        done: list[str] = []
        if connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            connection.execute("REINDEX")
            done.append("index: its lookup tables were built again")
        for table in covered_tables():
            done += _repair_table(connection, table)
        if has_sums(connection) and list(wrong_sums(connection)):
            count_sums(connection)
            done.append("index: its sums were counted again")
        connection.execute("COMMIT")
    except (sqlite3.DatabaseError, UnicodeDecodeError):  # its structure is damaged
        return []
    finally:
        connection.close()
    return done


def _repair_table(connection: sqlite3.Connection, table: CoveredTable) -> Iterator[str]:
    digests: dict[bytes, bytes] = dict(
        connection.execute(
            "SELECT CAST(of_row AS BLOB), digest FROM row_digests WHERE of_table = ?", (table.name,)
        )
    )
    rows = []
    unlike = []
    for *row, valid in connection.execute(
        f"SELECT {table.values()}, {table.valid} FROM {table.name} NOT INDEXED"
    ):
        rows.append(_key(table, row))
        if not valid or digests.get(rows[-1]) != digest_of_row(*row):
            unlike.append(tuple(row))
    lost = {key: digests[key] for key in digests.keys() - set(rows)}
    said: dict[bytes, str] = {}
    for row in unlike:
        key = _key(table, row)
        # A row whose own key has changed is the one of a digest that has no row.
        wanted = {key: digests[key]} if key in digests else lost
        fits = _corrected(row, wanted)
        if fits is not None:
            of_row, corrected = fits
            lost.pop(of_row, None)
            _replace(connection, table, row, corrected, of_row)
            what = "its digest or a type" if corrected == row else "one bit"
            said[key] = f"{what} had changed; corrected"
        elif table.name in _MADE_AGAIN:
            _replace(connection, table, row, None, key)
            said[key] = f"dropped; {_MADE_AGAIN[table.name]}"
    for row in _still_invalid(connection, table):  # it was written so
        key = _key(table, row)
        if table.name not in _MADE_AGAIN:
            said.pop(key, None)
            continue
        _replace(connection, table, row, None, key)
        said[key] = f"dropped; {_MADE_AGAIN[table.name]}"
    for key in lost if table.name in _MADE_AGAIN else ():
        _forget(connection, table, key)
        said[key] = f"lost; {_MADE_AGAIN[table.name]}"
    for key, what in said.items():
        yield f"index: {table.name}, row {_readable(key)}: {what}"


def _still_invalid(connection: sqlite3.Connection, table: CoveredTable) -> list[tuple[Value, ...]]:
    """The rows with a value that is not of the expected form."""
    return connection.execute(
        f"SELECT {table.values()} FROM {table.name} NOT INDEXED WHERE NOT ({table.valid})"
    ).fetchall()


def _key(table: CoveredTable, row: Sequence[Value]) -> bytes:
    """The primary key of a row as it is written with its digest."""
    values = [row[table.columns.index(name)] for name in table.keys]
    return b" ".join(each if isinstance(each, bytes) else str(each).encode() for each in values)


def _readable(key: bytes) -> str:
    return repr(key.decode("utf-8", "backslashreplace"))


def _corrected(
    row: Sequence[Value], wanted: dict[bytes, bytes]
) -> tuple[bytes, tuple[Value, ...]] | None:
    """The row that a digest belongs to, if at most one bit of the row or of the digest changed.

    Args:
        row: The damaged row.
        wanted: The digests that may belong to it, by the key that they are kept under.

    Returns:
        The key of that digest, and the row; None if no row fits.
    """
    row = tuple(row)
    made = int.from_bytes(digest_of_row(*row))
    for key, digest in wanted.items():
        if (made ^ int.from_bytes(digest)).bit_count() <= 1:
            return key, row
    keys = {digest: key for key, digest in wanted.items()}
    for place, value in enumerate(row):
        for changed in _with_one_bit_changed(value):
            tried = (*row[:place], changed, *row[place + 1 :])
            key_of = keys.get(digest_of_row(*tried))
            if key_of is not None:
                return key_of, tried
    return None


def _with_one_bit_changed(value: Value) -> Iterator[Value]:
    if isinstance(value, bytes):
        for bit in range(8 * len(value)):
            yield (
                value[: bit // 8] + bytes([value[bit // 8] ^ 1 << bit % 8]) + value[bit // 8 + 1 :]
            )
    elif isinstance(value, float):
        (bits,) = struct.unpack(">q", struct.pack(">d", value))
        for bit in range(64):
            flipped = bits ^ (1 << bit if bit < 63 else -(1 << 63))
            yield struct.unpack(">d", struct.pack(">q", flipped))[0]
    elif isinstance(value, int):
        for bit in range(63):
            yield value ^ (1 << bit)


def _replace(
    connection: sqlite3.Connection,
    table: CoveredTable,
    row: Sequence[Value],
    by: Sequence[Value] | None,
    key: bytes,
) -> None:
    """Replaces a row and its digest by another row, or drops both."""
    same = " AND ".join(
        f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END IS ?"
        for name in table.keys
    )
    values = [row[table.columns.index(name)] for name in table.keys]
    connection.execute(f"DELETE FROM {table.name} WHERE {same}", values)
    _forget(connection, table, key)
    if by is not None:
        marks = ", ".join("CAST(? AS TEXT)" if isinstance(v, bytes) else "?" for v in by)
        connection.execute(f"INSERT INTO {table.name} VALUES ({marks})", by)
        connection.execute(
            "INSERT OR REPLACE INTO row_digests VALUES (?, CAST(? AS TEXT), ?)",
            (table.name, _key(table, by), digest_of_row(*by)),
        )


def _forget(connection: sqlite3.Connection, table: CoveredTable, key: bytes) -> None:
    connection.execute(
        "DELETE FROM row_digests WHERE of_table = ? AND CAST(of_row AS BLOB) = ?", (table.name, key)
    )
