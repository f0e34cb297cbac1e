"""What can be done about damaged files: which steps are trained or replayed again, from where."""

import json
import shlex
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from safetensors import SafetensorError, safe_open

from ablab.config import counted
from ablab.store.check import Checked, Damage
from ablab.store.index import StoreError
from ablab.store.parts import list_parts, read_part
from ablab.store.paths import DEFINITION, LOGBOOK, entry_path, relative
from ablab.store.store import Store


@dataclass(frozen=True)
class Action:
    """One thing that a repair does.

    Attributes:
        what: What it does, as a sentence.
        run: The run that it is about; None if it is about none or several.
        file: The damaged file, relative to the store; None if it is about none.
        then: The command that brings back what was damaged; None if there is none.
    """

    what: str
    run: str | None = None
    file: str | None = None
    then: str | None = None


@dataclass(frozen=True)
class RepairPlan:
    """What a repair does.

    Attributes:
        damages: The files to set aside.
        back: The step to which runs are set back, so that the rest is trained again.
        actions: What it does, for people.
    """

    damages: list[Damage]
    back: dict[str, int] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)


def plan_repair(store: Store, checked: Checked, without: Iterable[str] = ()) -> RepairPlan:
    """Plans the repair of a store; reads it only.

    Args:
        store: The store.
        checked: What a check has found.
        without: Runs that belong to another process; what concerns them is left as it is.
    """
    excluded = set(without)
    damages = [each for each in checked.damages if not excluded & concerned(each)]
    named = {*checked.gaps, *(run for each in damages for run in concerned(each))}
    query = "SELECT id, step, outcome FROM runs WHERE id IN (SELECT value FROM json_each(?))"
    rows = {row["id"]: row for row in store.index.rows(query, json.dumps(sorted(named)))}
    first = dict(checked.gaps) | _first_lost(store, damages, rows)
    damaged = {
        (each.run, each.step)
        for each in damages
        if each.kind == "snapshot" and each.run is not None and each.step is not None
    }
    for run, step in damaged:  # others are not needed to go on
        row = rows.get(run)
        if row is not None and row["step"] == step and row["outcome"] is None:
            first[run] = min(first.get(run, step), step)
    back = {
        run: _last_sound(store, run, step, damaged)
        for run, step in first.items()
        if run in rows and run not in excluded
    }
    actions = [_action(store, each, back) for each in damages]
    for run, step in sorted(back.items()):
        end = rows[run]["step"]
        what = f"steps {step + 1} to {end} of run {run} are trained again, from "
        what += f"its snapshot at step {step}" if step else "the beginning"
        command = _command(store, run, {each.path for each in checked.damages})
        actions.append(Action(what, run, None, command))
    for run in sorted(excluded):
        if any(run in concerned(each) for each in checked.damages):
            what = f"run {run} is being trained by another process: repair it when that has ended"
            actions.append(Action(what, run))
    return RepairPlan(damages, back, actions)


def concerned(damage: Damage) -> set[str]:
    """The runs whose data are damaged."""
    if damage.run is not None:
        return {damage.run}
    if damage.part is None:
        return set()
    return {each.run for each in damage.lost} or set(damage.part.runs) - set(damage.sound)


def _first_lost(store: Store, damages: list[Damage], rows: dict[str, Any]) -> dict[str, int]:
    """The first step of each run whose training loss is lost with a metrics part."""
    first: dict[str, int] = {}
    unknown: set[str] = set()
    for damage in damages:
        if damage.part is None:
            continue
        if not damage.part.shares:
            unknown |= concerned(damage)
        for share in damage.lost:
            if share.losses:
                first[share.run] = min(first.get(share.run, share.first), share.first)
    lost = {damage.part.id for damage in damages if damage.part is not None}
    for run, steps in _logged(store, unknown, lost).items():
        gap = next((each for each in range(1, rows[run]["step"] + 1) if each not in steps), None)
        if gap is not None:
            first[run] = min(first.get(run, gap), gap)
    return first


