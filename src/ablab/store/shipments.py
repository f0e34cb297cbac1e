"""What travels between a command's store and the stores in which other machines train for it.

A machine trains claimed runs in a store of its own. It starts with what :func:`outward` takes from
the command's store: the experiment, its claimed runs, and what their training continues from.
What it makes goes back in shipments: :func:`homeward` collects the files that were not sent yet,
with the rows of the runs as they are now, and :func:`receive` publishes both in the command's
store, files first, then all rows in one transaction.

A shipment is published only while the token of its claim owns its runs, and only if it is not
older than what the store has. The same shipment twice changes nothing.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import polars as pl

from ablab.config import Problem
from ablab.store.copying import logged_rows
from ablab.store.digests import (
    Written,
    damage,
    digests_of,
    file_digest,
    forget_digests,
    record_digests,
    write_digested,
)
from ablab.store.files import remove, write_text_atomically
from ablab.store.index import StoreError
from ablab.store.parts import WrittenPart, add_part, list_parts
from ablab.store.paths import (
    SUFFIXES,
    metrics_path,
    run_artifact_path,
    run_snapshot_path,
    tokenizer_path,
)
from ablab.store.shares import Share, shares
from ablab.store.store import Store
from ablab.store.table_rows import insert_missing, rows_with

Kind = Literal["part", "snapshot", "capture", "flight"]
Fetch = Callable[["SentFile", Path], None]
_PROGRESS = (
    "step", "outcome", "error", "n_params", "seconds", "train_loss", "eval_loss", "segments",
    "updated",
)  # fmt: skip
_ATTEMPTS = 5


@dataclass(frozen=True)
class SentFile:
    """A file of a shipment.

    Attributes:
        kind: What it is: a metrics part, a snapshot, or a file of a capture or a flight record.
        name: The name of a part; empty for other files, which are known by the following.
        run: The run's id; empty for a part.
        step: The step.
        suffix: The suffix of a file of an artifact.
        bytes: Its size.
        digest: Its SHA-256, hexadecimal.
        shares: The rows by run of a metrics part.
    """

    kind: Kind
    name: str
    run: str
    step: int
    suffix: str
    bytes: int
    digest: str
    shares: tuple[Share, ...] = ()

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """What identifies it. The content of a file that a machine has published never changes."""
        return self.kind, self.name, self.run, self.step, self.suffix

    def path(self, root: Path) -> Path:
        """Its path in a store's folder."""
        match self.kind:
            case "part":
                return metrics_path(root, self.name)
            case "snapshot":
                return run_snapshot_path(root, self.run, self.step)
            case _:
                return run_artifact_path(root, self.kind, self.run, self.step, self.suffix)


