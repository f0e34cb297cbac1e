"""Digests of a store's files: taken while they are written, compared when they are read.

The index holds the SHA-256 of every file that ablab reads back, by its path in the store. While a
file is replaced, the index holds both digests, so that a kill at any moment leaves a sound store.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ablab.config import Problem
from ablab.config.files import Write
from ablab.store.files import write_atomically
from ablab.store.index import StoreError
from ablab.store.paths import relative
from ablab.store.store import Store

_verified: dict[tuple[str, int, int, int], str] = {}  # by path, size, time and inode


@dataclass(frozen=True)
class Written:
    """A file that was written.

    Attributes:
        path: The file.
        bytes: Its size.
        digest: SHA-256, hexadecimal, as ``sha256sum`` prints it.
    """

    path: Path
    bytes: int
    digest: str


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_digested(store: Store, path: Path, write: Write) -> Written:
    """Writes a file of the store atomically; its digest is for :func:`record_digests`.

    Raises:
        StoreError: The file or the index cannot be written.
    """
    digest = ""

    def write_and_digest(partial: Path) -> None:
        nonlocal digest
        write(partial)
        digest = file_digest(partial)
        if path.is_file() and digests_of(store, path):  # until the caller's transaction, both
            with store.index.transaction() as connection:
                connection.execute(
                    "INSERT OR IGNORE INTO digests VALUES (?, ?, ?)",
                    (relative(store.path, path), digest, partial.stat().st_size),
                )

    size = write_atomically(path, write_and_digest, store.path)
    return Written(path, size, digest)


def record_digests(
    connection: sqlite3.Connection, store: Store, written: Iterable[Written]
) -> None:
    """Records the digests of files, inside the caller's transaction."""
    for each in written:
        name = relative(store.path, each.path)
        connection.execute("DELETE FROM digests WHERE path = ?", (name,))
        connection.execute("INSERT INTO digests VALUES (?, ?, ?)", (name, each.digest, each.bytes))


def forget_digests(connection: sqlite3.Connection, store: Store, paths: Iterable[Path]) -> None:
    """Forgets the digests of files that the index no longer lists."""
    connection.executemany(
        "DELETE FROM digests WHERE path = ?", [(relative(store.path, path),) for path in paths]
    )


def write_text_digested(store: Store, path: Path, text: str) -> None:
    """Writes a text file of the store, and records its digest.

    Raises:
        StoreError: The file or the index cannot be written.
    """
    write_texts_digested(store, {path: text})


def write_texts_digested(store: Store, texts: Mapping[Path, str]) -> None:
    """Writes text files of the store, and records their digests in one transaction.

    A file that already has the text is left as it is. Two processes may write the same file: the
    digest is that of the one which is there.

    Raises:
        StoreError: A file or the index cannot be written.
    """
    own = {}
    for path, text in texts.items():
        content = text.encode("utf-8")
        if path.is_file() and path.read_bytes() == content:
            digest = hashlib.sha256(content).hexdigest()
            if digest not in digests_of(store, path):
                own[path] = digest
        else:
            own[path] = write_digested(store, path, _writer(content)).digest
    if not own:
        return
    with store.index.transaction() as connection:
        for path, digest in own.items():
            found = Written(path, path.stat().st_size, file_digest(path))
            if found.digest in {digest, *digests_of(store, path)}:
                record_digests(connection, store, [found])  # else damaged since: a check says so


def _writer(content: bytes) -> Write:
    return lambda to: to.write_bytes(content)


def read_text_digested(store: Store, path: Path) -> str:
    """The text of a file whose digest is compared; without a digest, whatever it has.

    Raises:
        StoreError: The file is damaged.
        FileNotFoundError: There is no such file.
        UnicodeDecodeError: It has no digest, and is not text.
    """
    content = path.read_bytes()
    known = digests_of(store, path)
    if known and hashlib.sha256(content).hexdigest() not in known:
        raise StoreError(Problem("a file of an entry is damaged", given=str(path)))
    return content.decode("utf-8")


def digests_of(store: Store, path: Path) -> dict[str, int]:
    """The digests that a file may have, each with the file's size; empty if it has none."""
    rows = store.index.rows(
        "SELECT digest, bytes FROM digests WHERE path = ?", relative(store.path, path)
    )
    return {row["digest"]: row["bytes"] for row in rows}


def all_digests(store: Store) -> dict[str, dict[str, int]]:
    """The digests that files may have, with their sizes, by path in the store."""
    found: dict[str, dict[str, int]] = {}
    for row in store.index.rows("SELECT path, digest, bytes FROM digests"):
        found.setdefault(row["path"], {})[row["digest"]] = row["bytes"]
    return found


def content_damage(content: bytes, known: dict[str, int]) -> str | None:
    """As :func:`damage`, of bytes that are in another file."""
    if not known or hashlib.sha256(content).hexdigest() in known:
        return None
    return "its content is not what was written (SHA-256)"


def damage(path: Path, known: dict[str, int], once: bool = False) -> str | None:
    """Why a file is not the one that was written; None if it is, or if it has no digest.

    Args:
        path: The file, which exists.
        known: The digests that it may have, each with its size.
        once: Whether a digest that this process has already computed is used, as long as the
            file's size, time and inode are the same.
    """
    if not known:
        return None
    state = path.stat()
    if state.st_size not in known.values():
        return f"{state.st_size} bytes, but the index says {next(iter(known.values()))}"
    key = (str(path.absolute()), state.st_size, state.st_mtime_ns, state.st_ino)
    digest = _verified.get(key) if once else None
    if digest is None:
        digest = file_digest(path)
        if once:
            _verified[key] = digest
    return None if digest in known else "its content is not what was written (SHA-256)"
