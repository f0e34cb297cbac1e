"""Copies experiments with their runs from one store to another; runs are known by their ids.

Nothing in the receiving store changes except that it gets more: runs and steps that it lacks, and
what belongs to them. Where both stores have a run, its losses are compared at the steps that both
have. A run whose losses differ stays as it is, and the reason is named. Files are copied first; the
index lists them in one transaction, so a kill leaves files that are not listed, which is harmless.
The same transfer again changes nothing.
"""

import json
import math
import shutil
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import polars as pl

from ablab.config import Problem, counted
from ablab.store.artifacts import artifact_path
from ablab.store.cover import cover_new_files
from ablab.store.digests import Written, damage, digests_of, record_digests, write_digested
from ablab.store.files import write_text_atomically
from ablab.store.index import StoreError
from ablab.store.leases import Owner
from ablab.store.metrics import read_runs
from ablab.store.parts import WrittenPart, add_part, list_parts, read_part, write_part
from ablab.store.paths import SUFFIXES, finding_path, tokenizer_path
from ablab.store.snapshots import snapshot_path
from ablab.store.sources import copy_source, source_files, sources_in
from ablab.store.store import ExperimentRecord, Store
from ablab.tasks.subwords import content_digest

Snapshots = Literal["all", "last"]
_SETTINGS = ("torch", "device", "method", "threads", "width")  # that may change the last bits


@dataclass
class Transferred:
    """What a transfer did, by the ids of runs.

    Attributes:
        experiments: The numbers of the experiments in the receiving store.
        added: Runs that the store did not have, or had no step of.
        continued: Runs that the store had fewer steps of.
        present: Runs of which the store had all steps.
        refused: Runs that were left as they were, each with the reason.
    """

    experiments: list[int] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    continued: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def transfer(
    source: Store, target: Store, records: Sequence[ExperimentRecord], snapshots: Snapshots
) -> Transferred:
    """Copies experiments, with their runs and all that is stored of these.

    Args:
        source: The store that has them; a stranger's may be opened for reading only.
        target: The store that gets them.
        records: The experiments.
        snapshots: Which snapshots to copy: all, or the last of each run and the last that training
            can resume from.

    Raises:
        StoreError: A file of the source is damaged, the target cannot be written, or it has another
            experiment with the digest of one of these.
        FileNotFoundError: A file of the source is missing, or another process has replaced it.
    """
    with source.index.view():  # one state of the index, whatever other processes write
        return _Transfer(source, target, snapshots).carry_out(records)


