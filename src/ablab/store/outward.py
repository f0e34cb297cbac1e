"""What another machine needs to train claimed runs: taken from the command's store."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from ablab.store.copying import logged_rows
from ablab.store.digests import damage, digests_of, file_digest, record_digests
from ablab.store.files import write_text_atomically
from ablab.store.parts import WrittenPart, add_part
from ablab.store.paths import metrics_path, run_snapshot_path, tokenizer_path
from ablab.store.shares import shares
from ablab.store.shipments import SentFile, Shipment, as_json, place_file, plain_rows
from ablab.store.store import Store
from ablab.store.table_rows import insert_missing, rows_with


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
        for run in runs:
            found = _last_sound(store, root, run)
            if found is not None:
                tables["snapshots"].append(found[0])
                files.append(found[1])
        begun = [row["id"] for row in tables["runs"] if row["step"]]
        logged = list(logged_rows(store, begun).values())
        if logged:
            frame = pl.concat(logged, how="diagonal_relaxed")
            path = root / f"{hashlib.sha256(as_json(runs).encode()).hexdigest()[:32]}.parquet"
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
