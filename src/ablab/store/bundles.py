"""Bundles: many small snapshots in one file, so that a file system does not run out of inodes.

A snapshot is first a file of its own, ``snapshots/RUN/STEP.safetensors``. Once a store has many
small ones of runs that have ended, they are moved to bundles, ``snapshots/ID.zip``: ZIP files
without compression, whose members have the same names and bytes, so that ``unzip`` brings the files
back. The index knows where the bytes of each begin; their digest stays that of the file.

Where the index lists a snapshot in a bundle, a file of its own is an unused copy. It is removed
only after the bundle is listed, and used if the bundle is not what was written. So a kill at any
moment loses nothing.
"""

import hashlib
import os
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from ablab.store.digests import digests_of
from ablab.store.files import ZIP_DAMAGE, remove, write_atomically
from ablab.store.index import StoreError
from ablab.store.leases import Owner
from ablab.store.paths import SNAPSHOTS, bundle_path, inside, run_snapshot_path
from ablab.store.store import Store
from ablab.store.table_rows import rows_with

_MANY = 10_000  # small snapshots in files of their own, before any are moved
_SMALL_BYTES = 2**18  # of a snapshot that is moved
_BUNDLE_BYTES = 2**28  # of a bundle, about
_SUFFIX = ".safetensors"

# Snapshots of runs that have ended, so that nobody waits for the leases, with a digest.
_OWN_FILES = """SELECT s.run, s.step, s.bytes FROM snapshots s JOIN runs r ON r.id = s.run
WHERE NOT s.passing AND s.bytes <= ?
AND NOT EXISTS (SELECT 1 FROM bundles b WHERE b.run = s.run AND b.step = s.step)
AND EXISTS (SELECT 1 FROM digests d
    WHERE d.path = 'snapshots/' || s.run || '/' || s.step || '.safetensors')
AND (r.outcome IS NOT NULL OR NOT EXISTS (SELECT 1 FROM members m
    WHERE m.run = s.run AND m.stopped IS NULL AND m.steps > r.step))"""


