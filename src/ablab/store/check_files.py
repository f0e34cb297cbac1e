"""Checks the files of a store, each against its digest and its index entry."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ablab.store.artifacts import artifact_damage
from ablab.store.bundles import place_in_bundle
from ablab.store.digests import content_damage, damage
from ablab.store.findings import finding_damage
from ablab.store.index import StoreError
from ablab.store.parquet import DamagedError, read_rows
from ablab.store.parts import Part, each_part
from ablab.store.paths import (
    LOGBOOK,
    SOURCES,
    SUFFIXES,
    TOKENIZERS,
    bundle_path,
    finding_path,
    inside,
    metrics_path,
    relative,
    run_artifact_path,
    run_snapshot_path,
    tokenizer_path,
)
from ablab.store.shares import Share, shares
from ablab.store.snapshot_files import check_snapshot
from ablab.store.store import Store
from ablab.tasks.subwords import content_digest


@dataclass(frozen=True)
class Damage:
    """A file that is missing, or not what was written.

    Attributes:
        kind: ``metrics``, ``snapshot``, ``capture``, ``flight``, ``finding``, ``tokenizer``,
            ``source`` or ``entry``.
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
        kind = "metrics part" if self.kind == "metrics" else self.kind
        text = f"{self.path}: damaged {kind} ({self.reason})"
        return text + (f": {self.whose}" if self.whose else "")

    @property
    def whose(self) -> str:
        """The runs and steps that are damaged; empty if that is not known."""
        if self.run is not None:
            return f"run {self.run}, step {self.step}"
        return "; ".join(f"run {each.run}, steps {each.first} to {each.last}" for each in self.lost)


class StoreFiles:
    """Checks the files of a store, one kind after another.

    Args:
        store: The store.
        known: The digests that files may have, by path in the store.
        problems: Problems of the index are added to it.

    Attributes:
        damages: The files that are not what was written.
        uncovered: The files that have no digest and can be read.
        logged: The step up to which the sound parts have every training loss of a run. Where parts
            are not in the order of their steps, they may have more.
    """

    def __init__(self, store: Store, known: dict[str, dict[str, int]], problems: list[str]) -> None:
        self._store, self._known, self._problems = store, known, problems
        self.damages: list[Damage] = []
        self.uncovered: list[Path] = []
        self.logged: dict[str, int] = {}

    def parts(self) -> int:
        """Checks metrics parts; returns their number."""
        count = 0
        for part in each_part(self._store):
            count += 1
            path = self._path(lambda part=part: metrics_path(self._store.path, part.file))  # type: ignore[misc]
            if path is None:
                continue
            frame, found = _read_part(path, part)
            if frame is not None:
                self._add_logged(frame, set(part.runs))
            if found is not None:
                # Unless another process merged it meanwhile, perhaps into one of the same number.
                listed = "SELECT 1 FROM parts WHERE id = ? AND file = ?"
                self._add(found, listed, part.id, part.file)
            elif not part.digests or not set(part.runs) <= {each.run for each in part.shares}:
                self.uncovered.append(path)
            unlisted = {each.run for each in part.shares} - set(part.runs)
            self._problems += [
                f"index: metrics part {part.id} has rows of run {run}, but is not listed for it"
                for run in sorted(unlisted)
            ]
        return count

    def snapshots(self) -> int:
        """Checks snapshots; returns their number."""
        rows = self._store.index.rows(
            """SELECT s.*, b.file FROM snapshots s LEFT JOIN bundles b USING (run, step)
               ORDER BY b.file, b.offset, s.run, s.step"""
        )
        for row in rows:
            run, step = row["run"], row["step"]
            path = self._path(lambda: run_snapshot_path(self._store.path, run, step))  # noqa: B023
            if path is None:
                continue
            known = self._digests(path)
            bundled = None if row["file"] is None else self._in_bundle(run, step, known)
            if row["file"] is not None and bundled is None:
                continue
            reason = self._missing_or(path, known)
            if reason == "missing":  # it may have been moved just now
                reason = bundled or self._in_bundle(run, step, known)
            elif reason is None:
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

    def findings(self) -> None:
        """Checks the tables and arrays of findings."""
        for row in self._store.index.rows("SELECT * FROM findings WHERE bytes ORDER BY run, step"):
            run, step, key = row["run"], row["step"], row["key"]
            path = self._path(lambda: finding_path(self._store.path, run, step, key))  # noqa: B023
            if path is None:
                continue
            known = self._digests(path)
            reason = finding_damage(self._store, run, step, key, known)
            self._found(
                path,
                known,
                None if reason is None else Damage("finding", path, reason, run, step),
                "SELECT 1 FROM findings WHERE run = ? AND step = ? AND key = ?",
                run,
                step,
                key,
            )

    def others(self) -> None:
        """Checks tokenizers, archived sources, and texts of entries that are read back."""
        root = self._store.path
        folder = self._path(lambda: inside(root, TOKENIZERS))
        for each in sorted(folder.glob("*.json")) if folder is not None else []:
            path = self._path(lambda: tokenizer_path(root, each.stem))  # noqa: B023
            if path is not None and not _is_tokenizer(path):
                reason = "its content is not what was written"
                self.damages.append(Damage("tokenizer", path, reason))
        for name in sorted(self._known):
            kind = {LOGBOOK: "entry", SOURCES: "source"}.get(name.partition("/")[0])
            path = self._path(lambda: inside(root, *name.split("/"))) if kind else None  # noqa: B023
            if kind is None or path is None or (kind == "entry" and not path.is_file()):
                continue  # users may delete an entry
            found = self._missing_or(path, self._known[name])
            if found is not None:
                self.damages.append(Damage(kind, path, found))

    def _add_logged(self, frame: pl.DataFrame, listed: set[str]) -> None:
        """Notes the training losses in a part of the runs that it is listed for."""
        if "train_loss" not in frame.columns:
            return
        rows = frame.filter(pl.col("step") > 0, pl.col("train_loss").is_not_null())
        step = pl.col("step")
        spans = rows.group_by("run").agg(
            step.min().alias("first"), step.max().alias("last"), step.n_unique().alias("steps")
        )
        for run, first, last, steps in spans.iter_rows():
            before = self.logged.get(run, 0)
            if run in listed and first <= before + 1 and steps == last - first + 1:
                self.logged[run] = max(before, last)

    def _path(self, make: Callable[[], Path]) -> Path | None:
        """A path that the index lists; None if the index has no valid name."""
        try:
            return make()
        except StoreError as error:
            self._problems.append(f"index: {error.problems[0].message} ({error.problems[0].given})")
            return None

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

    def _in_bundle(self, run: str, step: int, known: dict[str, int]) -> str | None:
        """What is wrong with a snapshot that has no file of its own; None if nothing is."""
        try:
            place = place_in_bundle(self._store, run, step)
            if place is None:
                return "missing"
            reason = content_damage(place.read(), known)
        except FileNotFoundError:
            return "its bundle is missing"
        except OSError as error:
            return f"its bundle cannot be read ({error.strerror})"
        except StoreError as error:
            return error.problems[0].message
        return None if reason is None else f"{reason}, in {relative(self._store.path, place.path)}"

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


