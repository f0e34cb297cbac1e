"""Replay: trains steps of a stored run again, exactly as before, with more statistics."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from ablab.config import InputError, Problem
from ablab.execute.guest import as_guest
from ablab.execute.memory import retain_freed_memory
from ablab.execute.observers import make_collector
from ablab.execute.replay_report import ReplayReport
from ablab.execute.resume import last_state
from ablab.execute.speeds import persist_compiled_programs
from ablab.execute.verify import ApartError, verify
from ablab.store.artifacts import check_space
from ablab.store.checkpointer import watched_frames
from ablab.store.initial import buffers_line, state_of_step_0
from ablab.store.leases import Owner, break_leases, holders
from ablab.store.metrics import KEYS, read_runs
from ablab.store.staging import StagedResults
from ablab.store.store import Store
from ablab.train.collector import StatisticsCollector
from ablab.train.loop import WatchedStep
from ablab.train.method import SOLO, STACK, Method
from ablab.train.run import Run
from ablab.train.run_state import RunState
from ablab.train.stack import Stack, initial_model
from ablab.watching.captures import (
    capture,
    capture_bytes,
    capture_names,
    check_capture_patterns,
    every_tensor,
    probe_tokens,
)
from ablab.watching.columns import check_patterns, choose_columns, every_column
from ablab.watching.config import WatchConfig
from ablab.watching.shadow import Shadow
from ablab.watching.sites import Site
from ablab.watching.watchable import watchable

_CAPTURES = 10  # the approximate number of captures in a range by default
_ROWS_BYTES = 64 * 2**20  # statistics held in memory before they are written
_MAX_STRIDE = 100  # steps trained between two reports of progress


@dataclass(frozen=True)
class ReplayRequest:
    """The steps to replay, and what to watch.

    Attributes:
        first: The first step (A).
        last: The last step (B).
        statistics: Patterns of statistics; if empty, only losses are compared.
        every: Steps from one row of statistics to the next.
        captures: Patterns of tensors.
        capture_every: Steps from one capture to the next; None for about ten captures.
        samples: Samples in the probe batch of captures.
        anyway: Whether to add the results even if the losses differ from the stored ones.
        break_leases: Whether to take the run from another process that has leased it.
    """

    first: int
    last: int
    statistics: tuple[str, ...] = ()
    every: int = 1
    captures: tuple[str, ...] = ()
    capture_every: int | None = None
    samples: int = 8
    anyway: bool = False
    break_leases: bool = False

    def captured(self) -> list[int]:
        """The steps after which tensors are captured."""
        if not self.captures:
            return []
        spacing = self.capture_every or max(1, (self.last - self.first) // _CAPTURES)
        return list(range(self.first, self.last + 1, spacing))

    def latest_start(self, compares_gradients: bool) -> int:
        """The latest step whose snapshot a replay can start from.

        Step A is trained from the state after step A - 1. Tensors that are captured after step A
        are those of its own snapshot.

        Args:
            compares_gradients: Whether a statistic of step A needs the gradient of step A - 1.
        """
        if self.captures and not self.statistics:
            return self.first
        return max(0, self.first - (2 if compares_gradients else 1))


@as_guest()
def replay(
    store: Store,
    run: Run,
    segments: Sequence[dict[str, Any]],
    request: ReplayRequest,
    report: Callable[[int, int], None],
    device: torch.device,
) -> ReplayReport:
    """Trains steps of a stored run again and stores the requested statistics and captures.

    Each step uses the method, width, threads and watched statistics of the original training, so
    its loss is the same bit for bit on the same machine. The new statistics are computed in a
    separate pass from the same parameters and batch, and do not affect the training. They are added
    after the losses were compared, and only if those agree or the request says so.

    Args:
        store: The store.
        run: The run.
        segments: How its steps were trained, as stored with the run.
        request: The steps, and what to watch.
        report: Called regularly with the current and the last step.
        device: Where to train.

    Raises:
        InputError: The range or a pattern is invalid, or another process trains the run.
    """
    row = store.run_row(run.id)
    if not row["step"]:
        what = f"run {run.id} has no steps yet, so none can be replayed"
        raise InputError(Problem(what, expected="a run that has been trained"))
    if not 1 <= request.first <= request.last <= row["step"]:
        raise InputError(
            Problem(
                f"run {run.id} has no steps {request.first} to {request.last}",
                "--steps",
                given=f"{request.first}:{request.last}",
                expected=f"A:B with 1 ≤ A ≤ B ≤ {row['step']}",
            )
        )
    there = watchable(run)
    sites, layout, watched = there.sites, there.layout, there.watched_state
    every = every_column(request.statistics, sites, layout, watched)
    check_patterns(request.statistics, every)
    columns = choose_columns(request.statistics, every)
    latest = request.latest_start(any(each.reducer.given == "gradients" for each in columns))
    tensors = every_tensor(sites, layout, watched)
    check_capture_patterns(request.captures, tensors)
    names = capture_names(request.captures, tensors)
    capture_size = capture_bytes(names, sites, layout, request.samples, there.item)
    needed = capture_size * len(request.captured())
    check_space(store.path, needed, "captures")
    retain_freed_memory()
    persist_compiled_programs()
    state = last_state(store, run, layout, there.state_names, latest)
    if state is None:
        state, note = state_of_step_0(store, run, layout)
    else:
        note = buffers_line(store, run, initial_model(run), layout)
    threads = torch.get_num_threads()
    try:
        with Owner(store.index.path) as owner:
            if request.break_leases:
                break_leases(store.index, [run.id])
            if not owner.acquire(store.index, [run.id]):
                raise InputError(
                    Problem(
                        f"run {run.id} is being trained by another process",
                        given="".join(map(str, holders(store.index, [run.id]))),
                        expected="that it ends; --break-leases takes the run from it",
                    )
                )
            work = _Replay(store, run, segments, request, sites, names, device)
            return replace(work.run(state, report), note=note)
    finally:
        torch.set_num_threads(threads)


class _Replay:
    """The replay of one run."""

    def __init__(
        self,
        store: Store,
        run: Run,
        segments: Sequence[dict[str, Any]],
        request: ReplayRequest,
        sites: dict[str, Site],
        names: list[str],
        device: torch.device,
    ) -> None:
        self._store, self._run, self._request, self._device = store, run, request, device
        self._segments, self._names, self._sites = list(segments), names, sites
        self._staged = StagedResults(store, run.id)
        self._watched: list[WatchedStep] = []
        self._rows = 0
        self._columns: tuple[str, ...] = ()
        self._notes: list[str] = []

    def run(self, state: RunState | None, report: Callable[[int, int], None]) -> ReplayReport:
        """Trains from a state, or from the initial one if it is None; adds what is to be added."""
        try:
            found = self._train(state, report)
            if found.added:
                self._staged.keep()
            return found
        finally:
            self._staged.discard()

    def _train(self, state: RunState | None, report: Callable[[int, int], None]) -> ReplayReport:
        request = self._request
        start = 0 if state is None else state.step
        losses: dict[int, float] = {}
        methods: list[str] = []
        shadow: Shadow | None = None
        due = request.captured()
        if start in due:
            self._save_capture(Stack([self._run], [state], self._device, SOLO))
        for segment, last in self._pieces(start):
            torch.set_num_threads(segment.get("threads", torch.get_num_threads()))
            stack = self._stack(segment, state)
            methods.append(stack.method.title)
            if shadow is not None:
                shadow.follow(stack)
            elif request.statistics:
                shadow = self._shadow(stack)
            while stack.step < last:
                # From one step earlier, because some statistics need the gradient of that step.
                by_step = shadow is not None and stack.step + 1 >= request.first - 1
                found = shadow.step() if shadow is not None and by_step else None
                steps = 1 if by_step else self._stride(stack, last)
                advance = stack.advance(steps)
                first = stack.step - steps + 1
                losses |= {first + k: float(advance.losses[k, 0]) for k in range(steps)}
                if found is not None:
                    self._note(stack.step, found)
                if stack.step in due:
                    self._save_capture(stack)
                if stack.step % 10 == 0 or stack.step == last:
                    report(stack.step, request.last)
            state = stack.state(0)
            stack.release()
        self._flush()
        return self._report(start, losses, methods)

    def _pieces(self, start: int) -> Iterator[tuple[dict[str, Any], int]]:
        """The segments that contain the steps, each with the last step to train in it."""
        step, last = start, self._request.last
        for segment in self._segments:
            end = min(segment["to"], last)
            if step < end and segment["from"] <= step:
                yield segment, end
                step = end
        if step < last:  # no segment is stored for these steps
            yield {"engine": "solo", "width": 1}, last

    def _stack(self, segment: dict[str, Any], state: RunState | None) -> Stack:
        """A stack as wide as the one that trained the run, filled with copies of it."""
        if "gradients" in segment:
            method = Method(**segment["gradients"])
        else:
            method = STACK if segment["engine"] == "stack" else SOLO
        width = segment["width"] if method.vmapped else 1
        run = replace(self._run, log_every=segment.get("watch", {}).get("every", 10))
        watched = segment.get("watch")

        def collector(stack: Stack) -> StatisticsCollector | None:
            if not watched:  # tapping sites may have changed how attention was computed
                return None
            watch = WatchConfig(every=watched["every"], statistics=tuple(watched["statistics"]))
            return make_collector(stack, watch)

        def stack_of(width: int, method: Method) -> Stack:
            states = None if state is None else [state] * width
            graphs = segment.get("graphs", False)
            return Stack([run] * width, states, self._device, method, replays=graphs)

        stack = stack_of(width, method)
        try:
            verify(stack, None, lambda event: self._notes.append(event["text"]), collector)
        except ApartError as error:
            self._notes.append(f"runs like {run.id}: {error}; replayed eagerly, alone, instead")
            stack = stack_of(1, SOLO)
        stack.collector = collector(stack)
        return stack

    def _stride(self, stack: Stack, last: int) -> int:
        """The number of steps until the next one at which something has to be done."""
        stops = [last, stack.step + _MAX_STRIDE]
        stops += [step for step in self._request.captured() if step > stack.step][:1]
        before = self._request.first - 2  # from here on, steps are trained one by one
        stops += [before] if self._request.statistics and before > stack.step else []
        end = min(stops)
        collector = stack.collector
        if collector is not None:  # it only sees the last step of a stride
            ahead = range(stack.step + 1, end)
            end = next((step for step in ahead if collector.watches(step)), end)
        return end - stack.step

    def _shadow(self, stack: Stack) -> Shadow:
        """Computes the requested statistics next to a stack."""
        request = self._request

        def at(step: int) -> bool:
            in_range = request.first <= step <= request.last
            return in_range and (step - request.first) % request.every == 0

        shadow = Shadow(stack, request.statistics, at)
        self._columns = shadow.names
        return shadow

    def _note(self, step: int, values: NDArray[np.float64]) -> None:
        self._watched.append(WatchedStep(step, (self._run.id,), self._columns, values[None]))
        if len(self._watched) * len(self._columns) * 8 > _ROWS_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Writes the collected rows, which do not count yet."""
        for frame in watched_frames(self._watched):
            self._staged.add_rows(frame)
        self._rows += len(self._watched)
        self._watched = []

    def _save_capture(self, stack: Stack) -> None:
        tensors = capture(
            stack, 0, self._names, probe_tokens(stack, self._request.samples),
            initial_model(self._run).to(self._device),
        )  # fmt: skip
        self._staged.add_capture(stack.step, tensors)

    def _report(self, start: int, losses: dict[int, float], methods: list[str]) -> ReplayReport:
        """Compares the losses of the range with the stored ones."""
        request = self._request
        frame = read_runs(
            self._store, [self._run.id], lambda names: [n for n in names if n == "train_loss"]
        ).filter(pl.col("step").is_between(request.first, request.last))
        stored = {}
        if "train_loss" in frame.columns:
            stored = dict(frame.select(KEYS[1], "train_loss").drop_nulls().iter_rows())
        steps = [step for step in sorted(stored) if step in losses]
        before = np.array([stored[step] for step in steps])
        now = np.array([losses[step] for step in steps])
        same = (before == now) | (np.isnan(before) & np.isnan(now))
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = np.where(same, 0.0, np.abs(now - before) / np.abs(before))
        worst = int(np.argmax(np.nan_to_num(apart, nan=np.inf))) if steps else 0
        differs = not bool(same.all())
        difference = float(apart[worst]) if steps else 0.0
        found = ReplayReport(
            run=self._run.id,
            start=start,
            compared=len(steps),
            equal=int(same.sum()),
            difference=difference,
            where=steps[worst] if differs else None,
            first_difference=steps[int(np.argmin(same))] if differs else None,
            added=False,
            columns=self._columns,
            rows=self._rows,
            captured=request.captured(),
            methods=list(dict.fromkeys(methods)),
            notes=list(dict.fromkeys(self._notes)),
        )
        adds = found.agrees or request.anyway
        return replace(found, added=adds and bool(self._rows or request.captures))
