"""Readings of stored runs, cached in the index."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import polars as pl

from ablab.config.progress import ticking
from ablab.experiments.identity import digest
from ablab.experiments.measures import check_column
from ablab.experiments.seeds import most_seeds
from ablab.read import curves
from ablab.read.curves import Reading, read_curve
from ablab.read.curves.reading import from_data
from ablab.read.directions import column_direction
from ablab.store.cached_readings import cache_readings, cached_readings, data_versions
from ablab.store.metrics import experiment_metrics
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.tasks.config import Direction

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
    found: dict[str, Reading] = {}
    for levels, direction, some in by_meaning(store, record, runs, column):
        found |= _readings(store, record, some, column, levels, direction)
    return {run.run: found[run.run] for run in runs if run.run in found}


def by_meaning(
    store: Store, record: ExperimentRecord, runs: Sequence[RunRecord], column: str
) -> list[tuple[dict[str, float], Direction | None, list[RunRecord]]]:
    """The runs by what their tasks declare of a column, which can differ between variants.

    Returns:
        Natural levels, which values are better (None if that is not declared), and the runs.
    """
    known = record.registration
    if known is None or not known.task_of_variant:
        return [(record.levels, column_direction(record, column), list(runs))]
    seeds = most_seeds(record.definition)
    places = {row["run"]: row["position"] // seeds for row in store.members(record.id)}
    groups: dict[str, tuple[dict[str, float], Direction | None, list[RunRecord]]] = {}
    for run in runs:
        task = known.task(places[run.run]) if run.run in places else None
        levels = record.levels if task is None else task.levels
        direction = column_direction(record, column, places.get(run.run, 0))
        key = digest([levels, direction])
        groups.setdefault(key, (levels, direction, []))[2].append(run)
    return list(groups.values())


def _readings(
    store: Store,
    record: ExperimentRecord,
    runs: Sequence[RunRecord],
    column: str,
    levels: dict[str, float],
    direction: Direction | None,
) -> dict[str, Reading]:
    """The readings of runs with the same natural levels and directions."""

    def read(left: list[str]) -> dict[str, Reading]:
        frame = experiment_metrics(
            store, record, lambda names: [name for name in names if name == column]
        )
        return read_frame(frame.filter(pl.col("run").is_in(left)), column, levels, direction)

    return read_cached(store, runs, column, digest([levels, direction]), read, from_data)


class _Readable(Protocol):
    """What can be kept in the index as plain data."""

    def as_data(self) -> dict[str, Any]:
        """The reading as plain data."""


Read = TypeVar("Read", bound=_Readable)


def read_cached(
    store: Store,
    runs: Sequence[RunRecord],
    name: str,
    read_with: str,
    read: Callable[[list[str]], dict[str, Read]],
    from_data: Callable[[dict[str, Any]], Read],
) -> dict[str, Read]:
    """Readings from the index, and new ones of the runs that have none there; by run id.

    Args:
        store: The store.
        runs: The runs; those that were not trained are left out.
        name: The name under which the readings are kept.
        read_with: A digest of what else a reading depends on.
        read: Makes readings of some runs, by run id.
        from_data: Makes a reading from plain data.
    """
    trained = [run for run in runs if run.step]
    # Before the metrics are read: rows that are added meanwhile make the cached reading outdated.
    versions = data_versions(store, [run.run for run in trained])
    editions = {
        (run.run, run.step): f"{EDITION} {versions[run.run]} {read_with[:16]}" for run in trained
    }
    cached = cached_readings(store, name, editions)
    found = {run: from_data(json.loads(text)) for run, text in cached.items()}
    left = {run.run: run.step for run in trained if run.run not in found}
    if left:
        made = read(list(left))
        texts = {(run, left[run]): json.dumps(each.as_data()) for run, each in made.items()}
        cache_readings(store, name, editions, texts)
        found |= made
    return found


def read_frame(
    frame: pl.DataFrame,
    column: str,
    levels: dict[str, float],
    direction: Direction | None = None,
) -> dict[str, Reading]:
    """The reading of each run in a frame with ``run``, ``step`` and the column, by run id."""
    found, curves_by_run = {}, curves_of(frame, column)
    for run, (steps, values) in ticking(
        curves_by_run.items(), len(curves_by_run), "reading", "curve"
    ):
        found[run] = read_curve(steps, values, column, levels, direction)
    return found


def curves_of(frame: pl.DataFrame, column: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The steps and values of a column with any finite value, by run id."""
    if column not in frame.columns:
        return {}
    found = {}
    for (run,), part in (
        frame.select("run", "step", column).drop_nulls().group_by("run", maintain_order=True)
    ):
        if part[column].is_finite().any():
            values = part[column].cast(pl.Float64).to_numpy()
            found[str(run)] = (part["step"].to_numpy(), values)
    return found
