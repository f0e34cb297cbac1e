"""Stored expectations, each with the time at which it was written."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from ablab.experiments.expectations import Expectation
from ablab.store.store import ExperimentRecord, Store, timestamp


@dataclass(frozen=True)
class Stamped:
    """An expectation with its time stamp.

    Attributes:
        expectation: The expectation.
        written: When it was written: UTC, ISO 8601.
        seen: The number of the experiment's runs that had results at that time.
        runs: The number of runs that the experiment had at that time.
    """

    expectation: Expectation
    written: str
    seen: int
    runs: int

    @property
    def late(self) -> bool:
        """Whether it was written after results existed, in this store or elsewhere."""
        return self.seen > 0 or self.expectation.after_results


def stamp(
    store: Store, record: ExperimentRecord, expectations: Sequence[Expectation]
) -> list[Stamped]:
    """Saves expectations that are not stored yet, with the current time; returns the new ones.

    The same expectation of an experiment of the same name, as before its grid was widened, was
    written when it was first, unless other runs of this experiment had results by then.
    """
    new = []
    with store.index.transaction() as connection:
        rows = connection.execute(
            "SELECT id, expectation FROM expectations WHERE experiment = ?", (record.id,)
        )
        known: dict[str, dict[str, int]] = {}  # the rows of each claim, by their text
        for row in rows:
            stored = known.setdefault(_claim(row["expectation"]), {})
            stored[row["expectation"]] = row["id"]
        for each in expectations:
            text = json.dumps(each.as_data(), sort_keys=True)
            stored = known.setdefault(_claim(text), {})
            if stored:
                if each.after_results:  # which its author says now
                    _say_late(connection, stored, text)
                continue
            before = connection.execute(
                """SELECT e.written, e.seen, e.runs
                   FROM expectations e JOIN experiments x ON x.id = e.experiment
                   WHERE e.expectation = ? AND x.name = ? AND NOT EXISTS (
                       SELECT 1 FROM members m JOIN runs r ON r.id = m.run
                       WHERE m.experiment = ? AND r.step > 0 AND r.created <= e.written
                       AND r.id NOT IN (SELECT run FROM members WHERE experiment = e.experiment))
                   ORDER BY e.written LIMIT 1""",
                (text, record.name, record.id),
            ).fetchone()
            seen, runs = connection.execute(
                """SELECT count(*) FILTER (WHERE r.step > 0), count(*)
                   FROM members m JOIN runs r ON r.id = m.run WHERE m.experiment = ?""",
                (record.id,),
            ).fetchone()
            made = Stamped(each, *(before or (timestamp(), seen, runs)))
            cursor = connection.execute(
                """INSERT OR IGNORE INTO expectations (experiment, expectation, written, seen, runs)
                   VALUES (?, ?, ?, ?, ?)""",
                (record.id, text, made.written, made.seen, made.runs),
            )
            if cursor.rowcount:
                new.append(made)
                stored[text] = int(cursor.lastrowid or 0)
    return new


def _say_late(connection: sqlite3.Connection, stored: dict[str, int], text: str) -> None:
    """Leaves one row of a claim, whose text says that it was written after results.

    Args:
        connection: The index.
        stored: The rows of the claim by their text; is changed.
        text: The text.
    """
    remaining = stored.get(text, min(stored.values()))
    for other in set(stored.values()) - {remaining}:
        connection.execute("DELETE FROM expectations WHERE id = ?", (other,))
    if text not in stored:
        connection.execute(
            "UPDATE expectations SET expectation = ? WHERE id = ?", (text, remaining)
        )
    stored.clear()
    stored[text] = remaining


def _claim(expectation: str) -> str:
    """What is expected, without whether it was late, as a repeated experiment says.

    Args:
        expectation: An expectation as JSON.
    """
    data = json.loads(expectation)
    return json.dumps({key: data[key] for key in data if key != "after_results"}, sort_keys=True)


def new_claims(
    connection: sqlite3.Connection, experiment: int, rows: Sequence[sqlite3.Row]
) -> list[sqlite3.Row]:
    """Those rows of another store's expectations whose claim an experiment does not have."""
    query = "SELECT expectation FROM expectations WHERE experiment = ?"
    known = {_claim(row[0]) for row in connection.execute(query, (experiment,))}
    return [row for row in rows if _claim(row["expectation"]) not in known]


def stamped(store: Store, record: ExperimentRecord) -> list[Stamped]:
    """The stored expectations of an experiment, in the order in which they were written."""
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
