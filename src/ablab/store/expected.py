"""Expectations as a store keeps them: each stamped with when it was written."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ablab.experiments.expectations import Expectation
from ablab.store.store import ExperimentRecord, Store, timestamp


@dataclass(frozen=True)
class Stamped:
    """An expectation with its stamp.

    Attributes:
        expectation: What is expected.
        written: When it was written, UTC, ISO 8601.
        seen: How many of the experiment's runs had results then.
        runs: How many runs it had.
    """

    expectation: Expectation
    written: str
    seen: int
    runs: int

    @property
    def late(self) -> bool:
        """Whether it was written after results were there, here or elsewhere."""
        return self.seen > 0 or self.expectation.after_results


def stamp(
    store: Store, record: ExperimentRecord, expectations: Sequence[Expectation]
) -> list[Stamped]:
    """Keeps expectations that are not kept yet, stamped with now; returns those that are new."""
    new = []
    with store.index.transaction() as connection:
        for each in expectations:
            (seen, runs) = connection.execute(
                """SELECT count(*) FILTER (WHERE r.step > 0), count(*)
                   FROM members m JOIN runs r ON r.id = m.run WHERE m.experiment = ?""",
                (record.id,),
            ).fetchone()
            made = Stamped(each, timestamp(), seen, runs)
            cursor = connection.execute(
                """INSERT OR IGNORE INTO expectations (experiment, expectation, written, seen, runs)
                   VALUES (?, ?, ?, ?, ?)""",
                (record.id, json.dumps(each.as_data(), sort_keys=True), made.written, seen, runs),
            )
            if cursor.rowcount:
                new.append(made)
    return new


def stamped(store: Store, record: ExperimentRecord) -> list[Stamped]:
    """The expectations of an experiment, in the order in which they were written."""
    rows = store.index.rows(
        "SELECT * FROM expectations WHERE experiment = ? ORDER BY id", record.id
    )
    return [
        Stamped(
            Expectation.model_validate(json.loads(row["expectation"])),
            row["written"],
            row["seen"],
            row["runs"],
        )
        for row in rows
    ]
