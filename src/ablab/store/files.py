"""Writing and removing the store's files; where that fails, it is the store's error."""

import errno
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from ablab.config import Problem
from ablab.config.files import PARTIAL, Write, WriteError
from ablab.config.files import write_atomically as _write_atomically
from ablab.store.index import Index, StoreError

# What reading a damaged ZIP file raises.
ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    UnicodeError,
    NotImplementedError,
    RuntimeError,
    EOFError,
)


def write_atomically(path: Path, write: Write, root: Path | None = None) -> int:
    """Writes a file of the store; see :func:`ablab.config.files.write_atomically`.

    Raises:
        StoreError: The file cannot be written. No run is to blame for that.
    """
    _check_root(root)
    try:
        return _write_atomically(path, write, root)
    except WriteError as error:
        _check_root(root)  # it may have gone meanwhile
        raise StoreError(*error.problems) from error


def _check_root(root: Path | None) -> None:
    if root is not None and not (root / "index.sqlite").is_file():
        raise StoreError(Problem("the store was deleted or moved while it was in use", given=root))


def write_text_atomically(path: Path, text: str) -> None:
    """Writes a UTF-8 text file of the store.

    Raises:
        StoreError: The file cannot be written.
    """
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def remove(path: Path) -> None:
    """Removes a file that the index no longer lists; one that cannot be removed is harmless."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


_PROBE = f"{PARTIAL}probe"  # a partial file is harmless where a kill leaves it
_PROBE_BYTES = 2**18
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def check_writable(index: Index) -> None:
    """Checks that a store is still there and that files can be written to it.

    Raises:
        StoreError: They cannot.
    """
    index.check_in_place()
    folder = index.path.parent
    path = folder / _PROBE
    try:
        write_atomically(path, lambda partial: partial.write_bytes(bytes(_PROBE_BYTES)), folder)
    finally:
        remove(path)


def store_error(index: Index, error: BaseException) -> StoreError | None:
    """The error of the store that caused another error; None if it was not the store's fault.

    A full or read-only disk counts as the store's fault, whichever file met it: it is no run's.
    """
    folder = index.path.parent.absolute()
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, StoreError):
            return each
        if isinstance(each, OSError):
            name = each.filename if isinstance(each.filename, str) else ""
            inside = bool(name) and Path(name).absolute().is_relative_to(folder)
            if inside or each.errno in _FULL:
                return StoreError(Problem(f"cannot use the store ({each})", given=str(folder)))
        each = each.__cause__
    try:
        check_writable(index)
    except StoreError as found:
        return found
    return None
