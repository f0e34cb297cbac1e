"""Runs that a store has: those under earlier ids, and those of earlier versions of an experiment.

Earlier releases knew a user's code by the hash of its file, so they gave its runs other ids. Such
a run keeps its id in the store. When it is first asked for again, the id that it has now becomes
its alias. From then on, it is this run only for code with that id: what its module imports was not
in the earlier id, and may have changed since.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ablab.experiments.experiment import Experiment
from ablab.store.store import Store
from ablab.train.run import Run


@dataclass(frozen=True)
class EarlierRun:
    """A stored run, for comparison with one that is not stored.

    Attributes:
        run: Its id.
        seed: Its seed.
        created: When it was registered: UTC, ISO 8601.
        trajectory: Everything that determined its trajectory.
    """

    run: str
    seed: int
    created: str
    trajectory: dict[str, Any]


@dataclass(frozen=True)
class EndedMember:
    """A run of an experiment that a stop rule ended, or that reached its last step.

    Attributes:
        run: Its id.
        cell: Its variant: the keys of the experiment's grid with their values.
        step: The step at which it ended.
        stopped: Whether a stop rule ended it.
        definition: The experiment's definition.
    """

    run: str
    cell: dict[str, Any]
    step: int
    stopped: bool
    definition: dict[str, Any]


def ended_members(store: Store, name: str, limit: int) -> list[EndedMember]:
    """The ended runs of experiments with a name, of the latest experiment first."""
    rows = store.index.rows(
        """SELECT m.run, m.variant, m.steps, m.stopped, e.definition FROM members m
           JOIN runs r ON r.id = m.run JOIN experiments e ON e.id = m.experiment
           WHERE e.name = ? AND r.outcome IS NULL
           AND (m.stopped IS NOT NULL OR r.step >= m.steps)
           AND NOT EXISTS (SELECT 1 FROM rungs g  -- where halving paused it, no rule ended it
                           WHERE g.experiment = m.experiment AND g.rung = m.stopped)
           ORDER BY e.asked DESC, m.position LIMIT ?""",
        name,
        limit,
    )
    definitions: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["definition"] not in definitions:
            definitions[row["definition"]] = json.loads(row["definition"])
    return [
        EndedMember(
            row["run"],
            json.loads(row["variant"]),
            row["steps"] if row["stopped"] is None else row["stopped"],
            row["stopped"] is not None,
            definitions[row["definition"]],
        )
        for row in rows
    ]


def as_stored(asked: Experiment, store: Store) -> Experiment:
    """The experiment with the ids that the store has for its runs."""
    return asked.known_as(stored_ids(store, asked.runs))


def stored_ids(store: Store, runs: Iterable[Run]) -> dict[str, str]:
    """For each of these runs that the store has under another id: that id, by the run's own."""
    formerly = {run.id: run.former_id for run in runs if run.former_id is not None}
    if not formerly:
        return {}
    known = store.known([*formerly, *formerly.values()])
    rows = store.index.rows("SELECT id, run FROM aliases")
    aliases = {row["id"]: row["run"] for row in rows}
    taken = set(aliases.values())
    found = {}
    for own, former in formerly.items():
        if own in known:
            continue
        if own in aliases:
            found[own] = aliases[own]
        elif former in known and former not in taken:
            found[own] = former
    return found


def earlier_runs(store: Store, asked: Experiment, limit: int) -> list[EarlierRun]:
    """The latest runs of experiments with this name."""
    rows = store.index.rows(
        """SELECT DISTINCT r.id, r.seed, r.created, r.trajectory FROM runs r
           JOIN members m ON m.run = r.id JOIN experiments e ON e.id = m.experiment
           WHERE e.name = ? ORDER BY r.created DESC, r.id LIMIT ?""",
        asked.name,
        limit,
    )
    return [
        EarlierRun(row["id"], row["seed"], row["created"], json.loads(row["trajectory"]))
        for row in rows
    ]


def unknown_runs(store: Store, runs: Sequence[Run]) -> list[Run]:
    """Those of these runs that the store does not have."""
    known = store.known(run.id for run in runs)
    return [run for run in runs if run.id not in known]
