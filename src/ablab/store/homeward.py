"""What a machine has trained: collected from its own store, and published in the command's.

A shipment is published only while the token of its claim owns its runs, and only if it is not
older than what the store has: files first, then all rows in one transaction. The same shipment
twice changes nothing.
"""

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablab.store.bundles import forget_bundled
from ablab.store.digests import (
    Written,
    digests_of,
    file_digest,
    forget_digests,
    record_digests,
)
from ablab.store.files import remove
from ablab.store.parts import WrittenPart, add_part, list_parts
from ablab.store.paths import SUFFIXES, run_snapshot_path
from ablab.store.shipments import (
    Fetch,
    Key,
    SentFile,
    Shipment,
    as_json,
    place_file,
    plain_rows,
)
from ablab.store.store import Store
from ablab.store.table_rows import insert_missing, rows_with

_PROGRESS = (
    "step", "outcome", "error", "n_params", "seconds", "train_loss", "eval_loss", "segments",
    "updated",
)  # fmt: skip
_ATTEMPTS = 5


def state_of(store: Store) -> tuple[Any, ...]:
    """Changes whenever a machine's store has something new of its runs."""
    rows = store.index.rows(
        """SELECT (SELECT group_concat(id || step || ifnull(outcome, '') || updated) FROM runs),
           (SELECT max(id) FROM parts), (SELECT count(*) FROM kept), (SELECT count(*) FROM samples),
           (SELECT count(*) FROM initial), (SELECT count(stopped) FROM members),
           (SELECT sum(bytes) FROM digests)"""
    )
    return tuple(rows[0])


def homeward(
    store: Store,
    runs: Sequence[str],
    sent: Collection[Key],
    outbox: Path,
) -> Shipment:
    """What a machine's store has of some runs that was not sent yet.

    Args:
        store: The machine's store.
        runs: The runs.
        sent: The keys of the files that were sent.
        outbox: A folder, which gets the files at the paths of a store. They stay as they are,
            whatever is trained meanwhile.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _collect(store, runs, sent, outbox)
        except FileNotFoundError:  # replaced by the next checkpoint
            shutil.rmtree(outbox, ignore_errors=True)
    return _collect(store, runs, sent, outbox)


def _collect(
    store: Store,
    runs: Sequence[str],
    sent: Collection[Key],
    outbox: Path,
) -> Shipment:
    with store.index.view():
        tables = {
            "runs": plain_rows(store.index.rows(
                f"""SELECT id, {", ".join(_PROGRESS)} FROM runs
                    WHERE id IN (SELECT value FROM json_each(?))""", as_json(runs),
            )),
            "stopped": plain_rows(store.index.rows(
                """SELECT run, stopped FROM members WHERE stopped IS NOT NULL
                   AND run IN (SELECT value FROM json_each(?))""", as_json(runs),
            )),
        }  # fmt: skip
        for table in ("snapshots", "kept", "samples", "initial"):
            tables[table] = plain_rows(rows_with(store, table, "run", runs))
        listed = [
            SentFile("part", each.file, "", 0, "", 0, "", each.shares)
            for each in list_parts(store, set(runs))
        ]
    listed += [
        SentFile("snapshot", "", row["run"], row["step"], "", 0, "") for row in tables["snapshots"]
    ]
    for row in tables["kept"]:
        for suffix in SUFFIXES[row["kind"]]:
            file = SentFile(row["kind"], "", row["run"], row["step"], suffix, 0, "")
            path = file.path(store.path)
            if path.is_file():  # a flight record may have no table
                listed.append(replace(file, version=" ".join(sorted(digests_of(store, path)))))
    new = [_put(each, store.path, outbox) for each in listed if each.key not in sent]
    return Shipment(tuple(runs), tables, tuple(new))


def _put(file: SentFile, root: Path, outbox: Path) -> SentFile:
    """A file with its size and digest, after it was put into the outbox."""
    to = file.path(outbox)
    to.parent.mkdir(parents=True, exist_ok=True)
    _link(file.path(root), to)
    return replace(file, bytes=to.stat().st_size, digest=file_digest(to))


def _link(path: Path, to: Path) -> None:
    try:
        os.link(path, to)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copyfile(path, to)


def receive(store: Store, shipment: Shipment, token: str, experiment: int, fetch: Fetch) -> bool:
    """Publishes a shipment in the command's store.

    Args:
        store: The command's store.
        shipment: The shipment.
        token: The token of its claim.
        experiment: The number of the experiment for which the runs are trained.
        fetch: Writes the content of a file to a path.

    Returns:
        Whether it was published. It is not if the claim has ended, or if the store has more steps.

    Raises:
        StoreError: The store cannot be written, or a file is not what was sent.
    """
    if not _is_due(store, shipment, token):
        return False
    listed = {
        row["file"]
        for row in rows_with(store, "parts", "file", [e.name for e in shipment.files if e.name])
    }
    files = [each for each in shipment.files if each.name not in listed]
    written = {each: place_file(store, each, fetch) for each in files}
    gone: list[tuple[str, int]] = []
    with store.index.transaction() as connection:
        due = _is_due(store, shipment, token)
        if due:
            gone = _superseded(store, shipment)
            _list(connection, store, shipment, written, experiment)
            forget_digests(
                connection, store, [run_snapshot_path(store.path, *each) for each in gone]
            )
    if not due:
        for each in written:
            if each.kind == "part":
                remove(each.path(store.path))
        return False
    for run, step in gone:
        remove(run_snapshot_path(store.path, run, step))
    return True


def _is_due(store: Store, shipment: Shipment, token: str) -> bool:
    """Whether a shipment's claim still owns its runs, and none has more steps than it says."""
    here = {row["id"]: row for row in rows_with(store, "runs", "id", shipment.runs)}
    return all(
        row["id"] in here
        and here[row["id"]]["owner"] == token
        and here[row["id"]]["step"] <= row["step"]
        for row in shipment.tables["runs"]
    )