def _logged(store: Store, runs: set[str], without: set[int]) -> dict[str, set[int]]:
    """The steps with a training loss in other parts than those that are damaged, by run."""
    found: dict[str, set[int]] = {run: set() for run in runs}
    for part in list_parts(store, runs):
        if part.id in without:
            continue
        frame = read_part(store, part, ["run", "step", "train_loss"])
        if "train_loss" in frame.columns:
            frame = frame.filter(pl.col("train_loss").is_not_null() & pl.col("run").is_in(runs))
            for run, steps in frame.group_by("run").agg("step").iter_rows():
                found[run].update(steps)
    return found


def _last_sound(store: Store, run: str, before: int, damaged: set[tuple[str, int]]) -> int:
    """The last step before another one from whose snapshot training can go on; 0 if none."""
    rows = store.index.rows(
        "SELECT step FROM snapshots WHERE run = ? AND step < ? AND has_optimizer", run, before
    )
    return max((row["step"] for row in rows if (run, row["step"]) not in damaged), default=0)


def _action(store: Store, damage: Damage, back: dict[str, int]) -> Action:
    file = relative(store.path, damage.path)
    aside = "is missing" if damage.reason == "missing" else "is set aside"
    run, step = damage.run, damage.step
    if damage.kind == "metrics":
        count = len(concerned(damage))
        what = f"{file} {aside}" + (f", with rows of {counted(count, 'run')}" if count else "")
        if damage.sound:
            what += f"; sound rows of {counted(len(damage.sound), 'run')} are kept"
        lost = [each for each in damage.lost if not each.losses]
        commands = [
            f"ablab replay {each.run} --steps {max(1, each.first)}:{each.last} --watch …"
            for each in lost
            if each.run not in back
        ]
        return Action(what, None, file, "; ".join(commands) or None)
    if damage.kind == "capture" and run is not None and step is not None:
        if run in back and step > back[run]:
            return Action(f"{file} {aside}; training again captures it again", run, file)
        again = _capture_command(damage.path, run, step) if step else None
        return Action(f"{file} {aside}", run, file, again)
    if damage.kind in ("tokenizer", "source"):
        return Action(f"{file} {aside}; running its experiment writes it again", None, file)
    if damage.kind == "entry":
        entries = [each.name for each in damage.path.parents if each.parent.name == LOGBOOK]
        again = shlex.join(["ablab", "logbook", *entries])
        return Action(f"{file} {aside}", None, file, again)
    again = f"ablab analyze {run}" if damage.kind == "finding" else None
    return Action(f"{file} {aside}", run, file, again)


def _capture_command(path: Path, run: str, step: int) -> str:
    """The command that captures the same tensors again, as far as the file still names them."""
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            sizes = {
                file.get_slice(name).get_shape()[0]
                for name in names
                if name.startswith("activation/")
            }
    except (SafetensorError, OSError, IndexError):
        names, sizes = [], set()
    patterns = " ".join(f"--capture {shlex.quote(name)}" for name in names) or "--capture …"
    samples = f" --samples {sizes.pop()}" if len(sizes) == 1 else ""
    return f"ablab replay {run} --steps {step}:{step} {patterns}{samples}"


def _command(store: Store, run: str, damaged: Collection[Path]) -> str:
    """The command that trains a run: from the definition beside an entry, else as it was given."""
    rows = store.index.rows(
        """SELECT e.command, e.entry FROM members m JOIN experiments e ON e.id = m.experiment
           WHERE m.run = ?
           ORDER BY m.steps DESC, coalesce(m.stopped, m.steps) DESC, e.asked DESC, e.id DESC
           LIMIT 1""",
        run,
    )
    for row in rows:
        with suppress(StoreError):  # it has no entry, or an invalid name
            path = entry_path(store.path, row["entry"], DEFINITION)
            if path.is_file() and path not in damaged:
                return shlex.join(["ablab", "run", str(path), "--store", str(store.path)])
        return str(row["command"])
    return "ablab run …"
