"""Records digests of files that are written once, by whoever writes them."""

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from ablab.store.paths import inside, relative


def cover_new_files(connection: sqlite3.Connection, root: Path, paths: Iterable[Path]) -> None:
    """Records the digests of files that have none yet, inside the caller's transaction.

    Args:
        connection: The connection of the transaction.
        root: The store's folder.
        paths: The files.

    Raises:
        StoreError: A file is a link, or in a linked folder.
    """
    for path in paths:
        name = relative(root, path)
        known = connection.execute("SELECT 1 FROM digests WHERE path = ?", (name,)).fetchone()
        if known or not path.is_file():
            continue
        content = inside(root, *name.split("/")).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        connection.execute("INSERT INTO digests VALUES (?, ?, ?)", (name, digest, len(content)))
