"""Checks a store: is every file that the index lists present, and what was written?"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ablab.config.files import PARTIAL
from ablab.store.check_files import Damage, StoreFiles, listed_files
from ablab.store.digests import all_digests
from ablab.store.index import StoreError
from ablab.store.metrics import read_runs
from ablab.store.paths import ARTIFACTS, DAMAGED, FINDINGS, METRICS, SNAPSHOTS
from ablab.store.store import Store

__all__ = ["Checked", "Damage", "check_store", "leftovers"]


_AT_ONCE = 5_000  # runs whose metrics are read together
_NOT_RESUMABLE = """SELECT id, step FROM runs r WHERE step > 0 AND outcome IS NULL AND NOT EXISTS
(SELECT 1 FROM snapshots WHERE run = r.id AND has_optimizer)"""


@dataclass(frozen=True)
class Checked:
    """The result of a check.

    Attributes:
        problems: The problems, one sentence each; empty if the store is sound.
        leftovers: Files that the index does not list. Interrupted writes leave them; so do rows of
            the index that are lost.
        runs: The number of runs checked.
        parts: The number of metrics parts checked.
        snapshots: The number of snapshots checked.
        damages: The files among the problems.
        uncovered: Files that can be read but have no digest, because an earlier release wrote
            them: whether their bits are what was written is not known.
        gaps: The first step that has no training loss, of runs whose metrics have a gap that no
            damaged file explains.
    """

    problems: list[str]
    leftovers: list[Path]
    runs: int
    parts: int
    snapshots: int
    damages: list[Damage] = field(default_factory=list)
    uncovered: list[Path] = field(default_factory=list)
    gaps: dict[str, int] = field(default_factory=dict)


def check_store(store: Store) -> Checked:
    """Reads every file that the index lists and compares it with its digest and index entry."""
    problems = store.index.damage()
    if problems:  # what a damaged index says of files is not known to be true
        return Checked(problems, [], 0, 0, 0)
    known = all_digests(store)
    files = StoreFiles(store, known, problems)
    parts, snapshots = files.parts(), files.snapshots()
    files.artifacts()
    files.findings()
    files.others()
    problems += map(str, files.damages)
    rows = store.index.rows("SELECT id, step FROM runs WHERE step > 0")
    count = len(rows)
    # The parts were read just now, and usually have all losses of a run, one after another.
    rows = [row for row in rows if files.logged.get(row["id"], 0) < row["step"]]
    gaps: dict[str, int] = {}
    if rows and not problems:
        gaps = _gaps(store, {row["id"]: row["step"] for row in rows}, problems)
    problems += [
        f"run {row['id']} is at step {row['step']} but has no snapshot to resume from"
        for row in store.index.rows(_NOT_RESUMABLE)
    ]
    unused = leftovers(store)
    return Checked(problems, unused, count, parts, snapshots, files.damages, files.uncovered, gaps)


def _gaps(store: Store, steps: dict[str, int], problems: list[str]) -> dict[str, int]:
    """The first step without a training loss of runs that do not have all of them."""
    gaps: dict[str, int] = {}
    rows = store.index.rows("SELECT run FROM part_runs GROUP BY run ORDER BY min(part)")
    # Runs whose rows are in the same parts come together, so that few parts are read twice.
    runs = list(dict.fromkeys([row["run"] for row in rows if row["run"] in steps] + list(steps)))
    for begin in range(0, len(runs), _AT_ONCE):
        some = {run: steps[run] for run in runs[begin : begin + _AT_ONCE]}
        try:
            gaps |= _gaps_of(store, some, problems)
        except StoreError as error:
            problems.append(str(error.problems[0].message))
            return {}
    return gaps


def _gaps_of(store: Store, steps: dict[str, int], problems: list[str]) -> dict[str, int]:
    """As :func:`_gaps`, of so few runs that their metrics fit in memory."""
    frame = read_runs(store, list(steps), lambda names: [n for n in names if n == "train_loss"])
    frame = frame.filter(pl.col("step") > 0)
    if "train_loss" in frame.columns:
        frame = frame.filter(pl.col("train_loss").is_not_null())
    found = dict(frame.group_by("run").agg("step").iter_rows())
    gaps = {}
    for run, step in steps.items():
        logged = {each for each in found.get(run, []) if each <= step}
        if len(logged) < step:
            problems.append(f"run {run}: {len(logged)} training losses, but {step} steps")
            gaps[run] = next(each for each in range(1, step + 1) if each not in logged)
    return gaps


def leftovers(store: Store) -> list[Path]:
    """Files and partial folders in the folders of a store that its index does not list.

    Links, and what is beyond them, are none of the store's.
    """
    listed = set(listed_files(store))
    found = {*_files(store.path / METRICS)}
    found.update(path for path in _files(store.path / SNAPSHOTS) if path.suffix == ".zip")
    for folder in (SNAPSHOTS, FINDINGS, *ARTIFACTS.values()):
        for run in _folders(store.path / folder):
            found.update(_files(run))
    return sorted((found - listed).union(_partial(store.path)))


def _partial(root: Path) -> Iterator[Path]:
    """What interrupted writes have left: files, and folders with all that is in them."""
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        if here == root and DAMAGED in folders:
            folders.remove(DAMAGED)
        partial = [name for name in (*folders, *files) if name.startswith(PARTIAL)]
        folders[:] = [name for name in folders if name not in partial]
        yield from (here / name for name in partial if not (here / name).is_symlink())


def _files(folder: Path) -> list[Path]:
    """The ordinary files in a folder."""
    return [Path(each) for each in _entries(folder) if each.is_file(follow_symlinks=False)]


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder."""
    return [Path(each) for each in _entries(folder) if each.is_dir(follow_symlinks=False)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing if it is a link, not there, or cannot be read."""
    if folder.is_symlink():
        return []
    with suppress(OSError), os.scandir(folder) as entries:
        return list(entries)
    return []
