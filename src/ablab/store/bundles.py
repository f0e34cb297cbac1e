"""Bundles: many small snapshots in one file, so that a file system does not run out of inodes.

A snapshot is first a file of its own, ``snapshots/RUN/STEP.safetensors``. Once a store has many
small ones, they are moved to bundles, ``snapshots/ID.zip``: ZIP files without compression, whose
members have the same names and bytes, so that ``unzip`` brings the files back. The index knows
where the bytes of each begin; their digest stays that of the file.

A file of its own counts before a bundle, and is removed only after the bundle is listed, so a kill
at any moment loses nothing.
"""

import hashlib
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
from ablab.store.files import remove, write_atomically
from ablab.store.index import StoreError
from ablab.store.leases import Owner
from ablab.store.paths import SNAPSHOTS, bundle_path, inside, run_snapshot_path
from ablab.store.store import Store
from ablab.store.table_rows import rows_with

_MANY = 10_000  # small snapshots in files of their own, before any are moved
_SMALL_BYTES = 2**18  # of a snapshot that is moved
_BUNDLE_BYTES = 2**28  # of a bundle, about
_SUFFIX = ".safetensors"

_OWN_FILES = """SELECT s.run, s.step, s.bytes FROM snapshots s JOIN runs r ON r.id = s.run
WHERE NOT s.passing AND s.bytes <= ? AND r.owner IS NULL
AND NOT EXISTS (SELECT 1 FROM bundles b WHERE b.run = s.run AND b.step = s.step)"""


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
        """The bytes; fewer if the bundle was cut short.

        Raises:
            OSError: The bundle is missing or cannot be read.
        """
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


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


def open_snapshot(store: Store, run: str, step: int) -> BinaryIO:
    """Opens a snapshot, whether it is a file of its own or in a bundle.

    Raises:
        OSError: It is missing or cannot be read.
        StoreError: The index is damaged, or something on the way is a link.
    """
    path = run_snapshot_path(store.path, run, step)
    try:
        return path.open("rb")
    except FileNotFoundError:
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
    rows = store.index.rows(_OWN_FILES, _SMALL_BYTES)
    if len(rows) <= _MANY:
        return 0
    moved = 0
    copies = _copies(store)
    with Owner(store.index.path) as owner:
        # Whoever trains or repairs a run needs its lease, so these files do not change meanwhile.
        runs = {row["run"] for row in rows} | {place[0] for place in copies}
        leased = set(owner.acquire(store.index, sorted(runs)))
        for run, step in copies:
            if run in leased:
                _drop_copy(store, run, step)
        for group in _groups(row for row in rows if row["run"] in leased):
            moved += _move(store, group)
    return moved


def _copies(store: Store) -> list[tuple[str, int]]:
    """The bundled snapshots that also have a file of their own: moving them was interrupted."""
    folder = inside(store.path, SNAPSHOTS)
    runs = [each.name for each in folder.iterdir() if each.is_dir()]
    found = ((row["run"], row["step"]) for row in rows_with(store, "bundles", "run", runs))
    return [each for each in found if run_snapshot_path(store.path, *each).exists()]


def _drop_copy(store: Store, run: str, step: int) -> None:
    """Removes a file whose bytes are in a bundle, too; the place in the bundle if they are not."""
    path, place = run_snapshot_path(store.path, run, step), place_in_bundle(store, run, step)
    with suppress(OSError):
        if place is not None and place.read() == path.read_bytes():
            _remove_own(path)
            return
    with store.index.transaction() as connection:
        forget_bundled(connection, [(run, step)])


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


def _move(store: Store, rows: Iterable[sqlite3.Row]) -> int:
    """Writes a bundle, lists it, and removes the files; returns how many snapshots are in it."""
    path = bundle_path(store.path, f"{uuid4().hex}.zip")
    offsets: dict[tuple[str, int], int] = {}
    own: list[Path] = []

    def write(to: Path) -> None:
        with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as file:
            for row in rows:
                each = run_snapshot_path(store.path, row["run"], row["step"])
                content = _sound(store, each, row["bytes"])
                if content is None:
                    continue
                own.append(each)
                member = zipfile.ZipInfo(f"{row['run']}/{row['step']}{_SUFFIX}")
                file.writestr(member, content)
                begin = member.header_offset + len(member.FileHeader())
                offsets[row["run"], row["step"]] = begin

    write_atomically(path, write, store.path)
    try:
        with store.index.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO bundles VALUES (?, ?, ?, ?)",
                [(*each, path.name, offset) for each, offset in offsets.items()],
            )
    except BaseException:
        remove(path)
        raise
    for each in own:
        _remove_own(each)
    return len(offsets)


def _remove_own(path: Path) -> None:
    """Removes a snapshot's own file, and the folder of its run if that is empty then."""
    remove(path)
    with suppress(OSError):
        path.parent.rmdir()


def _sound(store: Store, path: Path, size: int) -> bytes | None:
    """The bytes of a snapshot in a file of its own; None if they are not what was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    known = digests_of(store, path)
    sound = len(content) == size and hashlib.sha256(content).hexdigest() in known
    return content if sound else None


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
        with suppress(FileNotFoundError):
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
        with suppress(zipfile.BadZipFile, OSError, StoreError):  # a check says what is damaged
            bundle = bundle_path(store.path, path.name)
            for run, step, offset in _members(bundle):
                size = lacking.get((run, step))
                known = digests_of(store, run_snapshot_path(store.path, run, step)) if size else {}
                content = Place(bundle, offset, size).read() if size else b""
                if hashlib.sha256(content).hexdigest() in known:
                    found.append((run, step, bundle.name, offset))
    if found:
        with store.index.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO bundles VALUES (?, ?, ?, ?)", found)
    return len(found)


def _members(bundle: Path) -> Iterator[tuple[str, int, int]]:
    """The run and the step of the snapshots in a bundle, and where the bytes of each begin."""
    with zipfile.ZipFile(bundle) as file:
        for member in file.infolist():
            run, _, name = member.filename.partition("/")
            step = name.removesuffix(_SUFFIX)
            if step.isascii() and step.isdigit():
                yield run, int(step), member.header_offset + len(member.FileHeader())
