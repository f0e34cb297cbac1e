"""Atomic writes: a file appears complete or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from ablab.config.errors import InputError, Problem

PARTIAL = ".partial-"  # prefix of a file's name until it is complete

Write = Callable[[Path], object]


class WriteError(InputError):
    """A file cannot be written: the disk is full, or a permission is missing."""


def write_atomically(path: Path, write: Write, root: Path | None = None) -> int:
    """Writes a file under a temporary name, syncs it to disk and renames it into place.

    Args:
        path: The file's final path; missing folders are created, an existing file is replaced.
        write: Writes the content to the path that it is given.
        root: A folder above it that has to exist; only folders inside it are created.

    Returns:
        The file's size in bytes.

    Raises:
        WriteError: The file cannot be written. An existing file is unchanged.
        InputError: Raised by ``write`` and passed on.
    """
    size, _ = _write(path, write, _rename, root)
    return size


def create_atomically(path: Path, write: Write) -> bool:
    """Like :func:`write_atomically`, but never replaces a file.

    Returns:
        Whether the file was created; False if it exists already. It is unchanged then.

    Raises:
        WriteError: The file cannot be written.
    """
    _, created = _write(path, write, _link)
    return created


def write_text_atomically(path: Path, text: str) -> None:
    """Writes a UTF-8 text file that appears complete or not at all.

    Raises:
        WriteError: The file cannot be written. An existing file is unchanged.
    """
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _write(
    path: Path, write: Write, place: Callable[[Path, Path], bool], root: Path | None = None
) -> tuple[int, bool]:
    """Writes a file and renames it by ``place``; returns its size and what ``place`` returned."""
    _check_target(path)
    partial = path.with_name(f"{PARTIAL}{uuid4().hex}-{path.name}")
    try:
        _make_folder(path.parent, root)
        try:
            write(partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
            placed = place(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except InputError:  # already a message for the user
        raise
    except BaseException as error:  # writers raise errors of many libraries
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise  # an interrupt; Rust's panics are no Exception either
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WriteError(Problem(f"cannot write {path} ({reason})", given=str(path))) from error
    return size, placed


def _check_target(path: Path) -> None:
    """Rejects paths that cannot become a file: a folder, or a device, which must not be replaced.

    Raises:
        WriteError: The path is one of these.
    """
    try:
        special = path.exists() and not path.is_file()
    except (OSError, ValueError):
        return  # too long, for example; writing says so
    if not path.name or special:
        kind = "a folder" if not path.name or path.is_dir() else "not a file"
        raise WriteError(
            Problem(f"cannot write {path} ({kind})", given=str(path), expected="the path of a file")
        )


def _make_folder(folder: Path, root: Path | None) -> None:
    if root is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    made = root
    for name in folder.relative_to(root).parts:
        made /= name
        made.mkdir(exist_ok=True)


def _rename(partial: Path, path: Path) -> bool:
    partial.replace(path)
    return True


def _link(partial: Path, path: Path) -> bool:
    """Gives a complete file its name; returns False if the name is in use."""
    try:
        os.link(partial, path)  # unlike a rename, this never replaces a file
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        partial.rename(path)
    return True


def _sync_folder(folder: Path) -> None:
    """Makes renames inside a folder survive a power failure, where the system supports it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
