"""Checks a store: is every file that the index lists present, and what was written?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ablab.config.files import PARTIAL
from ablab.store.artifacts import artifact_damage
from ablab.store.digests import all_digests, damage
from ablab.store.index import StoreError
from ablab.store.metrics import read_runs, unwatched_columns
from ablab.store.parquet import DamagedError, read_rows
from ablab.store.parts import Part, list_parts
from ablab.store.paths import (
    ARTIFACTS,
    DAMAGED,
    LOGBOOK,
    METRICS,
    SNAPSHOTS,
    SUFFIXES,
    TOKENIZERS,
    inside,
    metrics_path,
    relative,
    run_artifact_path,
    run_snapshot_path,
)
from ablab.store.shares import Share, shares
from ablab.store.snapshots import check_snapshot
from ablab.store.store import Store
from ablab.tasks.subwords import content_digest


@dataclass(frozen=True)
class Damage:
    """A file that is missing, or not what was written.

    Attributes:
        kind: ``metrics``, ``snapshot``, ``capture``, ``flight``, ``tokenizer`` or ``entry``.
        path: The file.
        reason: What is wrong with it.
        run: The run that it belongs to; None if it belongs to several or to none.
        step: The step that it belongs to.
        part: The metrics part, if it is one.
        lost: The rows of a metrics part that cannot be read or are not what was written.
        sound: The rows of a metrics part that are what was written.
    """

    kind: str
    path: Path
    reason: str
    run: str | None = None
    step: int | None = None
    part: Part | None = None
    lost: tuple[Share, ...] = ()
    sound: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.path}: {self.reason}"
        return text + (f"; damaged: {self.whose}" if self.whose else "")

    @property
    def whose(self) -> str:
        """The runs and steps that are damaged; empty if that is not known."""
        if self.run is not None:
            return f"run {self.run}, step {self.step}"
        return "; ".join(f"run {each.run}, steps {each.first} to {each.last}" for each in self.lost)


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
    problems = [
        f"index: {row[0]}" for row in store.index.rows("PRAGMA integrity_check") if row[0] != "ok"
    ]
    known = all_digests(store)
    files = _Files(store, known, problems)
    parts, snapshots = files.parts(), files.snapshots()
    files.artifacts()
    files.others()
    problems += map(str, files.damages)
    runs = store.index.rows("SELECT id, step, outcome FROM runs WHERE step > 0")
    gaps: dict[str, int] = {}
    if not problems:
        gaps = _gaps(store, {row["id"]: row["step"] for row in runs}, problems)
    resumable = {
        row["run"] for row in store.index.rows("SELECT run FROM snapshots WHERE has_optimizer")
    }
    problems += [
        f"run {row['id']} is at step {row['step']} but has no snapshot to resume from"
        for row in runs
        if row["outcome"] is None and row["id"] not in resumable
    ]
    leftovers = _leftovers(store, files.listed)
    return Checked(
        problems, leftovers, len(runs), parts, snapshots, files.damages, files.uncovered, gaps
    )


class _Files:
    """Checks files, one kind after another."""

    def __init__(
        self, store: Store, known: dict[str, dict[str, int]], problems: list[str]
    ) -> None:
        self._store, self._known, self._problems = store, known, problems
        self.damages: list[Damage] = []
        self.uncovered: list[Path] = []
        self.listed: set[Path] = set()

    def parts(self) -> int:
        """Checks metrics parts; returns their number."""
        parts = list_parts(self._store)
        for part in parts:
            path = self._path(lambda part=part: metrics_path(self._store.path, part.file))  # type: ignore[misc]
            if path is None:
                continue
            found = part_damage(path, part)
            if found is not None:
                listed = "SELECT 1 FROM parts WHERE id = ?"
                self._add(found, listed, part.id)  # unless another process merged it meanwhile
            elif not part.digests or not part.shares:
                self.uncovered.append(path)
            if part.shares and tuple(each.run for each in part.shares) != part.runs:
                self._problems.append(f"index: the runs of metrics part {part.id} are not its own")
        return len(parts)

    def snapshots(self) -> int:
        """Checks snapshots; returns their number."""
        rows = self._store.index.rows("SELECT * FROM snapshots ORDER BY run, step")
        for row in rows:
            run, step = row["run"], row["step"]
            path = self._path(lambda: run_snapshot_path(self._store.path, run, step))  # noqa: B023
            if path is None:
                continue
            known = self._digests(path)
            reason = self._missing_or(path, known)
            if reason is None:
                size = path.stat().st_size if known else row["bytes"]
                try:
                    check_snapshot(path, size, bool(row["has_optimizer"]))
                except StoreError as error:
                    reason = error.problems[0].message
            self._found(
                path,
                known,
                None if reason is None else Damage("snapshot", path, reason, run, step),
                "SELECT 1 FROM snapshots WHERE run = ? AND step = ?",
                run,
                step,
            )
        return len(rows)

    def artifacts(self) -> None:
        """Checks captures and flight records."""
        for row in self._store.index.rows("SELECT * FROM kept ORDER BY kind, run, step"):
            kind, run, step = row["kind"], row["run"], row["step"]
            for suffix in SUFFIXES.get(kind, ("",)):
                path = self._path(
                    lambda: run_artifact_path(self._store.path, kind, run, step, suffix)  # noqa: B023
                )
                if path is None:
                    continue
                known = self._digests(path)
                reason = artifact_damage(self._store, kind, run, step, suffix, known)
                self._found(
                    path,
                    known,
                    None if reason is None else Damage(kind, path, reason, run, step),
                    "SELECT 1 FROM kept WHERE kind = ? AND run = ? AND step = ?",
                    kind,
                    run,
                    step,
                )

    def others(self) -> None:
        """Checks tokenizers, which are named by their digest, and texts that entries read back."""
        folder = self._store.path / TOKENIZERS
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
            try:
                sound = content_digest(path.read_text(encoding="utf-8")) == path.stem
            except ValueError:
                sound = False
            if not sound:
                reason = "its content is not what was written"
                self.damages.append(Damage("tokenizer", path, reason))
        for name in sorted(self._known):
            if name.startswith(f"{LOGBOOK}/"):
                path = self._path(lambda: inside(self._store.path, *name.split("/")))  # noqa: B023
                if path is not None and path.is_file():  # users may delete an entry
                    reason = damage(path, self._known[name]) or ""
                    if reason:
                        self.damages.append(Damage("entry", path, reason))

    def _path(self, make: Callable[[], Path]) -> Path | None:
        """A path, added to those that the index lists; None if the index has no valid name."""
        try:
            path = make()
        except StoreError as error:
            self._problems.append(f"index: {error.problems[0].message} ({error.problems[0].given})")
            return None
        self.listed.add(path)
        return path

    def _digests(self, path: Path) -> dict[str, int]:
        return self._known.get(relative(self._store.path, path), {})

    def _missing_or(self, path: Path, known: dict[str, int]) -> str | None:
        try:
            path.stat()
            return damage(path, known)
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            return f"it cannot be read ({error.strerror})"

    def _found(
        self, path: Path, known: dict[str, int], found: Damage | None, query: str, *values: object
    ) -> None:
        if found is not None:
            self._add(found, query, *values)
        elif not known:
            self.uncovered.append(path)

    def _add(self, found: Damage, query: str, *values: object) -> None:
        """Adds a damaged file, if the index still lists it."""
        if self._store.index.rows(query, *values):
            self.damages.append(found)


def part_damage(path: Path, part: Part) -> Damage | None:
    """What is wrong with a metrics part; None if nothing is."""
    try:
        reason = damage(path, part.digests)
        if reason is None and not part.digests and path.stat().st_size != part.bytes:
            reason = f"{path.stat().st_size} bytes, but the index says {part.bytes}"
    except FileNotFoundError:
        return Damage("metrics", path, "missing", part=part, lost=_all(part))
    except OSError as error:
        reason = f"it cannot be read ({error.strerror})"
    frame = None
    try:
        frame = read_rows(path, part.rows)
        sound = _sound(part, frame)
    except (DamagedError, OSError, pl.exceptions.PolarsError) as error:
        reason, sound = reason or f"damaged ({error})", []
    lost = tuple(each for each in part.shares if each.run not in sound)
    if reason is None and (lost or (part.shares and len(part.shares) != len(sound))):
        reason = "its rows are not what was written"
    if reason is None:
        return None
    lost = lost or (() if part.shares else _all(part))
    return Damage("metrics", path, reason, part=part, lost=lost, sound=tuple(sound))


def _sound(part: Part, frame: pl.DataFrame) -> list[str]:
    """The runs whose rows are what was written; all of them if the part has no digests."""
    if not part.shares:
        return list(part.runs)
    try:
        found = {each.run: each.digest for each in shares(frame)}
    except pl.exceptions.PolarsError:  # columns of types that ablab does not write
        return []
    return [each.run for each in part.shares if found.get(each.run) == each.digest]


def _all(part: Part) -> tuple[Share, ...]:
    """All rows of a part; those of an earlier release's part are not known further."""
    return part.shares


def _gaps(store: Store, steps: dict[str, int], problems: list[str]) -> dict[str, int]:
    """The first step without a training loss of runs that do not have all of them."""
    if not steps:
        return {}
    try:
        frame = read_runs(store, list(steps), unwatched_columns).filter(pl.col("step") > 0)
    except StoreError as error:
        problems.append(str(error.problems[0].message))
        return {}
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


def _leftovers(store: Store, listed: set[Path]) -> list[Path]:
    found = list(_files_below(store.path / METRICS, "*"))
    for folder in (SNAPSHOTS, *ARTIFACTS.values()):
        found += _files_below(store.path / folder, "*/*")
    hidden = [path for path in store.path.rglob(f"{PARTIAL}*") if path not in found]
    kept = store.path / DAMAGED
    every = [path for path in found if path not in listed] + hidden
    return sorted(path for path in every if not path.is_relative_to(kept))


def _files_below(folder: Path, pattern: str) -> Iterator[Path]:
    return iter(()) if folder.is_symlink() else folder.glob(pattern)
