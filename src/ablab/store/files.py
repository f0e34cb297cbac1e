"""Atomic writes: a file appears complete or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from ablab.config import Problem
from ablab.store.index import PARTIAL, StoreError


def write_atomically(path: Path, write: Callable[[Path], None]) -> int:
    """Writes a file under a temporary name, syncs it to the disk and renames it into place.

    Args:
        path: The file's final path; its folder is created if needed.
        write: Writes the content to the path that it is given.

    Returns:
        The file's size in bytes.

    Raises:
        StoreError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL}{uuid4().hex}-{path.name}")
    try:
        _written(path, partial, write)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)
    return size


def _written(path: Path, partial: Path, write: Callable[[Path], None]) -> None:
    """Calls ``write``; an error (disk full, no permission) is reported with the file's path."""
    try:
        write(partial)
    except Exception as error:
        raise StoreError(
            Problem(f"cannot write {path} ({str(error).splitlines()[0]})", given=str(path))
        ) from error


def write_text_atomically(path: Path, text: str) -> None:
    """Writes a UTF-8 text file that appears complete or not at all."""
    write_atomically(path, lambda partial: _write_text(partial, text))


def sync_folder(folder: Path) -> None:
    """Makes renames inside a folder survive a power failure, where the system supports it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
