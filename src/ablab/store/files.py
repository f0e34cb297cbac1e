"""Atomic writes of the store's files; where one fails, it is the store's error."""

from pathlib import Path

from ablab.config.files import Write, WriteError
from ablab.config.files import write_atomically as _write_atomically
from ablab.store.index import StoreError


def write_atomically(path: Path, write: Write) -> int:
    """Writes a file of the store; see :func:`ablab.config.files.write_atomically`.

    Raises:
        StoreError: The file cannot be written. No run is to blame for that.
    """
    try:
        return _write_atomically(path, write)
    except WriteError as error:
        raise StoreError(*error.problems) from error


def write_text_atomically(path: Path, text: str) -> None:
    """Writes a UTF-8 text file of the store.

    Raises:
        StoreError: The file cannot be written.
    """
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))
