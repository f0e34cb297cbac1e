"""Copies experiments with their runs from one store to another; runs are identified by their ids.

Nothing that the receiving store has changes: it gets runs, steps and columns that it lacks, and
what belongs to them. Where both stores have a run, its losses are compared at the steps that both
have; a run whose losses differ stays as it is, and the reason is named.

The experiments and their runs are registered first, and the runs leased, so that no other process
trains them meanwhile. Then files are copied, and the index lists them in one transaction. A kill
leaves planned runs and unlisted files, which is harmless. Repeating it changes nothing.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from ablab.config import Problem
from ablab.experiments.outline import trained_part
from ablab.store.artifacts import artifact_path
from ablab.store.bundles import open_snapshot
from ablab.store.copying import (
    ChangedError,
    copy_file,
    first_difference,
    has_all_losses,
    lacking_rows,
    logged_rows,
    together,
    unlike_losses,
)
from ablab.store.cover import cover_new_files
from ablab.store.digests import Written, digests_of, record_digests
from ablab.store.expected import new_claims
from ablab.store.files import remove, write_text_atomically
from ablab.store.index import StoreError
from ablab.store.leases import Owner
from ablab.store.parts import WrittenPart, add_part, write_part
from ablab.store.paths import SUFFIXES, finding_path, tokenizer_path
from ablab.store.rungs import decides_otherwise, rung_decisions
from ablab.store.snapshot_files import check_snapshot, snapshot_path
from ablab.store.sources import copy_source, source_files, sources_in
from ablab.store.store import ExperimentRecord, Store
from ablab.store.table_rows import insert_missing, lacking_findings, last_snapshots, rows_with
from ablab.store.transferred import Transferred
from ablab.tasks.subwords import content_digest

Snapshots = Literal["all", "last"]
_ATTEMPTS, _AT_ONCE = 5, 50_000  # at a store that is being written; rows in memory at once
_BEGUN = ("id", "trajectory", "seed", "created", "updated")
_PROGRESS = (
    "step", "outcome", "error", "n_params", "seconds", "train_loss", "eval_loss", "segments",
    "updated",
)  # fmt: skip


def transfer(
    source: Store, target: Store, records: Sequence[ExperimentRecord], snapshots: Snapshots
) -> Transferred:
    """Copies experiments, with their runs and all that is stored of these.

    Other processes may write to both stores meanwhile: what is copied was there at one moment.

    Args:
        source: The store that has them; a stranger's may be opened for reading only.
        target: The store that gets them.
        records: The experiments.
        snapshots: Which snapshots to copy: all, or the last of each run and the last that training
            can resume from.

    Raises:
        StoreError: A file of the source is missing or damaged, the target cannot be written, or it
            has another experiment with the digest of one of these.
    """
    for _ in range(_ATTEMPTS - 1):
        with suppress(ChangedError), source.index.view():  # merged or superseded meanwhile
            return _Transfer(source, target, snapshots).run(records)
    with source.index.view():
        return _Transfer(source, target, snapshots).run(records)


class _Transfer:
    """One attempt at a transfer."""

    def __init__(self, source: Store, target: Store, snapshots: Snapshots) -> None:
        self._source, self._target, self._snapshots = source, target, snapshots
        self._done = Transferred()
        self._files: list[Written] = []
        self._parts: list[WrittenPart] = []
        self._others: dict[str, str] = {}  # the target's ids of runs that it knows by other ids
        self._halved: set[str] = set()  # digests of experiments that the target halves otherwise

    def run(self, records: Sequence[ExperimentRecord]) -> Transferred:
        """Carries the transfer out; removes what it has written if it fails."""
        members = [row["run"] for each in records for row in self._source.members(each.id)]
        wanted = list(dict.fromkeys(members))
        rows = {row["id"]: row for row in rows_with(self._source, "runs", "id", wanted)}
        self._find_others(wanted)
        new = {run: row for run, row in rows.items() if run not in self._others}
        self._register(records, new)
        with Owner(self._target.index.path) as owner:
            leased = set(owner.acquire(self._target.index, list(new)))
            here = {row["id"]: row for row in rows_with(self._target, "runs", "id", list(new))}
            candidates = [run for run in new if self._may_be_taken(new[run], here[run], leased)]
            try:
                listed = self._copy(candidates, new, here)
                self._copy_code(new.values())
                with self._target.index.transaction() as connection:
                    self._check_leases(connection, owner)
                    self._list(connection, new, listed)
            except BaseException:
                for path in [each.path for each in self._files] + [
                    each.written.path for each in self._parts
                ]:
                    remove(path)
                raise
        return self._done

    def _find_others(self, wanted: Sequence[str]) -> None:
        """Finds the runs that the target has under another id, as of an earlier release."""
        for row in rows_with(self._target, "aliases", "id", wanted):
            self._others[row["id"]] = row["run"]
        aliases = rows_with(self._source, "aliases", "run", wanted)
        known = {
            row["id"]
            for row in rows_with(self._target, "runs", "id", [row["id"] for row in aliases])
        }
        self._others |= {row["run"]: row["id"] for row in aliases if row["id"] in known}
        for run, other in self._others.items():
            self._done.refused[run] = f"the store has this run as {other}"

    def _register(self, records: Sequence[ExperimentRecord], rows: dict[str, sqlite3.Row]) -> None:
        """Adds the experiments, and their runs as planned ones."""
        with self._target.index.transaction() as connection:
            begun = [[row[name] for name in _BEGUN] for row in rows.values()]
            insert_missing(connection, "runs", _BEGUN, begun)
            for record in records:
                self._add_experiment(connection, record)

    def _add_experiment(self, connection: sqlite3.Connection, record: ExperimentRecord) -> None:
        source = self._source
        (mine,) = rows_with(source, "experiments", "id", [record.id])
        columns = [name for name in mine.keys() if name not in ("id", "entry")]  # noqa: SIM118
        insert_missing(connection, "experiments", columns, [[mine[name] for name in columns]])
        number, definition = connection.execute(
            "SELECT id, definition FROM experiments WHERE digest = ?", (mine["digest"],)
        ).fetchone()
        if trained_part(json.loads(definition)) != trained_part(json.loads(mine["definition"])):
            raise StoreError(
                Problem(
                    f"{record.name} has the digest of another experiment in the store",
                    given=mine["digest"],
                    expected="an experiment that ablab has written",
                )
            )
        self._done.experiments.append(number)
        members = [
            [number, self._others.get(row["run"], row["run"]), row["position"], row["variant"],
             row["steps"]]
            for row in source.members(record.id)
        ]  # fmt: skip
        columns = ["experiment", "run", "position", "variant", "steps"]
        insert_missing(connection, "members", columns, members)
        tables = {
            "registrations": ["registration"],
            "expectations": ["expectation", "written", "seen", "runs"],
        }
        if decides_otherwise(connection, number, rung_decisions(source, record.id)):
            self._halved.add(mine["digest"])
        else:
            tables["rungs"] = ["rung", "variant", "about"]
        for table, columns in tables.items():
            found = rows_with(source, table, "experiment", [record.id])
            if table == "expectations":
                found = new_claims(connection, number, found)
            values = [[number, *(row[name] for name in columns)] for row in found]
            insert_missing(connection, table, ["experiment", *columns], values)
        for row in rows_with(source, "notes", "experiment", [record.id]):
            connection.execute(
                """INSERT INTO notes (experiment, text, created) SELECT ?, ?, ? WHERE NOT EXISTS
                   (SELECT 1 FROM notes WHERE experiment = ? AND text = ? AND created = ?)""",
                (number, row["text"], row["created"]) * 2,
            )

    def _may_be_taken(self, row: sqlite3.Row, here: sqlite3.Row, leased: set[str]) -> bool:
        """Whether a run can be added to, as far as the index tells; else says why not."""
        if json.loads(here["trajectory"]) != json.loads(row["trajectory"]):
            self._done.refused[row["id"]] = "the store has another run with this id"
        elif row["id"] not in leased:
            self._done.refused[row["id"]] = "another process holds it here"
        return row["id"] not in self._done.refused

    def _copy(
        self, runs: Sequence[str], rows: dict[str, sqlite3.Row], here: dict[str, sqlite3.Row]
    ) -> dict[str, list[sqlite3.Row]]:
        """Decides about runs, and copies their files and metrics.

        Returns:
            The rows that list the files, by table.
        """
        found = {"snapshots": self._lacking("snapshots", runs, "run", "step")}
        if self._snapshots == "last":
            found["snapshots"] = last_snapshots(found["snapshots"])
        # Those that the next checkpoint replaces are copied first.
        found["snapshots"].sort(key=lambda row: not row["passing"])
        for row in found["snapshots"]:
            self._copy_snapshot(row)
        resumable = {
            row["run"]
            for store in (self._source, self._target)
            for row in rows_with(store, "snapshots", "run", runs)
            if row["has_optimizer"]
        }
        for some in _few_rows(runs, rows, here):
            self._copy_metrics(some, rows, here, resumable)
        taken = [*self._done.added, *self._done.continued, *self._done.present]
        for table in ("samples", "initial", "aliases"):
            found[table] = rows_with(self._source, table, "run", taken)
        found["kept"] = self._lacking("kept", taken, "kind", "run", "step")
        for row in found["kept"]:
            for suffix in SUFFIXES.get(row["kind"], ()):
                self._copy_one(
                    lambda store, row=row, suffix=suffix: artifact_path(
                        store, row["kind"], row["run"], row["step"], suffix
                    )
                )
        found["findings"] = lacking_findings(self._source, self._target, taken)
        for row in found["findings"]:
            if row["bytes"]:
                self._copy_one(
                    lambda store, row=row: finding_path(
                        store.path, row["run"], row["step"], row["key"]
                    )
                )
        found["snapshots"] = self._of_taken(found["snapshots"], set(taken))
        return found

    def _of_taken(self, snapshots: list[sqlite3.Row], taken: set[str]) -> list[sqlite3.Row]:
        """The snapshots of runs that are taken; removes the copies of others.

        A run that the target has as many steps of keeps its own checkpoint to resume from.
        """
        present = set(self._done.present)
        useful = []
        for row in snapshots:
            if row["run"] in taken and not (row["passing"] and row["run"] in present):
                useful.append(row)
                continue
            path = snapshot_path(self._target, row["run"], row["step"])
            remove(path)
            self._files = [each for each in self._files if each.path != path]
        return useful

    def _copy_metrics(
        self,
        runs: Sequence[str],
        rows: dict[str, sqlite3.Row],
        here: dict[str, sqlite3.Row],
        resumable: set[str],
    ) -> None:
        """Decides about some runs, and writes the rows that the target lacks as a new part."""
        theirs = logged_rows(self._source, runs)
        own = logged_rows(self._target, [run for run in runs if here[run]["step"]])
        new = {}
        for run in runs:
            row, mine = rows[run], here[run]
            logged = theirs.get(run)
            if not row["step"]:
                self._done.present.append(run)
                continue
            if logged is None:
                self._done.refused[run] = "its metrics are incomplete"
                continue
            before = own.get(run)
            differs = None if before is None else first_difference(logged, before)
            last = mine["step"] if before is not None else -1
            if differs is not None:
                self._done.refused[run] = unlike_losses(differs, row["segments"], mine["segments"])
            elif row["outcome"] is None and not has_all_losses(logged, row["step"]):
                self._done.refused[run] = "its metrics are incomplete"
            elif row["outcome"] is None and run not in resumable:
                self._done.refused[run] = "it has no snapshot to resume from"
            else:
                new[run] = lacking_rows(logged, before, last)
                later = row["step"] > mine["step"]
                done = self._done
                (done.added if last < 0 else done.continued if later else done.present).append(run)
        frame = together(new)
        if frame is not None:
            self._parts.append(write_part(self._target, frame))

    def _lacking(self, table: str, runs: Sequence[str], *keys: str) -> list[sqlite3.Row]:
        """The source's rows of a table that the target has no row like."""
        there = {
            tuple(row[key] for key in keys) for row in rows_with(self._target, table, "run", runs)
        }
        rows = rows_with(self._source, table, "run", runs)
        return [row for row in rows if tuple(row[key] for key in keys) not in there]

    def _copy_one(self, path: Any) -> Written:
        """Copies a file; ``path`` gives its path in a store."""
        written = copy_file(self._source, self._target, path(self._source), path(self._target))
        self._files.append(written)
        return written

    def _copy_snapshot(self, row: sqlite3.Row) -> None:
        run, step = row["run"], row["step"]
        path, to = (snapshot_path(each, run, step) for each in (self._source, self._target))
        opened = partial(open_snapshot, self._source, run, step)
        self._files.append(copy_file(self._source, self._target, path, to, opened))
        if not digests_of(self._source, path):
            check_snapshot(to, row["bytes"], bool(row["has_optimizer"]))

    def _copy_code(self, rows: Iterable[sqlite3.Row]) -> None:
        """Copies tokenizers and users' sources, which are read and never run here."""
        for row in rows:
            trajectory = json.loads(row["trajectory"])
            for digest in sources_in(trajectory).values():
                copy_source(self._source.path, self._target.path, digest)
            task = trajectory.get("task")
            tokenizer = task.get("tokenizer_sha256") if isinstance(task, dict) else None
            if isinstance(tokenizer, str):
                self._copy_tokenizer(tokenizer)

    def _copy_tokenizer(self, digest: str) -> None:
        path, to = (tokenizer_path(each.path, digest) for each in (self._source, self._target))
        if to.is_file() or not path.is_file():
            return
        try:
            content = path.read_text(encoding="utf-8")
            sound = content_digest(content) == digest
        except ValueError:
            sound = False
        if not sound:
            raise StoreError(Problem("a tokenizer is damaged", given=str(path)))
        write_text_atomically(to, content)

    def _check_leases(self, connection: sqlite3.Connection, owner: Owner) -> None:
        """Raises if another process has taken a run over, as with ``--break-leases``."""
        taken = [*self._done.added, *self._done.continued, *self._done.present]
        for run in taken:
            row = connection.execute("SELECT owner FROM runs WHERE id = ?", (run,)).fetchone()
            if row is None or row["owner"] != owner.token:
                raise ChangedError(Problem(f"another process took over run {run}", given=run))

    def _list(
        self,
        connection: sqlite3.Connection,
        rows: dict[str, sqlite3.Row],
        listed: dict[str, list[sqlite3.Row]],
    ) -> None:
        """Lists everything that was copied in the index."""
        assigned = ", ".join(f"{name} = ?" for name in _PROGRESS)
        for run in (*self._done.added, *self._done.continued):
            values = [rows[run][name] for name in _PROGRESS]
            connection.execute(f"UPDATE runs SET {assigned} WHERE id = ?", [*values, run])
        for part in self._parts:
            add_part(connection, self._target, part)
        for table, found in listed.items():
            insert_missing(connection, table, found[0].keys() if found else (), map(tuple, found))
        names = {row["name"] for row in listed["findings"]}
        names |= {name.partition(":")[0] for name in names}
        for row in rows_with(self._source, "analyses", "name", sorted(names)):
            insert_missing(connection, "analyses", row.keys(), [tuple(row)])
        for run in (*self._done.added, *self._done.continued, *self._done.present):
            for row in self._source.index.rows(
                """SELECT e.digest, m.stopped FROM members m JOIN experiments e
                   ON e.id = m.experiment WHERE m.run = ? AND m.stopped IS NOT NULL""",
                run,
            ):
                if row["digest"] in self._halved:
                    continue
                connection.execute(
                    """UPDATE members SET stopped = ? WHERE run = ? AND stopped IS NULL AND
                       experiment = (SELECT id FROM experiments WHERE digest = ?)""",
                    (row["stopped"], run, row["digest"]),
                )
        record_digests(connection, self._target, self._files)
        cover_new_files(connection, self._target.path, source_files(self._target.path))


def _few_rows(
    runs: Sequence[str], rows: Mapping[str, sqlite3.Row], here: Mapping[str, sqlite3.Row]
) -> Iterator[list[str]]:
    """Some runs after the others, with as many steps as there is memory for."""
    some: list[str] = []
    steps = 0
    for run in runs:
        own = max(rows[run]["step"], here[run]["step"])
        if some and steps + own > _AT_ONCE:
            yield some
            some, steps = [], 0
        some.append(run)
        steps += own
    if some:
        yield some