def _read_part(path: Path, part: Part) -> tuple[pl.DataFrame | None, Damage | None]:
    """The rows of a metrics part, or what is wrong with it."""
    try:
        reason = damage(path, part.digests)
        if reason is None and not part.digests and path.stat().st_size != part.bytes:
            reason = f"{path.stat().st_size} bytes, but the index says {part.bytes}"
    except FileNotFoundError:
        return None, Damage("metrics", path, "missing", part=part, lost=part.shares)
    except OSError as error:
        reason = f"it cannot be read ({error.strerror})"
    frame = None
    try:
        frame = read_rows(path, part.rows)
        sound = _sound(part, frame)
    except (DamagedError, OSError, pl.exceptions.PolarsError) as error:
        reason, sound = reason or str(error), []
    whole = set(sound)
    lost = tuple(each for each in part.shares if each.run not in whole)
    if reason is None and (lost or (part.shares and len(part.shares) != len(sound))):
        reason = "its rows are not what was written"
    if reason is None:
        return frame, None
    return None, Damage("metrics", path, reason, part=part, lost=lost, sound=tuple(sound))


def _sound(part: Part, frame: pl.DataFrame) -> list[str]:
    """The runs whose rows are what was written; all of them if the part has no digests."""
    if not part.shares:
        return list(part.runs)
    try:
        found = {each.run: each.digest for each in shares(frame)}
    except pl.exceptions.PolarsError:  # columns of types that ablab does not write
        return []
    return [each.run for each in part.shares if found.get(each.run) == each.digest]


def _is_tokenizer(path: Path) -> bool:
    """Whether a tokenizer is the one that its name says."""
    try:
        return content_digest(path.read_text(encoding="utf-8")) == path.stem
    except ValueError:
        return False


def listed_files(store: Store) -> Iterator[Path]:
    """The files of metrics, snapshots, captures, flight records and findings in the index."""
    root = store.path
    for row in store.index.rows("SELECT file FROM parts"):
        with suppress(StoreError):
            yield metrics_path(root, row["file"])
    for row in store.index.rows("SELECT DISTINCT file FROM bundles"):
        with suppress(StoreError):
            yield bundle_path(root, row["file"])
    for row in store.index.rows("SELECT run, step FROM snapshots"):
        with suppress(StoreError):
            yield run_snapshot_path(root, row["run"], row["step"])
    for row in store.index.rows("SELECT kind, run, step FROM kept"):
        for suffix in SUFFIXES.get(row["kind"], ()):
            with suppress(StoreError):
                yield run_artifact_path(root, row["kind"], row["run"], row["step"], suffix)
    for row in store.index.rows("SELECT run, step, key FROM findings WHERE bytes"):
        with suppress(StoreError):
            yield finding_path(root, row["run"], row["step"], row["key"])
