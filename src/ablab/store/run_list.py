"""Records of runs, read for some runs at a time: a list of a store may have a million of them."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from ablab.experiments.inactive import nullable_keys
from ablab.store.index import Index
from ablab.store.leases import live_owners
from ablab.store.records import RunRecord, run_record
from ablab.store.sums import experiment_sums, repeated_members, shared_runs

AT_ONCE = 2_000  # runs that are read at a time
# A run of several experiments is listed with the first of them.
_FIRST = """SELECT m.run FROM members m WHERE m.experiment = ? AND NOT EXISTS
(SELECT 1 FROM members o JOIN experiments e ON e.id = o.experiment
 WHERE o.run = m.run AND (e.asked, e.id) < (?, ?)) ORDER BY m.position"""


def list_all(index: Index) -> Iterator[RunRecord]:
    """Every run, by experiment in the order in which they were last requested."""
    return _records(index, _ids(index), None)


def list_some(index: Index, first: int, count: int) -> tuple[list[RunRecord], int]:
    """A page of :func:`list_all`, and the number of all runs.

    Args:
        index: The index.
        first: The number of runs before the page.
        count: The most runs that it has.
    """
    sums = experiment_sums(index)
    counts = {number: each.runs for number, each in sums.items()}
    seen: set[str] = set()
    for row in repeated_members(index, shared_runs(index)):
        counts[row["experiment"]] -= row["run"] in seen
        seen.add(row["run"])
    found: list[str] = []
    skip = first
    for number, asked in _experiments(index):
        here = counts.get(number, 0)
        if skip >= here:
            skip -= here
            continue
        rows = index.rows(
            f"{_FIRST} LIMIT ? OFFSET ?", number, asked, number, count - len(found), skip
        )
        found += [row["run"] for row in rows]
        skip = 0
        if len(found) >= count:
            break
    return list(_records(index, iter(found), None)), sum(counts.values())


def progress_of(index: Index, runs: Iterable[str]) -> dict[str, int]:
    """The steps that some runs have trained, by run id."""
    rows = index.rows(
        "SELECT id, step FROM runs WHERE id IN (SELECT value FROM json_each(?))",
        json.dumps(list(runs)),
    )
    return {row["id"]: row["step"] for row in rows}


def list_experiment(
    index: Index, number: int, first: int = 0, count: int | None = None
) -> Iterator[RunRecord]:
    """The runs of an experiment, in its own order.

    Args:
        index: The index.
        number: The experiment.
        first: The number of runs before the list.
        count: The most runs that it has; all if None.
    """
    rows = index.rows(
        "SELECT run FROM members WHERE experiment = ? ORDER BY position LIMIT ? OFFSET ?",
        number,
        -1 if count is None else count,
        first,
    )
    return _records(index, (row["run"] for row in rows), number)


def list_named(index: Index, runs: Sequence[str]) -> list[RunRecord]:
    """The records of some runs, which the store has, in the order given."""
    return list(_records(index, iter(runs), None))


def _experiments(index: Index) -> list[tuple[int, str]]:
    rows = index.rows("SELECT id, asked FROM experiments ORDER BY asked, id")
    return [(row["id"], row["asked"]) for row in rows]


def _ids(index: Index) -> Iterator[str]:
    for number, asked in _experiments(index):
        yield from (row["run"] for row in index.rows(_FIRST, number, asked, number))


def _records(index: Index, runs: Iterator[str], number: int | None) -> Iterator[RunRecord]:
    """The records of runs, within an experiment or the one that requested the most steps."""
    living = live_owners(index)

    @cache
    def nullable(experiment: int) -> Collection[str]:
        rows = index.rows("SELECT definition FROM experiments WHERE id = ?", experiment)
        return nullable_keys(json.loads(rows[0]["definition"])["grid"])

    some: list[str] = []
    for run in runs:
        some.append(run)
        if len(some) == AT_ONCE:
            yield from _read(index, some, number, living, nullable)
            some = []
    if some:
        yield from _read(index, some, number, living, nullable)


def _read(
    index: Index,
    runs: Sequence[str],
    number: int | None,
    living: set[str],
    nullable: Callable[[int], Collection[str]],
) -> Iterator[RunRecord]:
    among = json.dumps(list(runs))
    members: dict[str, list[Any]] = {}
    for row in index.rows(
        """SELECT m.run, m.experiment, m.variant, m.steps, m.stopped, e.name
           FROM members m JOIN experiments e ON e.id = m.experiment
           WHERE m.run IN (SELECT value FROM json_each(?)) ORDER BY e.asked, e.id, m.position""",
        among,
    ):
        members.setdefault(row["run"], []).append(row)
    rows = {
        row["id"]: row
        for row in index.rows(
            """SELECT id, seed, step, outcome, error, owner, n_params, seconds, train_loss,
               eval_loss FROM runs WHERE id IN (SELECT value FROM json_each(?))""",
            among,
        )
    }
    for run in runs:
        if run in rows:  # else a repair of the index has dropped it
            yield run_record(rows[run], members[run], number, living, nullable)
