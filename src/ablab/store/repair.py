"""Repairs a store: sets damaged files aside, and runs back to where they are sound.

Files first, the index last, as everywhere: a damaged file gets its second name in ``damaged/``, and
sound rows their new part, before one transaction forgets the file; only then its first name goes. A
repair that is killed at any point leaves a store that a check understands and another repair
completes.
"""

import json
import shutil
import sqlite3
import time
from pathlib import Path

import polars as pl

from ablab.config import Problem, counted
from ablab.config.files import PARTIAL
from ablab.store.bundles import list_bundled, unbundle
from ablab.store.check import Checked, Damage, check_store, leftovers
from ablab.store.digests import (
    Written,
    damage,
    digests_of,
    file_digest,
    forget_digests,
    record_digests,
)
from ablab.store.index import StoreError
from ablab.store.leases import Owner, live_owners
from ablab.store.metrics import read_runs
from ablab.store.parquet import DamagedError, read_rows
from ablab.store.parts import WrittenPart, add_part, add_shares, list_parts, write_part
from ablab.store.paths import (
    SNAPSHOTS,
    SOURCES,
    SUFFIXES,
    inside,
    metrics_path,
    relative,
    run_artifact_path,
    run_snapshot_path,
)
from ablab.store.repair_plan import Action, RepairPlan, concerned, plan_repair
from ablab.store.set_aside import copy_aside, set_aside
from ablab.store.shares import shares
from ablab.store.snapshot_files import snapshot_has_optimizer
from ablab.store.store import Store, timestamp

_UNUSED_SECONDS = 600.0  # a younger file may be one that another process is about to list


def repair_store(store: Store) -> tuple[Checked, list[Action]]:
    """Repairs what a check finds; returns the check before it and what was done.

    Runs that another process trains are left as they are.

    Raises:
        StoreError: The store cannot be written, or its index is damaged.
    """
    _check_index(store)
    listed = list_bundled(store) + _list_snapshots(store)
    checked = check_store(store)
    with Owner(store.index.path) as owner:
        wanted = set(plan_repair(store, checked).back)
        for each in checked.damages:
            wanted |= concerned(each)
        runs = [row["id"] for row in store.index.rows("SELECT id FROM runs")]
        known = sorted(wanted & set(runs))
        without = wanted - set(owner.acquire(store.index, known))
        plan = plan_repair(store, checked, without & set(runs))
        if plan.damages or plan.back:
            _apply(store, plan)
        again = [Action(f"listed {counted(listed, 'snapshot')} again")] * bool(listed)
        actions = [*again, *plan.actions, *_list_runs(store), *_adopt(store, checked)]
        others = live_owners(store.index) - {owner.token}
    return checked, [*actions, *_remove_leftovers(store, bool(others))]


def _check_index(store: Store) -> None:
    damaged = store.index.damage()
    if damaged:
        raise StoreError(
            Problem(
                f"nothing was repaired, because the store's index is damaged ({damaged[0]})",
                given=str(store.index.path),
                expected="an index that ablab wrote: restore it from a backup of the store",
            )
        )


def _apply(store: Store, plan: RepairPlan) -> None:
    gone = [each.path for each in plan.damages]
    for each in plan.damages:
        if each.kind == "source":  # without its list, the source is archived again
            name = each.path.relative_to(store.path).parts[1].removesuffix(".json")
            gone += [inside(store.path, SOURCES, f"{name}.json")]
        if each.kind in SUFFIXES and each.run is not None:  # all files of an artifact go together
            gone += [
                run_artifact_path(store.path, each.kind, each.run, each.step, suffix)
                for suffix in SUFFIXES[each.kind]
            ]
    later = {
        run: [
            row["step"]
            for row in store.index.rows(
                "SELECT step FROM snapshots WHERE run = ? AND step > ?", run, step
            )
        ]
        for run, step in plan.back.items()
    }
    gone += [run_snapshot_path(store.path, run, step) for run in later for step in later[run]]
    gone = list(dict.fromkeys(gone))
    for path in gone:
        _keep(store, path)
    sound = [(each, _sound_rows(store, each)) for each in plan.damages if each.part is not None]
    with store.index.transaction() as connection:
        for damage, part in sound:
            _replace(connection, store, damage, part)
        for damage in plan.damages:
            key = (damage.run, damage.step)
            if damage.kind == "snapshot":
                connection.execute("DELETE FROM snapshots WHERE run = ? AND step = ?", key)
            elif damage.kind == "finding":  # its key is in the name of its file
                connection.execute(
                    "DELETE FROM findings WHERE run = ? AND step = ? AND key = ?",
                    (*key, damage.path.stem.partition("-")[2]),
                )
            elif damage.kind in SUFFIXES:
                connection.execute(
                    "DELETE FROM kept WHERE kind = ? AND run = ? AND step = ?", (damage.kind, *key)
                )
        for run, step in plan.back.items():
            _set_back(connection, run, step, later[run])
        forget_digests(connection, store, gone)
    for path in gone:
        path.unlink(missing_ok=True)
    _restore_losses(store, plan.back)


def _keep(store: Store, path: Path) -> None:
    """Sets a file aside, if it is there; the damaged ones among them are never deleted."""
    unbundle(store, path)
    if path.exists():
        copy_aside(store, path)


def _sound_rows(store: Store, damage: Damage) -> WrittenPart | None:
    """A new part with the rows of a damaged one that are what was written."""
    if not damage.sound:
        return None
    try:
        frame = read_rows(damage.path, None)
    except (DamagedError, OSError):
        return None
    return write_part(store, frame.filter(pl.col("run").is_in(list(damage.sound))))


