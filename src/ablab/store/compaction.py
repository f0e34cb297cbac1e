"""Compaction: merges many small metrics parts into few."""

import polars as pl

from ablab.store.digests import forget_digests
from ablab.store.files import remove
from ablab.store.index import StoreError
from ablab.store.metrics import newest
from ablab.store.parts import Part, add_part, list_parts, part_columns, read_part, write_part
from ablab.store.paths import metrics_path
from ablab.store.store import Store

_SMALL_BYTES = 8 * 2**20
_SMALL_PARTS = 32
_CELLS = 20_000_000  # of a merged table, which is in memory several times over


def compact(store: Store) -> int:
    """Merges small parts if there are many; returns the number of merged parts.

    Parts with damaged rows are left as they are.
    """
    (row,) = store.index.rows("SELECT count(*) small FROM parts WHERE bytes < ?", _SMALL_BYTES)
    if row["small"] <= _SMALL_PARTS:
        return 0
    groups = [some for group in _groups(list_parts(store)) for some in _within_memory(store, group)]
    return sum(_merge(store, group) for group in groups if len(group) > 1)


def _groups(parts: list[Part]) -> list[list[Part]]:
    """Groups of small parts that can be merged without a value passing a later one.

    The merged part gets the number, and so the age, of the latest part that it replaces. A large
    part between them ends a group if it has rows of a run that the group has rows of: the group's
    would otherwise become later than its own.
    """
    groups: list[list[Part]] = [[]]
    runs: set[str] = set()
    for part in parts:
        if part.bytes < _SMALL_BYTES:
            groups[-1].append(part)
            runs.update(part.runs)
        elif not runs.isdisjoint(part.runs):
            groups.append([])
            runs = set()
    return groups


def _within_memory(store: Store, group: list[Part]) -> list[list[Part]]:
    """Divides a group so that no merged table has too many cells.

    Experiments log different columns, and a table has all columns of all its rows. A part that
    cannot be read, since it is damaged or another process merged it, ends a group: it may have
    values that are later than those before it, and a repair brings them back with its number.
    """
    groups: list[list[Part]] = [[]]
    columns: set[str] = set()
    rows = 0
    for part in group:
        try:
            own = part_columns(store, part)
        except (FileNotFoundError, StoreError):  # merged by another process, or damaged
            groups.append([])
            columns, rows = set(), 0
            continue
        if groups[-1] and (rows + part.rows) * len(columns.union(own)) > _CELLS:
            groups.append([])
            columns, rows = set(), 0
        groups[-1].append(part)
        columns.update(own)
        rows += part.rows
    return groups


def _merge(store: Store, group: list[Part]) -> int:
    """Replaces parts by one with their rows; returns their number, or 0 if that was not possible.

    Optimistic: the merged part counts only if all of them are still there.
    """
    try:
        frames = [read_part(store, part) for part in group]
    except (FileNotFoundError, StoreError):  # merged by another process, or damaged
        return 0
    merged = write_part(store, newest(pl.concat(frames, how="diagonal_relaxed")))
    # By their files: a part that another process merged gets the number of the last one therein.
    files = [part.file for part in group]
    marks = ",".join("?" * len(files))
    paths = [metrics_path(store.path, file) for file in files]
    with store.index.transaction() as connection:
        (still_there,) = connection.execute(
            f"SELECT count(*) FROM parts WHERE file IN ({marks})", files
        ).fetchone()
        if still_there == len(files):
            connection.execute(f"DELETE FROM parts WHERE file IN ({marks})", files)
            forget_digests(connection, store, paths)
            add_part(connection, store, merged, number=group[-1].id)
    if still_there != len(files):  # another process merged first
        remove(merged.written.path)
        return 0
    for path in paths:
        remove(path)
    return len(group)