def _superseded(store: Store, shipment: Shipment) -> list[tuple[str, int]]:
    """The passing snapshots that those of the shipment replace."""
    sent = {(row["run"], row["step"]) for row in shipment.tables["snapshots"]}
    return [
        (row["run"], row["step"])
        for row in rows_with(store, "snapshots", "run", shipment.runs)
        if row["passing"] and (row["run"], row["step"]) not in sent
    ]


def _list(
    connection: Any,
    store: Store,
    shipment: Shipment,
    written: Mapping[SentFile, Written],
    experiment: int,
) -> None:
    """Lists a shipment in the index, inside the caller's transaction."""
    assigned = ", ".join(f"{name} = ?" for name in _PROGRESS)
    for row in shipment.tables["runs"]:
        values = [row[name] for name in _PROGRESS]
        connection.execute(f"UPDATE runs SET {assigned} WHERE id = ?", [*values, row["id"]])
    for row in shipment.tables["stopped"]:
        connection.execute(
            "UPDATE members SET stopped = ? WHERE run = ? AND experiment = ?",
            (row["stopped"], row["run"], experiment),
        )
    connection.executemany(
        "DELETE FROM snapshots WHERE run = ? AND passing", [(run,) for run in shipment.runs]
    )
    for row in shipment.tables["snapshots"]:  # one that is here already stays in its bundle
        connection.execute(
            """INSERT INTO snapshots (run, step, bytes, has_optimizer, passing)
               VALUES (:run, :step, :bytes, :has_optimizer, :passing)
               ON CONFLICT (run, step) DO UPDATE SET bytes = excluded.bytes,
               has_optimizer = excluded.has_optimizer, passing = excluded.passing""",
            row,
        )
    forget_bundled(connection, [(e.run, e.step) for e in written if e.kind == "snapshot"])
    for table in ("kept", "samples"):
        for row in shipment.tables[table]:
            marks = ", ".join("?" * len(row))
            connection.execute(
                f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({marks})",
                tuple(row.values()),
            )
    initial = shipment.tables["initial"]
    if initial:
        insert_missing(connection, "initial", initial[0], [tuple(row.values()) for row in initial])
    for each, file in written.items():
        if each.kind == "part":
            add_part(connection, store, WrittenPart(file, list(each.shares)))
    record_digests(connection, store, written.values())
