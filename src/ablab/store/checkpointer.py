"""Writes checkpoints: metrics parts and snapshots first, then the index in one transaction."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from ablab.store.bundles import forget_bundled
from ablab.store.digests import forget_digests, record_digests
from ablab.store.files import remove
from ablab.store.index import Index
from ablab.store.initial import record_initial
from ablab.store.leases import Owner
from ablab.store.parts import add_part, write_part
from ablab.store.shares import KEYS
from ablab.store.snapshot_files import snapshot_path
from ablab.store.snapshots import write_snapshot
from ablab.store.store import Store, timestamp
from ablab.train.loop import Checkpoint, Checkpointer, WatchedStep
from ablab.train.stack import Stack

_INTEGER_COLUMNS = {"step": pl.Int64}


_LOOK_SECONDS = 1.0  # between two looks at whether the store is still there


class LeaseLostError(RuntimeError):
    """Another process took over the runs; steps trained here since then are discarded."""


class StoreCheckpointer(Checkpointer):
    """Writes the checkpoints of one stack.

    Args:
        store: The store.
        owner: The process that owns the runs.
        experiment: The id of the experiment for which they are trained.
        facts: How they are trained (engine, device, threads, …); saved with each run.
        tell: Called at every logged step with the step, the number of runs and their mean loss.
        usage: Called at every checkpoint; returns further facts to save (memory, load).
    """

    def __init__(
        self,
        store: Store,
        owner: Owner,
        experiment: int,
        facts: dict[str, Any],
        tell: Callable[[int, int, float], None],
        usage: Callable[[], dict[str, Any]],
    ) -> None:
        self._store = store
        self._owner = owner
        self._experiment = experiment
        self._facts = facts
        self._tell = tell
        self._usage = usage
        self._from: int | None = None
        self._step: int | None = None
        self._width = int(facts.get("width", 0))
        self._looked = time.monotonic()

    def started(self, step: int) -> None:
        """Records the step from which the stack continues."""
        self._from = self._step = step

    def progress(self, step: int, runs: int, loss: float) -> None:
        """Forwards progress to ``tell``.

        Raises:
            StoreError: The store was deleted, moved or replaced.
        """
        now = time.monotonic()
        if now - self._looked > _LOOK_SECONDS:
            self._looked = now
            self._store.index.check_in_place()
        self._tell(step, runs, loss)

    def save(self, checkpoint: Checkpoint, stack: Stack) -> None:
        """Writes a checkpoint; see :class:`ablab.train.loop.Checkpointer`.

        Raises:
            LeaseLostError: Another process has taken over the runs.
            StoreError: The store cannot be written, or was deleted, moved or replaced.
        """
        store = self._store
        store.index.check_in_place()
        for run in stack.runs:
            self._check_lease(run.id)
        if len(stack.runs) != self._width:  # runs left the stack at the last checkpoint
            self._from, self._width = self._step, len(stack.runs)
        self._step = checkpoint.step
        frame = pl.DataFrame(
            checkpoint.rows, infer_schema_length=None, schema_overrides=_INTEGER_COLUMNS
        )
        for watched in watched_frames(checkpoint.watched):
            frame = frame.join(watched, on=KEYS, how="left")
        part = write_part(store, frame)
        snapshots, files = [], []
        for run_id, state in checkpoint.earlier:
            written = write_snapshot(store, run_id, state, stack.layout, with_optimizer=False)
            snapshots.append((run_id, state.step, written.bytes, False, False))
            files.append(written)
        for run_id, state in checkpoint.states.items():
            written = write_snapshot(store, run_id, state, stack.layout, with_optimizer=True)
            rolling = checkpoint.rolling and run_id not in checkpoint.stopped
            snapshots.append((run_id, state.step, written.bytes, True, rolling))
            files.append(written)
        facts = (
            self._facts
            | {"width": self._width, "timings": stack.timings.per_step()}
            | self._usage()
        )
        with store.index.transaction() as connection:
            gone = self._superseded(store.index, [run.id for run in stack.runs])
            for run in stack.runs:
                self._update_run(connection, run.id, checkpoint, stack, facts)
            for run_id, state in (*checkpoint.earlier, *checkpoint.states.items()):
                if state.step == 0:
                    record_initial(connection, run_id, state.theta, stack.layout)
            add_part(connection, store, part)
            connection.executemany("DELETE FROM snapshots WHERE run = ? AND step = ?", gone)
            forget_digests(connection, store, [snapshot_path(store, *each) for each in gone])
            forget_bundled(connection, [each[:2] for each in snapshots])
            connection.executemany(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)", snapshots
            )
            record_digests(connection, store, files)
        for run_id, step in set(gone) - {(run, step) for run, step, *_ in snapshots}:
            remove(snapshot_path(store, run_id, step))

    def _update_run(
        self,
        connection: Any,
        run: str,
        checkpoint: Checkpoint,
        stack: Stack,
        facts: dict[str, Any],
    ) -> None:
        rows = [row for row in checkpoint.rows if row["run"] == run]
        evaluations = [row["eval_loss"] for row in rows if "eval_loss" in row]
        step = checkpoint.diverged.get(run, checkpoint.step)
        row = self._check_lease(run)
        assert self._from is not None, "training has started"
        # Steps that are trained again, from an earlier snapshot, are of this segment.
        segments = [
            each | {"to": min(each["to"], self._from)}
            for each in json.loads(row["segments"])
            if each["from"] < self._from
        ]
        segment = {"from": self._from, "to": step, "owner": self._owner.token, **facts}
        connection.execute(
            """UPDATE runs SET step = ?, outcome = ?, error = NULL, n_params = ?,
               seconds = seconds + ?, train_loss = ?, eval_loss = COALESCE(?, eval_loss),
               segments = ?, updated = ? WHERE id = ?""",
            (
                step,
                "diverged" if run in checkpoint.diverged else None,
                stack.layout.size,
                checkpoint.seconds,
                rows[-1]["train_loss"],
                evaluations[-1] if evaluations else None,
                json.dumps([*segments, segment]),
                timestamp(),
                run,
            ),
        )
        if run in checkpoint.diverged:
            connection.execute(
                "UPDATE runs SET error = ? WHERE id = ?",
                (f"the training loss was not finite at step {step}", run),
            )
        if run in checkpoint.stopped:
            connection.execute(
                "UPDATE members SET stopped = ? WHERE run = ? AND experiment = ?",
                (step, run, self._experiment),
            )

    def _check_lease(self, run: str) -> Any:
        (row,) = self._store.index.rows("SELECT segments, owner FROM runs WHERE id = ?", run)
        if row["owner"] != self._owner.token:
            raise LeaseLostError(f"another process took over run {run}")
        return row

    @staticmethod
    def _superseded(index: Index, runs: list[str]) -> list[tuple[str, int]]:
        """The rolling checkpoints of these runs that the new ones replace."""
        return [
            (row["run"], row["step"])
            for run in runs
            for row in index.rows("SELECT run, step FROM snapshots WHERE run = ? AND passing", run)
        ]


def watched_frames(watched: Sequence[WatchedStep]) -> list[pl.DataFrame]:
    """Watched steps as frames of run, step and statistics, one frame per set of statistics.

    NaN becomes null. Values are stored in single precision, in which statistics are computed.
    """
    groups: dict[tuple[str, ...], list[WatchedStep]] = {}
    for each in watched:
        if each.names and each.runs:
            groups.setdefault(each.names, []).append(each)
    frames = []
    for names, members in groups.items():
        keys = pl.DataFrame(
            {
                "run": [run for each in members for run in each.runs],
                "step": [each.step for each in members for _ in each.runs],
            }
        )
        values = np.concatenate([each.values for each in members]).astype(np.float32)
        frame = pl.from_numpy(values, schema=list(names)).with_columns(pl.all().fill_nan(None))
        frames.append(pl.concat([keys, frame], how="horizontal"))
    return frames
