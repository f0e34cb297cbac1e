"""Values that change whenever what the index says of an experiment, a run or the store changes."""

import hashlib

from ablab.store.leases import live_owners
from ablab.store.store import ExperimentRecord, RunRecord, Store
from ablab.store.sums import experiment_sums, sums_key


def experiment_version(store: Store, record: ExperimentRecord) -> str:
    """A string that changes whenever the results of an experiment change."""
    # Sums and maxima rather than a row for each run: a part that is added has the largest number,
    # and a run that trains gets more steps and a later time.
    rows = store.index.rows(
        """WITH mine AS MATERIALIZED (SELECT run FROM members WHERE experiment = ?1)
           SELECT count(*), max(updated), sum(step), count(outcome), count(owner),
                  (SELECT max(part) FROM part_runs WHERE run IN mine),
                  (SELECT count(*) FROM part_runs WHERE run IN mine),
                  (SELECT count(*) FROM kept WHERE run IN mine),
                  (SELECT group_concat(run || step || name || key) FROM
                   (SELECT * FROM findings WHERE run IN mine ORDER BY run, step, name)),
                  (SELECT sum(step) FROM samples WHERE run IN mine),
                  (SELECT count(*) FROM expectations WHERE experiment = ?1)
           FROM runs WHERE id IN mine""",
        record.id,
    )
    sums = experiment_sums(store.index).get(record.id)
    return _digest([tuple(row) for row in rows], repr(sums), store.notes(record.id))


def experiment_tables_version(store: Store, record: ExperimentRecord) -> str:
    """A string that changes with what only tables and sentences of an experiment show.

    That is what was found, generated, recorded, expected and noted; not its metrics.
    """
    rows = store.index.rows(
        """WITH mine AS MATERIALIZED (SELECT run FROM members WHERE experiment = ?1)
           SELECT (SELECT group_concat(run || step || name || key) FROM
                   (SELECT * FROM findings WHERE run IN mine ORDER BY run, step, name)),
                  (SELECT sum(step) FROM samples WHERE run IN mine),
                  (SELECT count(*) FROM kept WHERE run IN mine AND kind = 'flight'),
                  (SELECT count(*) FROM expectations WHERE experiment = ?1)""",
        record.id,
    )
    return _digest([tuple(row) for row in rows], store.notes(record.id))


def run_tables_version(run: RunRecord) -> str:
    """A string that changes while a run is trained, for its tables: at every fiftieth of it."""
    return _digest(run.run, run.status, 50 * run.step // max(1, run.steps))


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
        """SELECT (SELECT max(asked) FROM experiments) asked,
                  (SELECT count(*) FROM notes) notes"""
    )
    return _digest(tuple(row), sums_key(store.index), sorted(live_owners(store.index)))


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]