@dataclass(frozen=True)
class Shipment:
    """Rows and files of some runs.

    Attributes:
        runs: The ids of the runs.
        tables: Rows of the index by table, each as a mapping of its columns.
        files: The files, in the order in which they are to be fetched.
        texts: Tokenizers, by their digests.
    """

    runs: tuple[str, ...]
    tables: dict[str, list[dict[str, Any]]]
    files: tuple[SentFile, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of its files."""
        return sum(each.bytes for each in self.files)


@contextmanager
def outward(
    store: Store, experiment: int, runs: Sequence[str], tokenizers: Mapping[str, str]
) -> Iterator[tuple[Shipment, Path]]:
    """What another machine needs to train some runs: nothing else of the store.

    Args:
        store: The command's store.
        experiment: The number of the experiment.
        runs: The runs, which this process owns.
        tokenizers: The experiment's subword tokenizers, by their digests.

    Yields:
        The shipment, and a folder with its files at the paths of a store. It is removed afterwards.
    """
    with TemporaryDirectory(prefix="ablab-claim-") as folder:
        root = Path(folder)
        tables: dict[str, list[dict[str, Any]]] = {
            "experiments": _plain(rows_with(store, "experiments", "id", [experiment])),
            "registrations": _plain(rows_with(store, "registrations", "experiment", [experiment])),
            "runs": _plain(rows_with(store, "runs", "id", runs)),
            "members": _plain(store.index.rows(
                """SELECT * FROM members WHERE experiment = ?
                   AND run IN (SELECT value FROM json_each(?))""",
                experiment, _json(runs),
            )),
            "aliases": _plain(rows_with(store, "aliases", "run", runs)),
            "initial": _plain(rows_with(store, "initial", "run", runs)),
            "snapshots": [],
        }  # fmt: skip
        for row in tables["runs"]:
            row |= {"owner": None, "deaths": 0}
        for row in tables["experiments"]:
            row["entry"] = None
        files: list[SentFile] = []
        for run in runs:
            found = _last_sound(store, root, run)
            if found is not None:
                tables["snapshots"].append(found[0])
                files.append(found[1])
        begun = [row["id"] for row in tables["runs"] if row["step"]]
        logged = list(logged_rows(store, begun).values())
        if logged:
            frame = pl.concat(logged, how="diagonal_relaxed")
            path = root / f"{hashlib.sha256(_json(runs).encode()).hexdigest()[:32]}.parquet"
            frame.write_parquet(path, compression="zstd")
            to = metrics_path(root, path.name)
            to.parent.mkdir(exist_ok=True)
            path.rename(to)
            files.append(_part(to, frame))
        yield Shipment(tuple(runs), tables, tuple(files), dict(tokenizers)), root


def _last_sound(store: Store, root: Path, run: str) -> tuple[dict[str, Any], SentFile] | None:
    """The last snapshot that a run can resume from and that is sound, copied to a folder."""
    rows = [row for row in rows_with(store, "snapshots", "run", [run]) if row["has_optimizer"]]
    for row in sorted(rows, key=lambda row: -row["step"]):
        path = run_snapshot_path(store.path, run, row["step"])
        if not path.is_file() or damage(path, digests_of(store, path)) is not None:
            continue
        to = run_snapshot_path(root, run, row["step"])
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
        size = to.stat().st_size
        return dict(row), SentFile("snapshot", "", run, row["step"], "", size, file_digest(to))
    return None


def _part(path: Path, frame: pl.DataFrame) -> SentFile:
    size = path.stat().st_size
    return SentFile("part", path.name, "", 0, "", size, file_digest(path), tuple(shares(frame)))


def unload(store: Store, shipment: Shipment, folder: Path) -> None:
    """Fills an empty store with a shipment whose files are in a folder, at the paths of a store.

    Raises:
        StoreError: A file is not what was sent, or the store cannot be written.
    """
    written = {each: _place(store, each, lambda _, to, each=each: _copy(each, folder, to))
               for each in shipment.files}  # fmt: skip
    for digest, text in shipment.texts.items():
        write_text_atomically(tokenizer_path(store.path, digest), text)
    with store.index.transaction() as connection:
        for table, rows in shipment.tables.items():
            if rows:
                insert_missing(connection, table, rows[0], [tuple(row.values()) for row in rows])
        for each, file in written.items():
            if each.kind == "part":
                add_part(connection, store, WrittenPart(file, list(each.shares)))
        record_digests(connection, store, written.values())


def _copy(each: SentFile, folder: Path, to: Path) -> None:
    shutil.copyfile(each.path(folder), to)


def state_of(store: Store) -> tuple[Any, ...]:
    """Changes whenever a machine's store has something new of its runs."""
    rows = store.index.rows(
        """SELECT (SELECT group_concat(id || step || ifnull(outcome, '') || updated) FROM runs),
           (SELECT max(id) FROM parts), (SELECT count(*) FROM kept), (SELECT count(*) FROM samples),
           (SELECT count(*) FROM initial)"""
    )
    return tuple(rows[0])


def homeward(
    store: Store,
    runs: Sequence[str],
    sent: Collection[tuple[str, str, str, int, str]],
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
    sent: Collection[tuple[str, str, str, int, str]],
    outbox: Path,
) -> Shipment:
    with store.index.view():
        tables = {
            "runs": _plain(store.index.rows(
                f"""SELECT id, {", ".join(_PROGRESS)} FROM runs
                    WHERE id IN (SELECT value FROM json_each(?))""", _json(runs),
            )),
            "stopped": _plain(store.index.rows(
                """SELECT run, stopped FROM members WHERE stopped IS NOT NULL
                   AND run IN (SELECT value FROM json_each(?))""", _json(runs),
            )),
        }  # fmt: skip
        for table in ("snapshots", "kept", "samples", "initial"):
            tables[table] = _plain(rows_with(store, table, "run", runs))
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
            if file.path(store.path).is_file():  # a flight record may have no table
                listed.append(file)
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
    written = {each: _place(store, each, fetch) for each in files}
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
    for each in gone:
        remove(run_snapshot_path(store.path, *each))
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


def _place(store: Store, each: SentFile, fetch: Fetch) -> Written:
    """Writes a file of a shipment, unless the store has it."""
    path = each.path(store.path)
    if path.is_file() and path.stat().st_size == each.bytes and file_digest(path) == each.digest:
        return Written(path, each.bytes, each.digest)
    return write_digested(store, path, partial(_checked, each, fetch))


def _checked(each: SentFile, fetch: Fetch, to: Path) -> None:
    fetch(each, to)
    if file_digest(to) != each.digest:
        raise StoreError(
            Problem(
                "a file from another machine is not what it sent (SHA-256)",
                given=f"{each.kind} {each.name or f'{each.run}, step {each.step}'}",
            )
        )


def _superseded(store: Store, shipment: Shipment) -> list[tuple[str, int]]:
    """The passing snapshots that those of the shipment replace."""
    kept = {(row["run"], row["step"]) for row in shipment.tables["snapshots"]}
    return [
        (row["run"], row["step"])
        for row in rows_with(store, "snapshots", "run", shipment.runs)
        if row["passing"] and (row["run"], row["step"]) not in kept
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
    for table in ("snapshots", "kept", "samples"):
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


def _plain(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]


def _json(runs: Sequence[str]) -> str:
    return json.dumps(list(runs))
