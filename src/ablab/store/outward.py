"""What another machine needs to train claimed runs: taken from the command's store."""

import hashlib
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import polars as pl

from ablab.config import Problem
from ablab.store.bundles import open_snapshot
from ablab.store.copying import logged_rows
from ablab.store.digests import damage, digests_of, file_digest, record_digests
from ablab.store.files import write_text_atomically
from ablab.store.index import StoreError
from ablab.store.parts import WrittenPart, add_part
from ablab.store.paths import metrics_path, run_snapshot_path, tokenizer_path
from ablab.store.shares import shares
from ablab.store.shipments import SentFile, Shipment, as_json, place_file, plain_rows
from ablab.store.store import Store
from ablab.store.table_rows import insert_missing, rows_with


@contextmanager
def outward(
    store: Store,
    experiment: int,
    runs: Sequence[str],
    with_metrics: Collection[str],
    tokenizers: Mapping[str, str],
) -> Iterator[tuple[Shipment, Path]]:
    """What another machine needs to train some runs: nothing else of the store.

    A run whose last snapshots are damaged is set back to the step of the last sound one.

    Args:
        store: The command's store.
        experiment: The number of the experiment.
        runs: The runs, which this process owns.
        with_metrics: Those of them whose stored metrics are needed, as for stop rules.
        tokenizers: The experiment's subword tokenizers, by their digests.

    Yields:
        The shipment, and a folder with its files at the paths of a store. It is removed afterwards.

    Raises:
        StoreError: The store cannot be read, or the folder cannot be written.
    """
    try:
        with TemporaryDirectory(prefix="ablab-claim-") as folder:
            root = Path(folder)
            yield _packed(store, root, experiment, runs, with_metrics, tokenizers), root
    except OSError as error:
        raise StoreError(
            Problem(
                f"cannot write what is sent to another machine ({error.strerror or error})",
                given=gettempdir(),
                expected="free space there, or TMPDIR set to another folder",
            )
        ) from error


def _packed(
    store: Store,
    root: Path,
    experiment: int,
    runs: Sequence[str],
    with_metrics: Collection[str],
    tokenizers: Mapping[str, str],
) -> Shipment:
    """A shipment whose files are put into a folder."""
    tables: dict[str, list[dict[str, Any]]] = {
        "experiments": plain_rows(rows_with(store, "experiments", "id", [experiment])),
        "registrations": plain_rows(
            rows_with(store, "registrations", "experiment", [experiment])
        ),
        "runs": plain_rows(rows_with(store, "runs", "id", runs)),
        "members": plain_rows(store.index.rows(
            """SELECT * FROM members WHERE experiment = ?
               AND run IN (SELECT value FROM json_each(?))""",
            experiment, as_json(runs),
        )),
        "aliases": plain_rows(rows_with(store, "aliases", "run", runs)),
        "initial": plain_rows(rows_with(store, "initial", "run", runs)),
        "snapshots": [],
    }  # fmt: skip
    for row in tables["runs"]:
        row |= {"owner": None, "deaths": 0}
    for row in tables["experiments"]:
        row["entry"] = None
    files: list[SentFile] = []
    steps = dict.fromkeys(runs, 0)
    for run in runs:
        found = _last_sound(store, root, run)
        if found is not None:
            row, file = found
            tables["snapshots"].append(row)
            files.append(file)
            steps[run] = row["step"] if row["has_optimizer"] else 0
    for row in tables["runs"]:
        if row["step"] != steps[row["id"]]:
            row["step"] = steps[row["id"]]
            with store.index.transaction() as connection:
                connection.execute(
                    "UPDATE runs SET step = ? WHERE id = ?", (row["step"], row["id"])
                )
    begun = [row["id"] for row in tables["runs"] if row["step"] and row["id"] in with_metrics]
    logged = list(logged_rows(store, begun).values())
    if logged:
        frame = pl.concat(logged, how="diagonal_relaxed")
        path = root / f"{hashlib.sha256(as_json(runs).encode()).hexdigest()[:32]}.parquet"
        frame.write_parquet(path, compression="zstd")
        to = metrics_path(root, path.name)
        to.parent.mkdir(exist_ok=True)
        path.rename(to)
        files.append(_part(to, frame))
    return Shipment(tuple(runs), tables, tuple(files), dict(tokenizers))


def _last_sound(store: Store, root: Path, run: str) -> tuple[dict[str, Any], SentFile] | None:
    """The last snapshot that a run can start from and that is sound, copied to a folder."""
    rows = rows_with(store, "snapshots", "run", [run])
    able = [row for row in rows if row["has_optimizer"]]
    first = [row for row in rows if not row["has_optimizer"] and row["step"] == 0]
    for row in (*sorted(able, key=lambda row: -row["step"]), *first):
        path = run_snapshot_path(store.path, run, row["step"])
        to = run_snapshot_path(root, run, row["step"])
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open_snapshot(store, run, row["step"]) as file, to.open("wb") as copied:
                shutil.copyfileobj(file, copied, 2**20)
        except FileNotFoundError:
            continue
        if damage(to, digests_of(store, path)) is not None:
            to.unlink()
            continue
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
    fetch = partial(_copy, folder)
    written = {each: place_file(store, each, fetch) for each in shipment.files}
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


def _copy(folder: Path, each: SentFile, to: Path) -> None:
    shutil.copyfile(each.path(folder), to)
