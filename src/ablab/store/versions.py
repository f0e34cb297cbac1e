"""Values that change whenever what the index says of an experiment, a run or the store changes."""

import hashlib

from ablab.store.leases import live_owners
from ablab.store.store import ExperimentRecord, RunRecord, Store


def experiment_version(store: Store, record: ExperimentRecord) -> str:
    """A string that changes whenever the results of an experiment change."""
    rows = store.index.rows(
        """SELECT m.run, r.step, r.updated,
                  (SELECT max(part) FROM part_runs WHERE run = m.run) part,
                  (SELECT count(*) FROM kept WHERE run = m.run) kept,
                  (SELECT group_concat(step || name || key) FROM findings WHERE run = m.run) found,
                  (SELECT max(step) FROM samples WHERE run = m.run) sampled
           FROM members m JOIN runs r ON r.id = m.run WHERE m.experiment = ? ORDER BY m.position""",
        record.id,
    )
    statuses = [run.status for run in store.runs(record)]
    (expected,) = store.index.rows(
        "SELECT count(*) written FROM expectations WHERE experiment = ?", record.id
    )
    return _digest([tuple(row) for row in rows], statuses, store.notes(record.id), tuple(expected))


def run_version(store: Store, run: RunRecord) -> str:
    """A string that changes whenever the results of a run change."""
    (row,) = store.index.rows(
        """SELECT (SELECT max(part) FROM part_runs WHERE run = r.id) part,
                  (SELECT count(*) FROM kept WHERE run = r.id) kept, r.updated,
                  (SELECT group_concat(step || name || key) FROM findings WHERE run = r.id) found
           FROM runs r WHERE r.id = ?""",
        run.run,
    )
    return _digest(tuple(row), run)


def store_version(store: Store) -> str:
    """A string that changes whenever the lists of experiments and runs change."""
    (row,) = store.index.rows(
        """SELECT (SELECT count(*) FROM members) members,
                  (SELECT max(asked) FROM experiments) asked,
                  (SELECT count(*) FROM notes) notes, (SELECT max(updated) FROM runs) updated,
                  (SELECT sum(step) FROM runs) step, (SELECT count(owner) FROM runs) owned"""
    )
    return _digest(tuple(row), sorted(live_owners(store.index)))


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]
