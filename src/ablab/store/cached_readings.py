"""Readings of curves, kept in the index until the data or the reader changes."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from ablab.store.index import StoreError
from ablab.store.store import Store


def data_versions(store: Store, runs: Sequence[str]) -> dict[str, str]:
    """A digest of each run's metrics parts and findings; it changes whenever any are added."""
    among = json.dumps(list(runs))
    found = {run: hashlib.sha256() for run in runs}
    for row in store.index.rows(
        """SELECT p.run, p.part, s.digest FROM part_runs p
           LEFT JOIN shares s ON s.part = p.part AND s.run = p.run
           WHERE p.run IN (SELECT value FROM json_each(?)) ORDER BY p.part""",
        among,
    ):
        found[row["run"]].update(f"{row['part']} {row['digest']}\n".encode())
    for row in store.index.rows(
        """SELECT run, step, name, key FROM findings
           WHERE run IN (SELECT value FROM json_each(?)) ORDER BY run, step, name""",
        among,
    ):
        found[row["run"]].update(f"{row['step']} {row['name']} {row['key']}\n".encode())
    return {run: digest.hexdigest()[:16] for run, digest in found.items()}


def cached_readings(
    store: Store, column: str, editions: Mapping[tuple[str, int], str]
) -> dict[str, str]:
    """The cached readings of a column as JSON, by run id.

    Args:
        store: The store.
        column: The column that was read.
        editions: For each run and number of steps, a string that stands for the reader and for
            everything that it reads; readings of another edition are not returned.
    """
    rows = store.index.rows(
        """SELECT run, steps, edition, reading FROM readings
           WHERE column = ? AND run IN (SELECT value FROM json_each(?))""",
        column,
        json.dumps(sorted({run for run, _ in editions})),
    )
    found = {}
    for row in rows:
        edition = editions.get((row["run"], row["steps"]))
        if edition is not None and row["edition"] == _sealed(edition, row["reading"]):
            found[row["run"]] = row["reading"]
    return found


def cache_readings(
    store: Store,
    column: str,
    editions: Mapping[tuple[str, int], str],
    readings: Mapping[tuple[str, int], str],
) -> None:
    """Caches readings; if the store cannot be written, they are computed again next time.

    So are readings with NaN or infinity, which are not JSON: an index with such a row is damaged.
    """
    readings = {key: reading for key, reading in readings.items() if _is_json(reading)}
    try:
        with store.index.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?)",
                [
                    (key[0], column, key[1], _sealed(editions[key], reading), reading)
                    for key, reading in readings.items()
                ],
            )
    except StoreError:
        return


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except ValueError:
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _sealed(edition: str, reading: object) -> str:
    """The edition with a digest of the reading: a damaged reading is computed again."""
    return f"{edition} {hashlib.sha256(str(reading).encode()).hexdigest()[:16]}"