def _replace(
    connection: sqlite3.Connection, store: Store, damage: Damage, part: WrittenPart | None
) -> None:
    """Replaces a damaged part by its sound rows, in the same place of the order of parts."""
    assert damage.part is not None
    number = damage.part.id
    gone = connection.execute(
        "DELETE FROM parts WHERE id = ? AND file = ?", (number, damage.part.file)
    )
    if part is not None and gone.rowcount:
        add_part(connection, store, part, number)


def _set_back(connection: sqlite3.Connection, run: str, step: int, later: list[int]) -> None:
    """Sets a run back to a step: what it was then, except for its seconds."""
    (text,) = connection.execute("SELECT segments FROM runs WHERE id = ?", (run,)).fetchone()
    segments = [
        each | {"to": min(each["to"], step)} for each in json.loads(text) if each["from"] < step
    ]
    connection.execute(
        """UPDATE runs SET step = ?, outcome = NULL, error = NULL, deaths = 0, train_loss = NULL,
           eval_loss = NULL, segments = ?, updated = ? WHERE id = ?""",
        (step, json.dumps(segments), timestamp(), run),
    )
    connection.execute(
        "UPDATE members SET stopped = NULL WHERE run = ? AND stopped > ?", (run, step)
    )
    connection.executemany(
        "DELETE FROM snapshots WHERE run = ? AND step = ?", [(run, each) for each in later]
    )


def _restore_losses(store: Store, back: dict[str, int]) -> None:
    """The last losses of runs that were set back, from their metrics, for lists of runs."""
    names = ("train_loss", "eval_loss")
    for run, step in back.items():
        try:
            frame = read_runs(store, [run], lambda every: [each for each in every if each in names])
        except StoreError:
            continue
        frame = frame.filter(pl.col("step") <= step).sort("step")
        losses = [
            next(iter(frame[name].drop_nulls().tail(1).to_list()), None)
            if name in frame.columns
            else None
            for name in names
        ]
        with store.index.transaction() as connection:
            connection.execute(
                "UPDATE runs SET train_loss = ?, eval_loss = ? WHERE id = ?", (*losses, run)
            )


def _list_snapshots(store: Store) -> int:
    """Lists snapshots with files of their own again, if a repair of the index has lost that.

    Only files whose digest is known, of runs that are; returns their number.
    """
    runs = {row["id"] for row in store.index.rows("SELECT id FROM runs")}
    found = []
    for path in leftovers(store):
        folder, *names = path.relative_to(store.path).parts
        if folder != SNAPSHOTS or len(names) != 2 or not path.stem.isdecimal():
            continue
        run, step = names[0], int(path.stem)
        known = digests_of(store, path)
        if run in runs and known and damage(path, known) is None:
            has_optimizer = snapshot_has_optimizer(path)
            own = relative(store.path, path)
            found.append((run, step, path.stat().st_size, has_optimizer, False, own))
    if found:
        with store.index.transaction() as connection:
            # A process that trains may have superseded one meanwhile, digest and all.
            connection.executemany(
                """INSERT OR IGNORE INTO snapshots SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS
                   (SELECT 1 FROM digests WHERE path = ?6)""",
                found,
            )
    return len(found)


def _list_runs(store: Store) -> list[Action]:
    """Lists parts for runs that have rows in them, if a repair of the index has lost that."""
    with store.index.transaction() as connection:
        added = connection.execute(
            """INSERT INTO part_runs SELECT run, part FROM shares
               WHERE (run, part) NOT IN (SELECT run, part FROM part_runs)"""
        )
    if added.rowcount < 1:
        return []
    return [Action(f"listed {counted(added.rowcount, 'run')} again for the parts with their rows")]


def _adopt(store: Store, checked: Checked) -> list[Action]:
    """Records digests of files that have none and can be read: an earlier release wrote them."""
    uncovered = {path for path in checked.uncovered if path.is_file()}
    if not uncovered:
        return []
    parts = [part for part in list_parts(store) if metrics_path(store.path, part.file) in uncovered]
    found = {
        part.id: shares(read_rows(metrics_path(store.path, part.file), None)) for part in parts
    }
    files = [Written(path, path.stat().st_size, file_digest(path)) for path in sorted(uncovered)]
    with store.index.transaction() as connection:
        record_digests(connection, store, files)
        for part in parts:
            add_shares(connection, part.id, found[part.id])
    return [Action(f"recorded digests of {counted(len(files), 'file')} that had none")]


def _remove_leftovers(store: Store, busy: bool) -> list[Action]:
    """Clears away what the index does not list, unless a process may be about to list it.

    Unfinished files are removed. Whole ones may be all that is left of a run whose rows in the
    index were damaged, or newer than an index that was restored, so they are set aside.
    """
    unused = leftovers(store)
    old: list[Path] = []
    for path in unused:
        try:
            if time.time() - path.stat().st_mtime > _UNUSED_SECONDS and not busy:
                old.append(path)
        except FileNotFoundError:
            continue
    partial = [path for path in old if path.name.startswith(PARTIAL)]
    for path in partial:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    whole = [path for path in old if not path.name.startswith(PARTIAL)]
    for path in whole:
        set_aside(store, path)
    actions = []
    if partial:
        actions.append(Action(f"removed {counted(len(partial), 'unfinished file')}"))
    if whole:
        what = f"set {counted(len(whole), 'file')} aside that the index does not list"
        actions.append(Action(what))
    if left := len(unused) - len(old):
        why = "a process is training" if busy else "younger than ten minutes"
        noun = "unused file is" if left == 1 else "unused files are"
        actions.append(Action(f"{left} {noun} left ({why})"))
    return actions
