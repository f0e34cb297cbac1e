"""Replay: steps of a stored run trained again, exactly as they were, with more watched."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from ablab.config import InputError, Problem
from ablab.execute.memory import retain_freed_memory
from ablab.execute.observers import make_collector
from ablab.execute.resume import last_state
from ablab.execute.speeds import persist_compiled_programs
from ablab.store.artifacts import check_space, save_artifact
from ablab.store.checkpointer import watched_frames
from ablab.store.leases import Owner
from ablab.store.metrics import KEYS, add_part, read_runs, write_part
from ablab.store.store import Store
from ablab.train.loop import WatchedStep
from ablab.train.method import SOLO, STACK, Method
from ablab.train.run import Run
from ablab.train.stack import RunState, Stack, initial_model
from ablab.watching.captures import capture, capture_bytes, capture_names, probe_tokens
from ablab.watching.columns import check_patterns, every_column
from ablab.watching.config import WatchConfig
from ablab.watching.shadow import Shadow
from ablab.watching.sites import Site
from ablab.watching.watchable import watchable

_CAPTURES = 10  # of a range, where it is not said how many
_ROWS_BYTES = 64 * 2**20  # of statistics that are held in memory before they are kept
_TOLERANCE = 1e-4
_AT_ONCE = 100  # steps that are trained without a look


@dataclass(frozen=True)
class ReplayRequest:
    """What a replay is asked for.

    Attributes:
        first: The first step (A).
        last: The last one (B).
        statistics: Patterns of statistics; none: only the losses are compared.
        every: Of which steps in the range statistics are taken.
        captures: Patterns of tensors.
        capture_every: Steps from one capture to the next; None for about ten of the range.
        samples: Samples of the probe batch of captures.
    """

    first: int
    last: int
    statistics: tuple[str, ...] = ()
    every: int = 1
    captures: tuple[str, ...] = ()
    capture_every: int | None = None
    samples: int = 8

    def captured(self) -> list[int]:
        """The steps after which tensors are captured."""
        if not self.captures:
            return []
        spacing = self.capture_every or max(1, (self.last - self.first) // _CAPTURES)
        return list(range(self.first, self.last + 1, spacing))


@dataclass(frozen=True)
class ReplayReport:
    """What a replay came to.

    Attributes:
        run: The run.
        start: The step from whose state it was trained again.
        compared: Losses that were compared with stored ones.
        equal: How many of them are equal bit for bit.
        difference: The largest relative difference.
        where: The step of that difference; None where all are equal.
        first_difference: The first step whose loss is not equal; None where all are.
        columns: The statistics that were added.
        rows: The steps that they were added to.
        captured: The steps after which tensors were captured.
        methods: How the steps were trained.
    """

    run: str
    start: int
    compared: int
    equal: int
    difference: float
    where: int | None
    first_difference: int | None
    columns: tuple[str, ...]
    rows: int
    captured: list[int]
    methods: list[str]

    @property
    def agrees(self) -> bool:
        """Whether losses differ by no more than guarantee 1 allows over a hundred steps."""
        return self.difference <= _TOLERANCE


def replay(
    store: Store,
    run: Run,
    segments: Sequence[dict[str, Any]],
    wish: ReplayRequest,
    tell: Callable[[int, int], None],
    device: torch.device,
) -> ReplayReport:
    """Trains steps of a stored run again and adds what is watched to its table.

    Each step is trained by the method, width and threads that it was trained by, and with what was
    watched then, so its loss is the same bit for bit on the same machine. What is watched now is
    taken beside it, from the same parameters and batch, and changes nothing.

    Args:
        store: The store.
        run: The run.
        segments: How its steps were trained, as the store has it.
        wish: What is asked for.
        tell: Told the step and the last one now and then.
        device: Where it is trained.

    Raises:
        InputError: The range or a pattern cannot be used, or another process trains the run.
    """
    row = store.run_row(run.id)
    if not 1 <= wish.first <= wish.last <= row["step"]:
        raise InputError(
            Problem(
                f"run {run.id} has no steps {wish.first} to {wish.last}",
                "--steps",
                given=f"{wish.first}:{wish.last}",
                expected=f"A:B with 1 ≤ A ≤ B ≤ {row['step']}",
            )
        )
    there = watchable(run)
    sites, layout, optimizer_state = there.sites, there.layout, there.state_names
    check_patterns(wish.statistics, every_column(wish.statistics, sites, layout, optimizer_state))
    names = capture_names(wish.captures, sites, layout, optimizer_state)
    needed = capture_bytes(names, sites, layout, wish.samples, there.item) * len(wish.captured())
    check_space(store.path, needed, "captures")
    retain_freed_memory()
    persist_compiled_programs()
    # One step earlier than asked for, where statistics look back at the step before.
    state = last_state(store, run, layout, optimizer_state, max(0, wish.first - 2))
    threads = torch.get_num_threads()
    try:
        with Owner(store.index.path) as owner:
            if not owner.acquire(store.index, [run.id]):
                raise InputError(
                    Problem(f"run {run.id} is being trained by another process", given=run.id)
                )
            work = _Replay(store, run, segments, wish, sites, names, device)
            return work.run(state, tell)
    finally:
        torch.set_num_threads(threads)


class _Replay:
    """A replay at work."""

    def __init__(
        self,
        store: Store,
        run: Run,
        segments: Sequence[dict[str, Any]],
        wish: ReplayRequest,
        sites: dict[str, Site],
        names: list[str],
        device: torch.device,
    ) -> None:
        self._store, self._run, self._wish, self._device = store, run, wish, device
        self._segments, self._names, self._sites = list(segments), names, sites
        self._watched: list[WatchedStep] = []
        self._rows = 0
        self._columns: tuple[str, ...] = ()

    def run(self, state: RunState | None, tell: Callable[[int, int], None]) -> ReplayReport:
        """Trains from a state on, or from the initial one."""
        wish = self._wish
        start = 0 if state is None else state.step
        losses: dict[int, float] = {}
        methods: list[str] = []
        shadow: Shadow | None = None
        due = wish.captured()
        for segment, last in self._pieces(start):
            torch.set_num_threads(segment.get("threads", torch.get_num_threads()))
            stack = self._stack(segment, state)
            methods.append(stack.method.title)
            if shadow is not None:
                shadow.follow(stack)
            elif wish.statistics:
                shadow = self._shadow(stack)
            while stack.step < last:
                # One step earlier than asked for, where a statistic looks back at the step before.
                looks = shadow is not None and stack.step + 1 >= wish.first - 1
                found = shadow.step() if shadow is not None and looks else None
                steps = 1 if looks else self._stride(stack, last)
                advance = stack.advance(steps)
                first = stack.step - steps + 1
                losses |= {first + k: float(advance.losses[k, 0]) for k in range(steps)}
                if found is not None:
                    self._note(stack.step, found)
                if stack.step in due:
                    self._capture(stack)
                if stack.step % 10 == 0 or stack.step == last:
                    tell(stack.step, wish.last)
            state = stack.state(0)
        self._flush()
        return self._compared(start, losses, methods)

    def _pieces(self, start: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Each segment that the steps go through, with the last step there."""
        step, last = start, self._wish.last
        for segment in self._segments:
            end = min(segment["to"], last)
            if step < end and segment["from"] <= step:
                yield segment, end
                step = end
        if step < last:  # a piece that is not known
            yield {"engine": "solo", "width": 1}, last

    def _stack(self, segment: dict[str, Any], state: RunState | None) -> Stack:
        """The run as it was trained: in a stack of as many, in which it takes every place."""
        if "gradients" in segment:
            method = Method(**segment["gradients"])
        else:
            method = STACK if segment["engine"] == "stack" else SOLO
        width = segment["width"] if method.vmapped else 1
        run = replace(self._run, log_every=segment.get("watch", {}).get("every", 10))
        stack = Stack(
            [run] * width, None if state is None else [state] * width, self._device, method
        )
        watched = segment.get("watch")
        if watched:  # what was read then may have changed how attention was computed
            watch = WatchConfig(every=watched["every"], statistics=tuple(watched["statistics"]))
            stack.collector = make_collector(stack, watch, "off")
        return stack

    def _stride(self, stack: Stack, last: int) -> int:
        """Steps up to the next one at which something is to be done."""
        stops = [last, stack.step + _AT_ONCE]
        stops += [step for step in self._wish.captured() if step > stack.step][:1]
        looked = self._wish.first - 2  # from there on it goes step by step
        stops += [looked] if self._wish.statistics and looked > stack.step else []
        end = min(stops)
        collector = stack.collector
        if collector is not None:  # it is shown the last of several steps alone
            ahead = range(stack.step + 1, end)
            end = next((step for step in ahead if collector.watches(step)), end)
        return end - stack.step

    def _shadow(self, stack: Stack) -> Shadow:
        """What takes statistics beside a stack."""
        wish = self._wish

        def at(step: int) -> bool:
            return wish.first <= step <= wish.last and (step - wish.first) % wish.every == 0

        shadow = Shadow(stack, wish.statistics, at)
        self._columns = shadow.names
        return shadow

    def _note(self, step: int, values: NDArray[np.float64]) -> None:
        self._watched.append(WatchedStep(step, (self._run.id,), self._columns, values[None]))
        if len(self._watched) * len(self._columns) * 8 > _ROWS_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Keeps the rows that wait."""
        for frame in watched_frames(self._watched):
            name, size = write_part(self._store, frame)
            with self._store.index.transaction() as connection:
                add_part(connection, name, size, frame)
        self._rows += len(self._watched)
        self._watched = []

    def _capture(self, stack: Stack) -> None:
        tensors = capture(
            stack, 0, self._names, probe_tokens(stack, self._wish.samples),
            initial_model(self._run).to(self._device),
        )  # fmt: skip
        save_artifact(self._store, "capture", self._run.id, stack.step, tensors, {})

    def _compared(self, start: int, losses: dict[int, float], methods: list[str]) -> ReplayReport:
        """The losses of the range beside the stored ones."""
        wish = self._wish
        frame = read_runs(
            self._store, [self._run.id], lambda names: [n for n in names if n == "train_loss"]
        ).filter(pl.col("step").is_between(wish.first, wish.last))
        stored = dict(frame.select(KEYS[1], "train_loss").drop_nulls().iter_rows())
        steps = [step for step in sorted(stored) if step in losses]
        before = np.array([stored[step] for step in steps])
        now = np.array([losses[step] for step in steps])
        same = (before == now) | (np.isnan(before) & np.isnan(now))
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = np.where(same, 0.0, np.abs(now - before) / np.abs(before))
        worst = int(np.argmax(np.nan_to_num(apart, nan=np.inf))) if steps else 0
        differs = not bool(same.all())
        return ReplayReport(
            run=self._run.id,
            start=start,
            compared=len(steps),
            equal=int(same.sum()),
            difference=float(apart[worst]) if steps else 0.0,
            where=steps[worst] if differs else None,
            first_difference=steps[int(np.argmin(same))] if differs else None,
            columns=self._columns,
            rows=self._rows,
            captured=wish.captured(),
            methods=list(dict.fromkeys(methods)),
        )
