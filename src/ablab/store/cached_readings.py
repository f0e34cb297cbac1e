"""Readings of curves, kept in the index until the data or the reader changes."""

from collections.abc import Mapping

from ablab.store.index import StoreError
from ablab.store.store import Store


def cached_readings(store: Store, column: str, edition: str) -> dict[tuple[str, int], str]:
    """The cached readings of a column as JSON, by run id and number of steps.

    Args:
        store: The store.
        column: The column that was read.
        edition: A digest of the reader; readings by another one are not returned.
    """
    rows = store.index.rows(
        "SELECT run, steps, reading FROM readings WHERE column = ? AND edition = ?", column, edition
    )
    return {(row["run"], row["steps"]): row["reading"] for row in rows}


def cache_readings(
    store: Store, column: str, edition: str, readings: Mapping[tuple[str, int], str]
) -> None:
    """Caches readings; if the store cannot be written, they are computed again next time."""
    try:
        with store.index.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?)",
                [
                    (run, column, steps, edition, reading)
                    for (run, steps), reading in readings.items()
                ],
            )
    except StoreError:
        return