class _Transfer:
    def __init__(self, source: Store, target: Store, snapshots: Snapshots) -> None:
        self._source, self._target, self._snapshots = source, target, snapshots
        self._done = Transferred()
        self._files: list[Written] = []
        self._parts: list[WrittenPart] = []

    def carry_out(self, records: Sequence[ExperimentRecord]) -> Transferred:
        for record in records:
            self._check(record)
        wanted = list(
            dict.fromkeys(row["run"] for each in records for row in self._source.members(each.id))
        )
        own = _rows(self._source, "runs", "id", wanted)
        rows = {row["id"]: row for row in own}
        with ExitStack() as stack:
            here = {row["id"]: row for row in _rows(self._target, "runs", "id", wanted)}
            leased: set[str] = set()
            if here:
                owner = stack.enter_context(Owner(self._target.index.path))
                leased = set(owner.acquire(self._target.index, list(here)))
                here = {row["id"]: row for row in _rows(self._target, "runs", "id", wanted)}
            self._decide(rows, here, leased)
            taken = [*self._done.added, *self._done.continued, *self._done.present]
            self._copy_metrics(taken)
            kept = self._copy_files(taken)
            self._copy_code(rows.values())
            with self._target.index.transaction() as connection:
                columns = ["id", "trajectory", "seed", "created", "updated"]  # not begun yet
                begun = [[row[name] for name in columns] for row in rows.values()]
                _insert(connection, "runs", columns, begun)
                for record in records:
                    self._add_experiment(connection, record)
                self._add_runs(connection, rows, kept)
        return self._done

    def _check(self, record: ExperimentRecord) -> None:
        (mine,) = _rows(self._source, "experiments", "id", [record.id])
        for theirs in _rows(self._target, "experiments", "digest", [mine["digest"]]):
            if json.loads(theirs["definition"]) != json.loads(mine["definition"]):
                raise StoreError(
                    Problem(
                        f"{record.name} has the digest of another experiment in the store",
                        given=mine["digest"],
                        expected="an experiment that ablab has written",
                    )
                )

    def _decide(
        self, rows: dict[str, sqlite3.Row], here: dict[str, sqlite3.Row], leased: Collection[str]
    ) -> None:
        """Decides for each run whether it is new, continued, present or refused."""
        both = [run for run in rows if run in here and here[run]["step"] and rows[run]["step"]]
        losses = [_losses(store, both) for store in (self._source, self._target)]
        for run, row in rows.items():
            mine = here.get(run)
            if mine is None:
                self._done.added.append(run)
            elif json.loads(mine["trajectory"]) != json.loads(row["trajectory"]):
                self._done.refused[run] = "the store has another run with this id"
            elif run not in leased:
                self._done.refused[run] = "another process is training it here"
            elif not row["step"]:
                self._done.present.append(run)
            elif not mine["step"]:
                self._done.added.append(run)
            elif (step := _first_difference(*(each.get(run, {}) for each in losses))) is not None:
                self._done.refused[run] = _difference(step, row, mine)
            elif row["step"] > mine["step"]:
                self._done.continued.append(run)
            else:
                self._done.present.append(run)

    def _copy_metrics(self, taken: Sequence[str]) -> None:
        """Writes the rows that the target lacks as new parts, in the order of the source's."""
        known = {(row["run"], row["digest"]) for row in _rows(self._target, "shares", "run", taken)}
        among = set(taken)
        for part in list_parts(self._source, among):
            shares = {each.run: each.digest for each in part.shares}
            runs = [
                run for run in part.runs if run in among and (run, shares.get(run)) not in known
            ]
            if runs:
                frame = read_part(self._source, part).filter(pl.col("run").is_in(runs))
                filled = [name for name in frame.columns if frame[name].count()]
                self._parts.append(write_part(self._target, frame.select(filled)))

    def _copy_files(self, taken: Sequence[str]) -> dict[str, list[sqlite3.Row]]:
        """Copies snapshots, captures, records of incidents and findings that the target lacks.

        Returns:
            The rows that list them, by table.
        """
        found: dict[str, list[sqlite3.Row]] = {"samples": [], "initial": [], "aliases": []}
        for table in found:
            found[table] = _rows(self._source, table, "run", taken)
        found["snapshots"] = self._lacking("snapshots", taken, "run", "step")
        if self._snapshots == "last":
            found["snapshots"] = _last(found["snapshots"])
        for row in found["snapshots"]:
            self._copy(*(snapshot_path(each, row["run"], row["step"]) for each in self._both))
        found["kept"] = self._lacking("kept", taken, "kind", "run", "step")
        for row in found["kept"]:
            place = row["kind"], row["run"], row["step"]
            for suffix in SUFFIXES[row["kind"]]:
                paths = [artifact_path(each, *place, suffix) for each in self._both]
                if paths[0].is_file() or suffix == "safetensors":
                    self._copy(*paths)
        found["findings"] = self._lacking("findings", taken, "run", "step", "name")
        for row in found["findings"]:
            if row["bytes"]:
                place = row["run"], row["step"], row["key"]
                self._copy(*(finding_path(each.path, *place) for each in self._both))
        return found

    @property
    def _both(self) -> tuple[Store, Store]:
        return self._source, self._target

    def _lacking(self, table: str, runs: Sequence[str], *keys: str) -> list[sqlite3.Row]:
        """The source's rows of a table that the target has no row like."""
        there = {tuple(row[key] for key in keys) for row in _rows(self._target, table, "run", runs)}
        rows = _rows(self._source, table, "run", runs)
        return [row for row in rows if tuple(row[key] for key in keys) not in there]

    def _copy(self, path: Path, to: Path) -> None:
        """Copies a file after its digest was compared.

        Raises:
            StoreError: It is damaged.
            FileNotFoundError: Another process has replaced it.
        """
        reason = damage(path, digests_of(self._source, path))
        if reason is not None:
            raise StoreError(Problem(f"a file is damaged ({reason})", given=str(path)))
        self._files.append(write_digested(self._target, to, partial(shutil.copyfile, path)))

    def _copy_code(self, rows: Collection[sqlite3.Row]) -> None:
        """Copies tokenizers and users' sources, which are read and never run here."""
        for row in rows:
            trajectory = json.loads(row["trajectory"])
            for digest in sources_in(trajectory).values():
                copy_source(self._source.path, self._target.path, digest)
            digest = trajectory["task"].get("tokenizer_sha256")
            if isinstance(digest, str):
                self._copy_tokenizer(digest)

    def _copy_tokenizer(self, digest: str) -> None:
        path, to = (tokenizer_path(each.path, digest) for each in self._both)
        if to.is_file() or not path.is_file():
            return
        content = path.read_text(encoding="utf-8")
        if content_digest(content) != digest:
            raise StoreError(Problem("a tokenizer is damaged", given=str(path)))
        write_text_atomically(to, content)

    def _add_experiment(self, connection: sqlite3.Connection, record: ExperimentRecord) -> None:
        source = self._source
        (mine,) = _rows(source, "experiments", "id", [record.id])
        columns = [name for name in mine.keys() if name not in ("id", "entry")]  # noqa: SIM118
        _insert(connection, "experiments", columns, [[mine[name] for name in columns]])
        (number,) = connection.execute(
            "SELECT id FROM experiments WHERE digest = ?", (mine["digest"],)
        ).fetchone()
        self._done.experiments.append(number)
        for row in source.members(record.id):
            values = [number, row["run"], row["position"], row["variant"], row["steps"]]
            connection.execute("INSERT OR IGNORE INTO members VALUES (?, ?, ?, ?, ?, NULL)", values)
            if row["run"] not in self._done.refused:
                connection.execute(
                    """UPDATE members SET stopped = ?
                       WHERE experiment = ? AND run = ? AND stopped IS NULL""",
                    (row["stopped"], number, row["run"]),
                )
        for row in _rows(source, "registrations", "experiment", [record.id]):
            values = [number, row["registration"]]
            connection.execute("INSERT OR IGNORE INTO registrations VALUES (?, ?)", values)
        for row in _rows(source, "expectations", "experiment", [record.id]):
            columns = ["expectation", "written", "seen", "runs"]
            values = [number, *(row[name] for name in columns)]
            _insert(connection, "expectations", ["experiment", *columns], [values])
        for row in _rows(source, "notes", "experiment", [record.id]):
            connection.execute(
                """INSERT INTO notes (experiment, text, created) SELECT ?, ?, ? WHERE NOT EXISTS
                   (SELECT 1 FROM notes WHERE experiment = ? AND text = ? AND created = ?)""",
                (number, row["text"], row["created"]) * 2,
            )

    def _add_runs(
        self,
        connection: sqlite3.Connection,
        rows: dict[str, sqlite3.Row],
        kept: dict[str, list[sqlite3.Row]],
    ) -> None:
        columns = [
            "step", "outcome", "error", "n_params", "seconds", "train_loss", "eval_loss",
            "segments", "updated",
        ]  # fmt: skip
        for run in (*self._done.added, *self._done.continued):
            assigned = ", ".join(f"{name} = ?" for name in columns)
            values = [rows[run][name] for name in columns]
            connection.execute(f"UPDATE runs SET {assigned} WHERE id = ?", [*values, run])
        for part in self._parts:
            add_part(connection, self._target, part)
        for table, found in kept.items():
            names = found[0].keys() if found else []
            _insert(connection, table, names, [tuple(row) for row in found])
        analyses = {row["name"].partition(":")[0] for row in kept["findings"]}
        analyses |= {row["name"] for row in kept["findings"]}
        for row in _rows(self._source, "analyses", "name", sorted(analyses)):
            _insert(connection, "analyses", row.keys(), [tuple(row)])
        record_digests(connection, self._target, self._files)
        cover_new_files(connection, self._target.path, source_files(self._target.path))


