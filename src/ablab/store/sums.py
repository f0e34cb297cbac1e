"""Sums over an experiment's runs, kept in the index: how many have which status, and their steps.

Lists of a large store show them without reading a row of every run. Temporary triggers keep them up
to date, as they do the digests (:mod:`ablab.store.row_digests`). What keeps them from damage is not
a digest: they are counted again where the index is verified.
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

from ablab.store.index import Index
from ablab.store.leases import live_owners
from ablab.store.records import precedence, status_of
from ablab.store.sums_sql import COUNTED, STATUS

_LIVE = ("running", "planned", "interrupted")
_ORDER = ("finished", "stopped", "running", "interrupted", "planned", "diverged", "failed")
_STORED = "SELECT * FROM sums WHERE state != 'shared'"
_LEASED = ("begun", "planned")  # what a lease makes running or interrupted


@dataclass
class Sums:
    """Sums over runs.

    Attributes:
        statuses: The number of runs by status.
        done: The number of steps that are done; a run that has ended, for whatever reason, has no
            steps left.
        steps: The number of steps that were requested.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    done: int = 0
    steps: int = 0

    @property
    def words(self) -> str:
        """How many runs have each status: ``1,200 finished, 1 diverged``."""
        known = [name for name in _ORDER if name in self.statuses]
        return ", ".join(f"{self.statuses[name]:,} {name}" for name in known)

    @property
    def share(self) -> float:
        """The fraction of the steps that is done."""
        return self.done / max(1, self.steps)

    @property
    def runs(self) -> int:
        """The number of runs."""
        return sum(self.statuses.values())

    def add(self, status: str, runs: int, done: int, steps: int) -> None:
        """Adds runs of a status; negative numbers remove them.

        Args:
            status: Their status.
            runs: Their number.
            done: The sum of their steps up to the requested one.
            steps: The sum of the requested steps.
        """
        self.statuses[status] = self.statuses.get(status, 0) + runs
        if not self.statuses[status]:
            del self.statuses[status]
        self.done += done if status in _LIVE else steps
        self.steps += steps


def experiment_sums(index: Index) -> dict[int, Sums]:
    """The sums of every experiment, by its id."""
    stored = {
        (row["experiment"], row["state"]): [row["runs"], row["done"], row["steps"]]
        for row in index.rows(_STORED if index.has_sums else COUNTED)
    }
    found: dict[int, Sums] = {}
    living = live_owners(index)
    for row in index.rows(  # few, and with a lookup table of their own, from which to start
        f"""SELECT m.experiment, m.steps, min(r.step, m.steps) done, r.owner, {STATUS} state
            FROM runs r CROSS JOIN members m ON m.run = r.id WHERE r.owner IS NOT NULL"""
    ):
        if row["state"] in _LEASED:
            leased = (1, row["done"], row["steps"])
            mine = stored.setdefault((row["experiment"], row["state"]), [0, 0, 0])
            mine[:] = [old - own for old, own in zip(mine, leased, strict=True)]
            status = "running" if row["owner"] in living else "interrupted"
            found.setdefault(row["experiment"], Sums()).add(status, *leased)
    for (experiment, state), (runs, done, steps) in stored.items():
        if runs:
            status = "interrupted" if state == "begun" else state
            found.setdefault(experiment, Sums()).add(status, runs, done, steps)
    return found


def sums_key(index: Index) -> list[tuple[object, ...]]:
    """Values that change whenever the sums do."""
    stored = index.rows(_STORED if index.has_sums else COUNTED)
    leased = index.rows(
        "SELECT owner, count(*) FROM runs WHERE owner IS NOT NULL GROUP BY owner ORDER BY owner"
    )
    return [tuple(row) for row in (*stored, *leased)]


def shared_runs(index: Index) -> list[str]:
    """The ids of the runs that several experiments have."""
    if index.has_sums and not index.rows("SELECT 1 FROM sums WHERE state = 'shared'"):
        return []
    rows = index.rows("SELECT run FROM members GROUP BY run HAVING count(*) > 1")
    return [row["run"] for row in rows]


def repeated_members(index: Index, shared: list[str]) -> Iterator[sqlite3.Row]:
    """The rows of runs as members, in the order in which the experiments were requested."""
    yield from index.rows(
        """SELECT m.experiment, m.run, m.steps, m.stopped, r.step, r.outcome, r.owner
           FROM members m JOIN runs r ON r.id = m.run JOIN experiments e ON e.id = m.experiment
           WHERE m.run IN (SELECT value FROM json_each(?)) ORDER BY e.asked, e.id""",
        json.dumps(shared),
    )


def total_sums(index: Index) -> Sums:
    """The sums over all runs, each as a member of the experiment that requested the most steps."""
    total = Sums()
    for each in experiment_sums(index).values():
        for status, runs in each.statuses.items():
            total.statuses[status] = total.statuses.get(status, 0) + runs
        total.done += each.done
        total.steps += each.steps
    living = live_owners(index)
    longest: dict[str, sqlite3.Row] = {}
    for row in repeated_members(index, shared_runs(index)):
        _add(total, row, -1, living)
        best = longest.get(row["run"])
        if best is None or precedence(row) >= precedence(best):
            longest[row["run"]] = row
    for row in longest.values():
        _add(total, row, 1, living)
    return total


def _add(total: Sums, row: sqlite3.Row, sign: int, living: set[str]) -> None:
    status = status_of(row, row["steps"], row["stopped"], living)
    total.add(status, sign, sign * min(row["step"], row["steps"]), sign * row["steps"])
