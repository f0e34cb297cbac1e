"""The SQL that keeps sums over the runs of each experiment, and counts them again."""

import sqlite3
from collections.abc import Iterator

STATUS = """CASE WHEN m.stopped IS NOT NULL THEN 'stopped'
WHEN r.outcome IS 'diverged' AND r.step <= m.steps THEN 'diverged'
WHEN r.step >= m.steps THEN 'finished' WHEN r.outcome IS 'failed' THEN 'failed'
WHEN r.step > 0 THEN 'begun' ELSE 'planned' END"""
"""The status of a run ``r`` as a member ``m``, apart from its lease: a run that is ``begun`` is
running or interrupted (as in :func:`ablab.store.records.status_of`)."""
COUNTED = f"""SELECT m.experiment, {STATUS} state, count(*) runs, sum(min(r.step, m.steps)) done,
sum(m.steps) steps FROM members m JOIN runs r ON r.id = m.run
GROUP BY m.experiment, state"""
"""The sums by experiment and status."""
_ALL = f"""{COUNTED} UNION ALL SELECT 0, 'shared', sum(members - 1), 0, 0 FROM
(SELECT count(*) members FROM members GROUP BY run) HAVING sum(members - 1) > 0 ORDER BY 1, 2"""
# A row says how many rows of members have a run that an earlier one has; usually there is none.
_SHARED = """INSERT INTO sums SELECT 0, 'shared', {sign}1, 0, 0 WHERE
(SELECT count(*) FROM members WHERE run = {row}.run) > {others}
ON CONFLICT (experiment, state) DO UPDATE SET runs = runs + excluded.runs;"""
_ADD = """INSERT INTO sums SELECT m.experiment, {status}, {sign}1, {sign}min(r.step, m.steps),
{sign}m.steps FROM {of} ON CONFLICT (experiment, state) DO UPDATE SET
runs = runs + excluded.runs, done = done + excluded.done, steps = steps + excluded.steps;"""
_TIDY = "DELETE FROM sums WHERE runs = 0 AND experiment {those};"


def keep_sums(connection: sqlite3.Connection) -> None:
    """From now on, what this connection writes updates the sums."""
    run = "(SELECT {row}.step step, {row}.outcome outcome) r"
    member = "(SELECT {row}.experiment experiment, {row}.steps steps, {row}.stopped stopped) m"
    of_run = f"members m JOIN {run} WHERE m.run = NEW.id"
    # SQLite needs a condition before ON CONFLICT (https://www.sqlite.org/lang_upsert.html, 2.2).
    of_member = (
        f"{member} JOIN (SELECT step, outcome FROM runs WHERE id = {{row}}.run) r WHERE true"
    )
    remove, add = ("-", "OLD"), ("", "NEW")
    apart = _SHARED.format(sign="-", row="OLD", others=0)  # after the row has gone
    together = _SHARED.format(sign="", row="NEW", others=1)
    tidy = _TIDY.format(those="= 0")
    for name, event, body in (
        ("parted", "DELETE ON members", apart),
        ("joined", "INSERT ON members", together),
        ("passed", "UPDATE OF run ON members WHEN OLD.run != NEW.run", apart + together),
    ):
        connection.execute(
            f"CREATE TEMP TRIGGER IF NOT EXISTS sums_{name} AFTER {event} BEGIN {body} {tidy} END"
        )
    of_old = "= OLD.experiment"
    for name, event, source, changes, those in (
        (
            "moved",
            "UPDATE OF step, outcome ON runs",
            of_run,
            (remove, add),
            "IN (SELECT experiment FROM members WHERE run = NEW.id)",
        ),
        (
            "registered",  # again, while its members are there
            "INSERT ON runs",
            of_run,
            (add,),
            "IN (SELECT experiment FROM members WHERE run = NEW.id)",
        ),
        ("added", "INSERT ON members", of_member, (add,), "= NEW.experiment"),
        (
            "changed",
            "UPDATE OF experiment, run, steps, stopped ON members",
            of_member,
            (remove, add),
            of_old,
        ),
        ("dropped", "DELETE ON members", of_member, (remove,), of_old),
    ):
        tidy = _TIDY.format(those=those)
        body = " ".join(
            _ADD.format(status=STATUS, sign=sign, of=source.format(row=row))
            for sign, row in changes
        )
        connection.execute(
            f"CREATE TEMP TRIGGER IF NOT EXISTS sums_{name} AFTER {event} BEGIN {body} {tidy} END"
        )


def has_sums(connection: sqlite3.Connection) -> bool:
    """Whether an index has the table; one of an earlier release lacks it until it is written."""
    query = "SELECT 1 FROM main.sqlite_master WHERE name = 'sums'"
    return connection.execute(query).fetchone() is not None


def count_sums(connection: sqlite3.Connection) -> None:
    """Counts all sums again, inside the caller's transaction."""
    connection.execute("DELETE FROM sums")
    connection.execute(f"INSERT INTO sums {_ALL}")


def wrong_sums(connection: sqlite3.Connection) -> Iterator[int]:
    """The experiments whose sums are not what counting gives."""
    stored = _by_experiment(connection, "SELECT * FROM sums ORDER BY experiment, state")
    counted = _by_experiment(connection, _ALL)
    yield from sorted(each for each in {*stored, *counted} if stored.get(each) != counted.get(each))


def _by_experiment(connection: sqlite3.Connection, query: str) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for row in connection.execute(query):
        found.setdefault(row[0], []).append(repr(tuple(row)))
    return found