@dataclass(frozen=True)
class Place:
    """Where the bytes of a bundled snapshot are.

    Attributes:
        path: The bundle.
        offset: Where they begin.
        size: Their number.
    """

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The bytes; none if the bundle is too short to have them.

        Raises:
            OSError: The bundle is missing or cannot be read.
        """
        with self.path.open("rb") as file:
            if not 0 <= self.offset <= os.fstat(file.fileno()).st_size - max(0, self.size):
                return b""
            file.seek(self.offset)
            return file.read(max(0, self.size))


def place_in_bundle(store: Store, run: str, step: int) -> Place | None:
    """Where a snapshot is in a bundle; None if it is in none.

    Raises:
        StoreError: The index is damaged, or something on the way is a link.
    """
    rows = store.index.rows(
        """SELECT b.file, b.offset, s.bytes FROM bundles b JOIN snapshots s USING (run, step)
           WHERE b.run = ? AND b.step = ?""",
        run,
        step,
    )
    return next((Place(bundle_path(store.path, row[0]), row[1], row[2]) for row in rows), None)


def bundled_content(store: Store, run: str, step: int) -> bytes | None:
    """The bytes of a snapshot in a bundle; None if it is in none, or they are not what was written.

    Raises:
        StoreError: The index is damaged, or something on the way is a link.
    """
    place = place_in_bundle(store, run, step)
    if place is None:
        return None
    known = digests_of(store, run_snapshot_path(store.path, run, step))
    with suppress(OSError):
        content = place.read()
        if hashlib.sha256(content).hexdigest() in known:
            return content
    return None


def open_snapshot(store: Store, run: str, step: int) -> BinaryIO:
    """Opens a snapshot, in its bundle if it is sound there, else as a file of its own.

    Raises:
        OSError: It is missing or cannot be read.
        StoreError: The index is damaged, or something on the way is a link.
    """
    content = bundled_content(store, run, step)
    if content is not None:
        return BytesIO(content)
    try:
        return run_snapshot_path(store.path, run, step).open("rb")
    except FileNotFoundError:  # it was moved just now, or is damaged in its bundle
        place = place_in_bundle(store, run, step)
        if place is None:
            raise
        return BytesIO(place.read())


def bundle_snapshots(store: Store) -> int:
    """Moves small snapshots to bundles if there are many; returns how many were moved.

    Snapshots that a later checkpoint replaces stay as they are, as do those of runs that a process
    trains, and those that are damaged.

    Raises:
        StoreError: The store cannot be read or written.
    """
    (row,) = store.index.rows(
        "SELECT (SELECT count(*) FROM snapshots) - (SELECT count(*) FROM bundles) own"
    )
    if row["own"] <= _MANY:
        return 0
    rows = [
        row
        for row in store.index.rows(_OWN_FILES, _SMALL_BYTES)
        if run_snapshot_path(store.path, row["run"], row["step"]).is_file()
    ]
    if len(rows) <= _MANY:
        return 0
    moved = 0
    with Owner(store.index.path) as owner:
        # Whoever trains or repairs a run needs its lease, so these files do not change meanwhile.
        runs = {row["run"] for row in rows} | _runs_with_copies(store)
        leased = set(owner.acquire(store.index, sorted(runs)))
        _remove_copies(store, leased)
        for group in _groups(row for row in rows if row["run"] in leased):
            moved += _move(store, group, owner.token)
    return moved


def _runs_with_copies(store: Store) -> set[str]:
    """Runs with a folder of their own, and snapshots in bundles: moving them was interrupted."""
    folder = inside(store.path, SNAPSHOTS)
    runs = [each.name for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []
    return {row["run"] for row in rows_with(store, "bundles", "run", runs)}


def _remove_copies(store: Store, runs: Iterable[str]) -> None:
    """Removes files of some runs whose bytes are in a bundle, too, as they were written."""
    for row in rows_with(store, "bundles", "run", sorted(runs)):
        path = run_snapshot_path(store.path, row["run"], row["step"])
        if path.is_file() and bundled_content(store, row["run"], row["step"]) is not None:
            _remove_own(path)


def _groups(rows: Iterable[sqlite3.Row]) -> Iterator[list[sqlite3.Row]]:
    """Snapshots that go to one bundle each."""
    group: list[sqlite3.Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += row["bytes"]
        if size >= _BUNDLE_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _move(store: Store, rows: Iterable[sqlite3.Row], token: str) -> int:
    """Writes a bundle, lists it, and removes the files; returns how many snapshots are in it.

    Args:
        store: The store.
        rows: The snapshots.
        token: The owner of their runs. What another process has taken meanwhile stays as it is.
    """
    path = bundle_path(store.path, f"{uuid4().hex}.zip")
    offsets: dict[tuple[str, int], int] = {}
    own: dict[tuple[str, int], tuple[Path, tuple[int, ...]]] = {}

    def write(to: Path) -> None:
        with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as file:
            for row in rows:
                each = run_snapshot_path(store.path, row["run"], row["step"])
                found = _sound(store, each, row["bytes"])
                if found is None:
                    continue
                content, state = found
                member = zipfile.ZipInfo(f"{row['run']}/{row['step']}{_SUFFIX}")
                file.writestr(member, content)
                key = row["run"], row["step"]
                offsets[key] = member.header_offset + len(member.FileHeader())
                own[key] = each, state

    write_atomically(path, write, store.path)
    listed: list[tuple[str, int]] = []
    try:
        with store.index.transaction() as connection:
            for (run, step), offset in offsets.items():
                added = connection.execute(
                    """INSERT OR REPLACE INTO bundles SELECT ?1, ?2, ?3, ?4 FROM snapshots s
                       JOIN runs r ON r.id = s.run AND r.owner = ?5
                       WHERE s.run = ?1 AND s.step = ?2""",
                    (run, step, path.name, offset, token),
                )
                if added.rowcount > 0:
                    listed.append((run, step))
    finally:
        if not rows_with(store, "bundles", "file", [path.name]):
            remove(path)
    for key in listed:
        each, state = own[key]
        if _state(each) == state:  # nobody has written it meanwhile
            _remove_own(each)
    return len(listed)


def _state(path: Path) -> tuple[int, ...]:
    """What changes if a file is written again; empty if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _remove_own(path: Path) -> None:
    """Removes a snapshot's own file, and the folder of its run if that is empty then."""
    remove(path)
    with suppress(OSError):
        path.parent.rmdir()


