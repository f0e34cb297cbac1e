"""What the index says of runs: their progress, how they were trained, and how they ended."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablab.store.store import ExperimentRecord, Store, timestamp


@dataclass(frozen=True)
class SnapshotRow:
    """The index entry of a snapshot.

    Attributes:
        step: The step after which it was written.
        bytes: The size of its file.
        has_optimizer: Whether training can resume from it.
    """

    step: int
    bytes: int
    has_optimizer: bool


def progress_of_runs(
    store: Store, runs: Iterable[str] | None = None
) -> dict[str, tuple[int, str | None]]:
    """The current step and outcome (``failed``, ``diverged`` or None) of some runs or of all."""
    rows = _of(store, "id, step, outcome", runs)
    return {row["id"]: (row["step"], row["outcome"]) for row in rows}


def ended_before(store: Store, runs: Iterable[str], moment: str) -> set[str]:
    """Those of some runs that have begun, and whose last step was stored before a moment.

    Args:
        store: The store.
        runs: The ids of the runs.
        moment: The moment, as :func:`ablab.store.store.timestamp` writes it.
    """
    rows = _of(store, "id, step, updated", runs)
    return {row["id"] for row in rows if row["step"] and row["updated"] < moment}


def costs_of_runs(
    store: Store, runs: Iterable[str]
) -> dict[str, tuple[dict[str, Any], int, float, int | None]]:
    """The settings, current step, seconds up to it, and parameters of runs, by run id."""
    rows = _of(store, "id, trajectory, step, seconds, n_params", runs)
    return {
        row["id"]: (json.loads(row["trajectory"]), row["step"], row["seconds"], row["n_params"])
        for row in rows
    }


def run_settings(store: Store, runs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Everything that determines the trajectory of some runs, as nested mappings by run id.

    Raises:
        StoreError: The store lacks one of the runs.
    """
    rows = _of(store, "id, trajectory", runs)
    found = {row["id"]: row["trajectory"] for row in rows}
    for run in runs:
        if run not in found:
            found[run] = store.run_row(run)["trajectory"]
    return {run: json.loads(found[run]) for run in runs}


def settings_with_own_code(store: Store, record: ExperimentRecord) -> list[dict[str, Any]]:
    """As :func:`run_settings`, of an experiment's runs that have components of a user's."""
    rows = store.index.rows(
        """SELECT r.trajectory FROM runs r JOIN members m ON m.run = r.id
           WHERE m.experiment = ? AND r.trajectory LIKE '%source%' ORDER BY m.position""",
        record.id,
    )
    return [json.loads(row["trajectory"]) for row in rows]


def runs_of_task(
    store: Store, task: Mapping[str, Any], without: Iterable[str], limit: int
) -> list[str]:
    """The ids of the latest runs of a task that were trained, the latest first.

    Args:
        store: The store.
        task: The task's settings, as stored with a run.
        without: Runs that are left out.
        limit: The most runs that are looked at.
    """
    rows = store.index.rows(
        """SELECT id, trajectory FROM runs WHERE step > 0
           AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY updated DESC, id LIMIT ?""",
        json.dumps(list(without)),
        limit,
    )
    return [row["id"] for row in rows if json.loads(row["trajectory"]).get("task") == task]


