"""Checks a store: is every file that the index lists present and undamaged?"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ablab.config.files import PARTIAL
from ablab.store.artifacts import artifact_path, read_artifact
from ablab.store.index import StoreError
from ablab.store.metrics import read_runs, unwatched_columns
from ablab.store.snapshots import check_snapshot, snapshot_path
from ablab.store.store import Store


@dataclass(frozen=True)
class Checked:
    """The result of a check.

    Attributes:
        problems: The problems, one sentence each; empty if the store is sound.
        leftovers: Files that the index does not list. Interrupted writes leave them; they are
            harmless.
        runs: The number of runs checked.
        parts: The number of metrics parts checked.
        snapshots: The number of snapshots checked.
    """

    problems: list[str]
    leftovers: list[Path]
    runs: int
    parts: int
    snapshots: int


def check_store(store: Store) -> Checked:
    """Reads every file that the index lists and compares it with its index entry."""
    problems = [
        f"index: {row[0]}" for row in store.index.rows("PRAGMA integrity_check") if row[0] != "ok"
    ]
    with store.index.transaction():  # a consistent view of all three tables
        parts = store.index.rows("SELECT * FROM parts")
        snapshots = store.index.rows("SELECT * FROM snapshots ORDER BY run, step")
        runs = store.index.rows("SELECT id, step, outcome FROM runs WHERE step > 0")
    known: set[Path] = set()
    for part in parts:
        path = store.path / "metrics" / part["file"]
        known.add(path)
        found = _check_part(path, part["rows"], part["bytes"])
        if found and store.index.rows("SELECT 1 FROM parts WHERE id = ?", part["id"]):
            problems += found  # unless another process merged the part in the meantime
    for snapshot in snapshots:
        run, step = snapshot["run"], snapshot["step"]
        path = snapshot_path(store, run, step)
        known.add(path)
        try:
            check_snapshot(path, snapshot["bytes"], bool(snapshot["has_optimizer"]))
        except StoreError as error:
            if store.index.rows("SELECT 1 FROM snapshots WHERE run = ? AND step = ?", run, step):
                problems.append(str(error))
    for artifact in store.index.rows("SELECT * FROM kept"):
        kind, run, step = artifact["kind"], artifact["run"], artifact["step"]
        files = [artifact_path(store, kind, run, step)]
        files += [artifact_path(store, kind, run, step, "parquet")] if kind == "flight" else []
        known |= set(files)
        problems += [f"{path}: missing" for path in files if not path.is_file()]
        if files[0].is_file():
            try:  # no size check: an interrupted merge into a capture leaves a valid larger file
                read_artifact(store, kind, run, step)
            except StoreError as error:
                problems.append(str(error))
    if not problems:
        problems += _check_runs(store, {row["id"]: row["step"] for row in runs})
    resumable = {row["run"] for row in snapshots if row["has_optimizer"]}
    problems += [
        f"run {row['id']} is at step {row['step']} but has no snapshot to resume from"
        for row in runs
        if row["outcome"] is None and row["id"] not in resumable
    ]
    return Checked(problems, _leftovers(store, known), len(runs), len(parts), len(snapshots))


def _check_part(path: Path, rows: int, size: int) -> list[str]:
    if not path.is_file():
        return [f"{path}: missing"]
    if path.stat().st_size != size:
        return [f"{path}: {path.stat().st_size} bytes, but the index says {size}"]
    try:
        found = pl.read_parquet(path).height
    except (pl.exceptions.PolarsError, OSError) as error:
        return [f"{path}: damaged ({str(error).splitlines()[0]})"]
    return [] if found == rows else [f"{path}: {found} rows, but the index says {rows}"]


def _check_runs(store: Store, steps: dict[str, int]) -> list[str]:
    """Checks that every run has a training loss for each step up to its current one."""
    if not steps:
        return []
    counts = (
        read_runs(store, list(steps), unwatched_columns)
        .filter(pl.col("step") > 0)
        .group_by("run")
        .agg(pl.col("step").max().alias("last"), pl.col("train_loss").count().alias("losses"))
    )
    found = {run: (last, losses) for run, last, losses in counts.iter_rows()}
    problems = []
    for run, step in steps.items():
        last, losses = found.get(run, (0, 0))
        if losses < step:
            problems.append(f"run {run}: {losses} training losses, but {step} steps")
        elif last < step:
            problems.append(f"run {run}: metrics end at step {last}, but the run is at {step}")
    return problems


def _leftovers(store: Store, known: set[Path]) -> list[Path]:
    found = list((store.path / "metrics").glob("*"))
    for folder in ("snapshots", "captures", "flights"):
        found += (store.path / folder).glob("*/*")
    hidden = [path for path in store.path.rglob(f"{PARTIAL}*") if path not in found]
    return sorted([path for path in found if path not in known] + hidden)
