"""What successive halving decided after each rung, and the runs that it paused.

A decision depends on what was known when it was made, so it is stored and not made again. A paused
run is a stopped one: the step is in its row as a member, and the reason is that of its variant.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ablab.config import Problem
from ablab.experiments.seeds import most_seeds
from ablab.store.index import StoreError
from ablab.store.store import ExperimentRecord, Store

Outcome = Literal["goes on", "late", "paused", "ended", "not judged"]
"""What becomes of a variant after a rung. ``late``: it goes on although its value is worse than the
last one kept, as its runs are on a plateau that others have left; ``ended``: none of its runs has
steps left, so there is nothing to pause; ``not judged``: none of its runs has a value."""


@dataclass(frozen=True)
class RungDecision:
    """What becomes of a variant after a rung.

    Attributes:
        rung: The step of the rung.
        variant: The variant's place in the grid.
        outcome: What becomes of it.
        value: The median over its seeds of the measure, up to the rung; None if it has none, or if
            half of its runs diverged.
        threshold: The value of the last variant that the share lets go on; None if that has none.
        why: The reason, in words.
    """

    rung: int
    variant: int
    outcome: Outcome
    value: float | None
    threshold: float | None
    why: str


@dataclass(frozen=True)
class PausedRun:
    """A run that halving paused: the step, and why.

    Attributes:
        step: The step of the rung.
        why: The reason, in words.
    """

    step: int
    why: str


def rung_decisions(store: Store, experiment: int) -> list[RungDecision]:
    """The decisions of an experiment, by rung and then by the variant's place in the grid.

    Raises:
        StoreError: A decision is not one that ablab has written.
    """
    rows = store.index.rows(
        "SELECT * FROM rungs WHERE experiment = ? ORDER BY rung, variant", experiment
    )
    return [_decision(row) for row in rows]


def _decision(row: Any) -> RungDecision:
    about = json.loads(row["about"])
    try:
        found = RungDecision(row["rung"], row["variant"], **about)
    except TypeError:
        found = None
    known = found is not None and all(
        (
            found.outcome in get_args(Outcome),
            isinstance(found.why, str),
            isinstance(found.value, int | float | None),
            isinstance(found.threshold, int | float | None),
        )
    )
    if found is None or not known:
        raise StoreError(
            Problem(
                "the record of a rung of halving is damaged",
                given=str(row["about"])[:200],
                expected="a decision written by ablab",
            )
        )
    return found


def decides_otherwise(
    connection: sqlite3.Connection, experiment: int, theirs: Sequence[RungDecision]
) -> bool:
    """Whether an index has other decisions about some variant at some rung than another store."""
    outcomes = {(each.rung, each.variant): each.outcome for each in theirs}
    rows = connection.execute("SELECT * FROM rungs WHERE experiment = ?", (experiment,))
    own = [_decision(row) for row in rows]
    return any(
        outcomes.get((each.rung, each.variant), each.outcome) != each.outcome for each in own
    )


def decide_rung(
    store: Store, record: ExperimentRecord, decisions: Sequence[RungDecision]
) -> list[RungDecision]:
    """Stores the decisions after a rung, and pauses runs; what was decided before stays so.

    Args:
        store: The store.
        record: The experiment.
        decisions: The decisions after one rung or several.

    Returns:
        The decisions as they are stored, which may be those of another process.
    """
    rows = []
    for each in decisions:
        about = {k: v for k, v in asdict(each).items() if k not in ("rung", "variant")}
        rows.append((record.id, each.rung, each.variant, json.dumps(about)))
    with store.index.transaction() as connection:
        rungs = {each.rung for each in decisions}
        (known,) = connection.execute(
            "SELECT count(*) FROM rungs WHERE experiment = ? AND rung IN "
            "(SELECT value FROM json_each(?))",
            (record.id, json.dumps(sorted(rungs))),
        ).fetchone()
        if not known:
            connection.executemany("INSERT INTO rungs VALUES (?, ?, ?, ?)", rows)
        _pause(connection, record)
    return [each for each in rung_decisions(store, record.id) if each.rung in rungs]


def pause_again(store: Store, record: ExperimentRecord) -> None:
    """Pauses the runs of paused variants that were trained to their rung again, as by a repair."""
    with store.index.transaction() as connection:
        _pause(connection, record)


def _pause(connection: Any, record: ExperimentRecord) -> None:
    """Marks the runs of paused variants as stopped, except those that ended by themselves."""
    connection.execute(
        """UPDATE members SET stopped = (
               SELECT min(g.rung) FROM rungs g WHERE g.experiment = members.experiment
               AND g.variant = members.position / ?1
               AND json_extract(g.about, '$.outcome') = 'paused')
           WHERE experiment = ?2 AND stopped IS NULL AND EXISTS (
               SELECT 1 FROM rungs g JOIN runs r ON r.id = members.run
               WHERE g.experiment = members.experiment AND g.variant = members.position / ?1
               AND json_extract(g.about, '$.outcome') = 'paused' AND r.step >= g.rung
               AND (r.outcome IS NULL OR r.step > g.rung))""",
        (most_seeds(record.definition), record.id),
    )


def due_rung(store: Store, digest: str, rungs: Sequence[int], retry: bool = False) -> int | None:
    """The first rung of which something is left to train or to decide; None if there is none.

    Args:
        store: The store.
        digest: The experiment's digest, which need not be stored.
        rungs: The steps of the rungs, ascending.
        retry: Whether runs that failed or diverged are to be trained again.
    """
    rows = store.index.rows(
        """SELECT g.rung, g.variant, json_extract(g.about, '$.outcome') AS outcome FROM rungs g
           JOIN experiments e ON e.id = g.experiment WHERE e.digest = ?""",
        digest,
    )
    decided = {row["rung"] for row in rows}
    paused = {row["variant"]: row["rung"] for row in rows if row["outcome"] == "paused"}
    open_rungs = [rung for rung in rungs if rung not in decided]
    if paused:  # a repair may have set some of them back
        left = store.index.rows(
            """SELECT m.position, m.steps, e.definition FROM members m
               JOIN experiments e ON e.id = m.experiment JOIN runs r ON r.id = m.run
               WHERE e.digest = ? AND m.stopped IS NULL AND (r.outcome IS NULL OR ?)
               AND r.step < m.steps""",
            digest,
            retry,
        )
        most = most_seeds(json.loads(left[0]["definition"])) if left else 1
        places = [row["position"] // most for row in left]
        open_rungs += [paused[place] for place in places if place in paused]
    return min(open_rungs, default=None)


def paused_runs(store: Store, record: ExperimentRecord) -> dict[str, PausedRun]:
    """The runs of an experiment that halving paused, by run id."""
    if record.definition.get("halving") is None:
        return {}
    whys = {
        each.variant: PausedRun(each.rung, each.why)
        for each in rung_decisions(store, record.id)
        if each.outcome == "paused"
    }
    most = most_seeds(record.definition)
    found = {}
    for row in store.members(record.id) if whys else ():
        paused = whys.get(row["position"] // most)
        if paused is not None and row["stopped"] == paused.step:
            found[row["run"]] = paused
    return found


def pauses_of_run(store: Store, run: str) -> Mapping[str, PausedRun]:
    """Where halving paused a run, by the name of the experiment."""
    rows = store.index.rows(
        """SELECT e.name, e.definition, m.position, m.stopped, g.rung, g.variant, g.about
           FROM members m JOIN experiments e ON e.id = m.experiment
           JOIN rungs g ON g.experiment = m.experiment AND g.rung = m.stopped WHERE m.run = ?""",
        run,
    )
    found = {}
    for row in rows:
        about = json.loads(row["about"])
        most = most_seeds(json.loads(row["definition"]))
        if about["outcome"] == "paused" and row["variant"] == row["position"] // most:
            found[row["name"]] = PausedRun(row["rung"], about["why"])
    return found