def _sound(store: Store, path: Path, size: int) -> tuple[bytes, tuple[int, ...]] | None:
    """The bytes of a snapshot's own file and its state; None if it is not what was written."""
    state = _state(path)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    known = digests_of(store, path)
    sound = len(content) == size and hashlib.sha256(content).hexdigest() in known
    return (content, state) if sound else None


def forget_bundled(connection: sqlite3.Connection, snapshots: Iterable[tuple[str, int]]) -> None:
    """Forgets where snapshots are in bundles, inside the caller's transaction.

    Args:
        connection: The transaction.
        snapshots: The run and the step of each; it has been written anew, as a file of its own.
    """
    connection.executemany("DELETE FROM bundles WHERE run = ? AND step = ?", snapshots)


def unbundle(store: Store, path: Path) -> None:
    """Writes a snapshot that is in a bundle as a file of its own, whatever state it is in.

    Args:
        store: The store.
        path: Its path as a file of its own; nothing is done for other paths.

    Raises:
        StoreError: The file cannot be written.
    """
    folder, run, name = ("", *path.relative_to(store.path).parts)[-3:]
    step = name.removesuffix(_SUFFIX)
    if folder != SNAPSHOTS or not step.isdigit() or path.exists():
        return
    place = place_in_bundle(store, run, int(step))
    if place is not None:
        with suppress(OSError):
            content = place.read()
            write_atomically(path, lambda partial: partial.write_bytes(content), store.path)


def list_bundled(store: Store) -> int:
    """Lists bundled snapshots again that the index does not find: bundles have their names.

    Returns:
        How many were listed.

    Raises:
        StoreError: The store cannot be read, or the index cannot be written.
    """
    lacking = {
        (row["run"], row["step"]): row["bytes"]
        for row in store.index.rows(
            """SELECT * FROM snapshots s WHERE NOT EXISTS
               (SELECT 1 FROM bundles b WHERE b.run = s.run AND b.step = s.step)"""
        )
        if not run_snapshot_path(store.path, row["run"], row["step"]).exists()
    }
    if not lacking:
        return 0
    found = []
    for path in sorted(inside(store.path, SNAPSHOTS).glob("*.zip")):
        with suppress(*ZIP_DAMAGE, OSError, ValueError, StoreError):  # a check says what is damaged
            bundle = bundle_path(store.path, path.name)
            for run, step, offset in _members(bundle):
                size = lacking.get((run, step))
                known = digests_of(store, run_snapshot_path(store.path, run, step)) if size else {}
                content = Place(bundle, offset, size).read() if size else b""
                if hashlib.sha256(content).hexdigest() in known:
                    found.append((run, step, bundle.name, offset))
    if found:
        with store.index.transaction() as connection:
            connection.executemany(
                """INSERT OR IGNORE INTO bundles SELECT ?1, ?2, ?3, ?4 FROM snapshots
                   WHERE run = ?1 AND step = ?2""",
                found,
            )
    return len(found)


def _members(bundle: Path) -> Iterator[tuple[str, int, int]]:
    """The run and the step of the snapshots in a bundle, and where the bytes of each begin."""
    with zipfile.ZipFile(bundle) as file:
        for member in file.infolist():
            run, _, name = member.filename.partition("/")
            step = name.removesuffix(_SUFFIX)
            if step.isascii() and step.isdigit():
                yield run, int(step), member.header_offset + len(member.FileHeader())