def _insert(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
) -> None:
    """Adds rows to a table, except those whose key it has."""
    if rows:
        marks = ", ".join("?" * len(columns))
        connection.executemany(
            f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows
        )


def _rows(store: Store, table: str, column: str, values: Sequence[Any]) -> list[sqlite3.Row]:
    """The rows of a table with some values in a column."""
    return store.index.rows(
        f"SELECT * FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))",
        json.dumps(list(values)),
    )


def _last(rows: Sequence[sqlite3.Row]) -> list[sqlite3.Row]:
    """The last snapshot of each run, and the last that training can resume from."""
    last: dict[tuple[str, bool], sqlite3.Row] = {}
    for row in sorted(rows, key=lambda row: row["step"]):
        last[row["run"], False] = row
        if row["has_optimizer"]:
            last[row["run"], True] = row
    return list({(row["run"], row["step"]): row for row in last.values()}.values())


def _losses(store: Store, runs: Sequence[str]) -> dict[str, dict[int, float]]:
    """The training losses of runs, by run and step."""
    found: dict[str, dict[int, float]] = {}
    if runs:
        frame = read_runs(
            store, runs, lambda names: [name for name in names if name == "train_loss"]
        )
        for run, step, loss in frame.select("run", "step", "train_loss").drop_nulls().iter_rows():
            found.setdefault(run, {})[step] = loss
    return found


def _first_difference(a: dict[int, float], b: dict[int, float]) -> int | None:
    """The first step of both at which losses differ in any bit; None if there is none."""
    return next((step for step in sorted(a.keys() & b.keys()) if not _same(a[step], b[step])), None)


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def _difference(step: int, row: sqlite3.Row, mine: sqlite3.Row) -> str:
    """Why a run is refused whose losses differ, with what differs in how it was trained."""
    segments = [json.loads(each["segments"] or "[]") for each in (row, mine)]
    there, here = ((each[-1] if each else {}) for each in segments)
    unlike = [
        f"{name} {there.get(name)}, here {here.get(name)}"
        for name in _SETTINGS
        if there.get(name) != here.get(name)
    ]
    how = f"; {'; '.join(unlike)}" if unlike else ""
    return f"its losses differ from those here from step {step} on{how}"


def summary(done: Transferred) -> list[str]:
    """What a transfer did, in lines."""
    parts = [
        (done.added, "added"),
        (done.continued, "with more steps than before"),
        (done.present, "already there"),
        (list(done.refused), "left as they are"),
    ]
    told = ", ".join(f"{counted(len(runs), 'run')} {what}" for runs, what in parts if runs)
    reasons: dict[str, list[str]] = {}
    for run, reason in done.refused.items():
        reasons.setdefault(reason, []).append(run)
    return [told or "no runs"] + [
        f"{', '.join(runs[:3])}{f' and {len(runs) - 3} further runs' if runs[3:] else ''}: {reason}"
        for reason, runs in reasons.items()
    ]
