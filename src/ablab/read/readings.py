"""Readings of stored runs, cached in the index."""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ablab.experiments.measures import check_column
from ablab.read import curves
from ablab.read.curves import Reading, read_curve
from ablab.read.curves.reading import from_data
from ablab.store.index import StoreError
from ablab.store.metrics import experiment_metrics
from ablab.store.store import ExperimentRecord, RunRecord, Store

# A digest of the reader's code. Readings made by other code are not used.
EDITION = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(curves.__file__).parent.glob("*.py")))
).hexdigest()[:12]


def experiment_readings(
    store: Store,
    record: ExperimentRecord,
    runs: Sequence[RunRecord],
    column: str = "train_loss",
) -> dict[str, Reading]:
    """The readings of an experiment's runs, by run id; runs without finite values are left out.

    Args:
        store: The store.
        record: The experiment.
        runs: The runs to read.
        column: The column to read.
    """
    check_column(column)
    known = _cached(store, column)
    found: dict[str, Reading] = {}
    for run in runs:
        cached = known.get((run.run, run.step))
        if cached is not None:
            found[run.run] = from_data(json.loads(cached))
    left = {run.run: run.step for run in runs if run.run not in found and run.step}
    if left:
        frame = experiment_metrics(
            store, record, lambda names: [name for name in names if name == column]
        )
        made = read_frame(frame.filter(pl.col("run").is_in(list(left))), column, record.levels)
        _cache(store, column, {run: (left[run], reading) for run, reading in made.items()})
        found |= made
    return {run.run: found[run.run] for run in runs if run.run in found}


def read_frame(frame: pl.DataFrame, column: str, levels: dict[str, float]) -> dict[str, Reading]:
    """The reading of each run in a frame with ``run``, ``step`` and the column, by run id."""
    if column not in frame.columns:
        return {}
    found = {}
    for (run,), part in (
        frame.select("run", "step", column).drop_nulls().group_by("run", maintain_order=True)
    ):
        steps, values = part["step"].to_numpy(), part[column].cast(pl.Float64).to_numpy()
        if part[column].is_finite().any():
            found[str(run)] = read_curve(steps, values, column, levels)
    return found


def _cached(store: Store, column: str) -> dict[tuple[str, int], str]:
    rows = store.index.rows(
        "SELECT run, steps, reading FROM readings WHERE column = ? AND edition = ?",
        column,
        EDITION,
    )
    return {(row["run"], row["steps"]): row["reading"] for row in rows}


def _cache(store: Store, column: str, made: dict[str, tuple[int, Reading]]) -> None:
    """Saves readings; if the store is read-only, they are computed again next time."""
    try:
        with store.index.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?)",
                [
                    (run, column, steps, EDITION, json.dumps(reading.as_data()))
                    for run, (steps, reading) in made.items()
                ],
            )
    except (StoreError, sqlite3.OperationalError):  # the store is read-only
        return
