"""Reads Parquet files that may be damaged or a stranger's: an error, never a crash."""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import polars as pl
import psutil

T = TypeVar("T")
_TYPES = (pl.String, pl.Boolean)  # besides numbers
_STRING_BYTES, _NUMBER_BYTES = 16, 8  # of a value in memory, at most


class DamagedError(ValueError):
    """A file cannot be read; its text says why."""


def column_types(path: Path | BytesIO) -> dict[str, pl.DataType]:
    """A file's columns with their types.

    Raises:
        DamagedError: The file is damaged, or has columns that ablab does not write.
        FileNotFoundError: There is no such file.
    """
    schema = guarded(lambda: pl.read_parquet_schema(path))
    strange = [
        name for name, kind in schema.items() if not kind.is_numeric() and kind not in _TYPES
    ]
    if strange:
        raise DamagedError(f"column {strange[0]!r} has type {schema[strange[0]]}")
    return dict(schema)


def read_rows(
    path: Path | BytesIO, rows: int | None, columns: Sequence[str] | None = None
) -> pl.DataFrame:
    """Reads a file after looking at its footer.

    Args:
        path: The file, or its content.
        rows: The number of rows that it must have, if that is known.
        columns: The columns to read; all by default.

    Raises:
        DamagedError: The file is damaged, has another number of rows, or its rows, which take
            little space in the file, do not fit in memory.
        FileNotFoundError: There is no such file.
    """
    types = column_types(path)
    names = list(types) if columns is None else [name for name in columns if name in types]
    declared = guarded(lambda: pl.scan_parquet(path).select(pl.len()).collect().item())
    if rows is not None and declared != rows:
        raise DamagedError(f"{declared} rows, but the index says {rows}")
    needed = declared * sum(
        _STRING_BYTES if types[name] == pl.String else _NUMBER_BYTES for name in names
    )
    free = psutil.virtual_memory().available
    if needed > free:
        raise DamagedError(
            f"{declared:,} rows of {len(names)} columns take {needed / 1e9:,.0f} GB of memory, of "
            f"which {free / 1e9:,.0f} GB are free"
        )
    frame = guarded(lambda: pl.read_parquet(path, columns=names))
    if frame.height != declared:
        raise DamagedError(f"{frame.height} rows, but its footer says {declared}")
    return frame


def guarded(read: Callable[[], T]) -> T:
    """Calls a function of polars; a panic inside of it is an error like others."""
    try:
        return read()
    except FileNotFoundError:
        raise
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DamagedError(next(iter(str(error).splitlines()), type(error).__name__)) from error