def segments_of_runs(
    store: Store, runs: Iterable[str] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """How the steps of some runs or of all were trained, by run id."""
    rows = _of(store, "id, segments", runs)
    return {row["id"]: json.loads(row["segments"]) for row in rows}


def list_snapshots(store: Store, run: str) -> list[SnapshotRow]:
    """A run's snapshots, ordered by step."""
    rows = store.index.rows(
        "SELECT step, bytes, has_optimizer FROM snapshots WHERE run = ? ORDER BY step", run
    )
    return [SnapshotRow(row["step"], row["bytes"], bool(row["has_optimizer"])) for row in rows]


def stopped_runs(store: Store, digest: str) -> dict[str, int]:
    """The steps at which stop rules ended runs of the experiment with this digest, by run id."""
    rows = store.index.rows(
        """SELECT run, stopped FROM members JOIN experiments ON id = experiment
           WHERE digest = ? AND stopped IS NOT NULL""",
        digest,
    )
    return {row["run"]: row["stopped"] for row in rows}


def mark_stopped(store: Store, experiment: int, stopped: Mapping[str, int]) -> None:
    """Records the steps at which an experiment's stop rule ended runs, by run id.

    Runs that ended before, as by halving, stay as they are.
    """
    with store.index.transaction() as connection:
        connection.executemany(
            """UPDATE members SET stopped = min(?, coalesce(stopped, ?))
               WHERE experiment = ? AND run = ?""",
            [(step, step, experiment, run) for run, step in stopped.items()],
        )


def count_deaths(store: Store, runs: Sequence[str]) -> None:
    """Records that a process died while it trained these runs."""
    with store.index.transaction() as connection:
        connection.executemany(
            "UPDATE runs SET deaths = deaths + 1 WHERE id = ?", [(run,) for run in runs]
        )


def fail_run(store: Store, run: str, text: str) -> None:
    """Marks a run as failed, with the reason."""
    with store.index.transaction() as connection:
        connection.execute(
            "UPDATE runs SET outcome = 'failed', error = ?, updated = ? WHERE id = ?",
            (text, timestamp(), run),
        )


def experiments_with(store: Store, run: str) -> set[int]:
    """The experiments that have a run."""
    rows = store.index.rows("SELECT experiment FROM members WHERE run = ?", run)
    return {row["experiment"] for row in rows}


def longest_experiment(store: Store, run: str) -> int:
    """The id of the experiment that requested the most steps of a run.

    If several requested as many, the one that was requested last.
    """
    return int(_longest(store, run)["experiment"])


def cell_of_run(store: Store, run: str) -> tuple[dict[str, Any], dict[str, Any], int]:
    """A run's place in its longest experiment: the definition, the variant and the seed."""
    row = _longest(store, run)
    return json.loads(row["definition"]), json.loads(row["variant"]), row["seed"]


def started_experiments(store: Store) -> set[int]:
    """The ids of the experiments of which any run has trained a step."""
    rows = store.index.rows(
        """SELECT e.id FROM experiments e WHERE EXISTS
           (SELECT 1 FROM members m JOIN runs r ON r.id = m.run
            WHERE m.experiment = e.id AND r.step > 0)"""
    )
    return {row["id"] for row in rows}


def seeds_of_variants(store: Store, digest: str, most: int) -> dict[int, int]:
    """The number of seeds of each variant of an experiment, by its place in the grid.

    Empty if the experiment is not stored.

    Args:
        store: The store.
        digest: The experiment's digest.
        most: The most seeds that a variant can have.
    """
    rows = store.index.rows(
        """SELECT m.position / ? AS place, count(*) AS seeds FROM members m
           JOIN experiments e ON e.id = m.experiment WHERE e.digest = ? GROUP BY place""",
        most,
        digest,
    )
    return {row["place"]: row["seeds"] for row in rows}


def _of(store: Store, columns: str, runs: Iterable[str] | None) -> list[Any]:
    """Columns of the rows of some runs, as far as they are stored, or of all."""
    if runs is None:
        return store.index.rows(f"SELECT {columns} FROM runs")
    return store.index.rows(
        f"SELECT {columns} FROM runs WHERE id IN (SELECT value FROM json_each(?))",
        json.dumps(list(runs)),
    )


def _longest(store: Store, run: str) -> Any:
    (row,) = store.index.rows(
        """SELECT m.experiment, e.definition, m.variant, r.seed FROM members m
           JOIN experiments e ON e.id = m.experiment JOIN runs r ON r.id = m.run
           WHERE m.run = ?
           ORDER BY m.steps DESC, coalesce(m.stopped, m.steps) DESC, e.asked DESC, e.id DESC
           LIMIT 1""",
        run,
    )
    return row
