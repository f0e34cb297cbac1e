"""The training loop: trains a stack to its last step and saves checkpoints."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablab.config.progress import doing
from ablab.tasks.base import Batch
from ablab.train.advance import Advance
from ablab.train.by_factor import Groups, make_groups
from ablab.train.config import TrainConfig
from ablab.train.log_steps import Every, logs, next_logged
from ablab.train.run import Run
from ablab.train.run_state import RunState
from ablab.train.stack import Stack
from ablab.train.stopping import StopRule

SECONDS_BETWEEN_CHECKPOINTS = 30.0
_MAX_STRIDE = 100  # steps between checks of the clock and for a pause, even if logging is rarer


@dataclass(frozen=True)
class WatchedStep:
    """The statistics of a watched step.

    Attributes:
        step: The step.
        runs: The ids of the runs (R).
        names: The names of the statistics (S).
        values: Their values, (R, S).
    """

    step: int
    runs: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[np.float64]


@dataclass
class Checkpoint:
    """Everything since the last checkpoint, and the current states; saved as one unit.

    Attributes:
        step: The stack's step.
        rows: Metrics, one mapping per run and step.
        states: The states of the runs at ``step``, by run; diverged runs have none.
        earlier: Snapshots of earlier steps, each with its run.
        rolling: Whether the states are only for resuming, so that the next checkpoint may replace
            them.
        diverged: The step at which the loss was not finite, by run.
        stopped: The runs that a stop rule ended at ``step``.
        seconds: Seconds per run since the last checkpoint.
        watched: The watched steps; of a diverged run, those up to its last step.
    """

    step: int
    rows: list[dict[str, Any]]
    states: dict[str, RunState]
    earlier: list[tuple[str, RunState]]
    rolling: bool
    diverged: dict[str, int]
    stopped: list[str]
    seconds: float
    watched: list[WatchedStep]


class Checkpointer(ABC):
    """Saves checkpoints and reports progress."""

    @abstractmethod
    def save(self, checkpoint: Checkpoint, stack: Stack) -> None:
        """Saves a checkpoint durably before it returns."""

    @abstractmethod
    def progress(self, step: int, runs: int, loss: float) -> None:
        """Called at every logged step with the step, the number of runs and their mean loss."""


class Observer(ABC):
    """Sees a stack at its stops, to save more than its metrics."""

    @abstractmethod
    def begin(self, stack: Stack) -> None:
        """Called before the stack is trained."""

    @abstractmethod
    def next_stop(self, step: int) -> int | None:
        """The next step after ``step`` at which the stack has to stop; None if any stop will do."""

    @abstractmethod
    def stopped(self, stack: Stack, advance: Advance) -> None:
        """Called after some steps, before runs leave the stack."""

    def ended(self, stack: Stack, advance: Advance, runs: Sequence[str]) -> None:
        """Called after :meth:`stopped` with the runs that a stop rule ends at this step."""
        return

    def records(self) -> Mapping[str, Mapping[str, float]]:
        """Numbers to be kept with the stack's step, by run and column; asked for after a call."""
        return {}


@dataclass
class _Pending:
    rows: list[dict[str, Any]] = field(default_factory=list)
    earlier: list[tuple[str, RunState]] = field(default_factory=list)
    watched: list[WatchedStep] = field(default_factory=list)
    since: float = field(default_factory=time.perf_counter)


def train(
    stack: Stack,
    checkpointer: Checkpointer,
    rules: dict[str, StopRule],
    should_pause: Callable[[], bool],
    recent_losses: NDArray[np.float64] | None = None,
    observers: Sequence[Observer] = (),
    until: int | None = None,
) -> bool:
    """Trains every run of a stack until it reaches its last step, is stopped or diverges.

    Args:
        stack: The stack; runs leave it as they end.
        checkpointer: Saves checkpoints.
        rules: Stop rules by run, which have processed the stored steps.
        should_pause: Called at every stop; if it returns True, the loop saves a checkpoint and
            ends.
        recent_losses: Losses since the last logged step, (K, R), for the stop rules; None if the
            stack continues from a logged step.
        observers: Called at every stop.
        until: The step at which training ends for now, as at a rung of halving: runs are evaluated
            there and can be resumed. None trains to the last step.

    Returns:
        Whether the stack was finished; False if it was paused.
    """
    config, log_every = stack.config, stack.runs[0].log_every
    end = config.steps if until is None else min(until, config.steps)
    sets = stack.task.evaluation_sets(config.evaluate.samples)
    groups = make_groups(stack.task, config.evaluate.factors, sets[""]) if "" in sets else ()
    pending = _Pending()
    recent = [] if recent_losses is None else [recent_losses]
    if stack.step == 0:
        _add_evaluation(pending.rows, stack, _evaluate(stack, sets, groups))
        pending.earlier += [(run.id, stack.state(i)) for i, run in enumerate(stack.runs)]
    for observer in observers:
        observer.begin(stack)
        _add_records(pending.rows, stack.step, observer.records())
    while stack.runs:
        step = min(end, _next_stop(stack.step, config, log_every, observers))
        advance = stack.advance(step - stack.step)
        recent.append(advance.losses)
        diverged = _add_rows(pending.rows, stack, advance)
        _add_watched(pending.watched, stack, advance, diverged)
        for observer in observers:
            observer.stopped(stack, advance)
            _add_records(pending.rows, stack.step, observer.records())
        logged = logs(step, log_every) or step == config.steps
        checkpointer.progress(step, len(stack.runs), _mean_loss(advance.losses[-1]))
        evaluated = None
        if step % config.evaluate.every == 0 or step == end:
            evaluated = _evaluate(stack, sets, groups)
            _add_evaluation(pending.rows, stack, evaluated)
        stopped = _stopped(stack, rules, evaluated, np.concatenate(recent) if logged else None)
        if logged:
            recent = []
        if stopped and evaluated is None:
            _add_evaluation(pending.rows, stack, _evaluate(stack, sets, groups))
        _observe_ends(pending.rows, stack, advance, stopped, observers)
        at_end, paused = step == end, should_pause()
        logarithmic = config.snapshots.logarithmic and step & (step - 1) == 0
        periodic = step % config.snapshots.every == 0
        due = time.perf_counter() - pending.since > SECONDS_BETWEEN_CHECKPOINTS
        ended = set(diverged) | set(stopped)
        if at_end or periodic or ended or paused or due:
            permanent = periodic or logarithmic or step == config.steps
            _checkpoint(stack, checkpointer, pending, diverged, stopped, rolling=not permanent)
            pending = _Pending()
        elif logarithmic:
            pending.earlier += [(run.id, stack.state(i)) for i, run in enumerate(stack.runs)]
        if at_end:
            return True
        if ended:
            left = [i for i, run in enumerate(stack.runs) if run.id not in ended]
            stack.narrow(left)
            recent = [losses[:, left] for losses in recent]
        if paused and stack.runs:
            return False
    return True


def _mean_loss(losses: NDArray[np.float64]) -> float:
    """The mean of the finite losses; NaN if there are none."""
    finite = losses[np.isfinite(losses)]
    return float(finite.mean()) if len(finite) else math.nan


def _next_stop(
    step: int, config: TrainConfig, log_every: Every, observers: Sequence[Observer]
) -> int:
    """The next step at which the loop has something to do."""
    stops = [config.steps, step + _MAX_STRIDE, next_logged(step, log_every)]
    stops += [
        (step // every + 1) * every for every in (config.evaluate.every, config.snapshots.every)
    ]
    wanted = [observer.next_stop(step) for observer in observers]
    stops += [each for each in wanted if each is not None]
    if config.snapshots.logarithmic:
        stops.append(1 << step.bit_length() if step else 1)
    return min(stops)


def _add_rows(rows: list[dict[str, Any]], stack: Stack, advance: Advance) -> dict[str, int]:
    """Adds each step's training loss; returns the step at which each run diverged.

    A run that has restarts left does not diverge; its losses are stored as they are.
    """
    steps = len(advance.losses)
    first = stack.step - steps + 1
    log_every = stack.runs[0].log_every
    diverged: dict[str, int] = {}
    restarts = {(each.run, each.step): each.back_to for each in advance.restarts}
    for r, run in enumerate(stack.runs):
        bad = np.flatnonzero(advance.fatal[:, r])
        count = steps if not len(bad) else int(bad[0]) + 1
        if len(bad):
            diverged[run.id] = first + count - 1
        for k in range(count):
            row = {"run": run.id, "step": first + k, "train_loss": float(advance.losses[k, r])}
            if logs(first + k, log_every) or first + k == stack.config.steps:
                row["lr"] = float(advance.lrs[k, r])
            if (r, first + k) in restarts:
                row["restart"] = restarts[r, first + k]
            rows.append(row)
        if not len(bad) and (logs(stack.step, log_every) or stack.step == stack.config.steps):
            rows[-1]["grad_norm"] = float(advance.grad_norms[r])
    return diverged


def _add_watched(
    watched: list[WatchedStep], stack: Stack, advance: Advance, diverged: Mapping[str, int]
) -> None:
    """Adds the statistics of the last step, for the runs that reached it."""
    if advance.watched is None:
        return
    assert stack.collector is not None, "a collector watched the step"
    here = [r for r, run in enumerate(stack.runs) if diverged.get(run.id, stack.step) == stack.step]
    ids = tuple(stack.runs[r].id for r in here)
    watched.append(WatchedStep(stack.step, ids, stack.collector.names, advance.watched[here]))


def _add_records(
    rows: list[dict[str, Any]], step: int, records: Mapping[str, Mapping[str, float]]
) -> None:
    """Adds what an observer records to the rows of a step."""
    for row in rows if records else ():
        if row["step"] == step:
            row.update(records.get(row["run"], {}))


def _observe_ends(
    rows: list[dict[str, Any]],
    stack: Stack,
    advance: Advance,
    stopped: Sequence[str],
    observers: Sequence[Observer],
) -> None:
    """Tells observers which runs a stop rule ends, if any, and adds what they record."""
    for observer in observers if stopped else ():
        observer.ended(stack, advance, stopped)
        _add_records(rows, stack.step, observer.records())


def _evaluate(
    stack: Stack, sets: Mapping[str, Batch], groups: Groups
) -> dict[str, NDArray[np.float64]]:
    """The measures of each evaluation set, (R,) each, as ``MEASURE`` or ``MEASURE/SET``.

    Those of groups of tokens, of the set without a name, are ``MEASURE/FACTOR.VALUE``.
    """
    with doing("evaluating"), stack.timings.phase("evaluate"):
        return {
            f"{measure}/{name}" if name else measure: values
            for name, batch in sets.items()
            for measure, values in stack.evaluate(batch, groups=() if name else groups).items()
        }


def _add_evaluation(
    rows: list[dict[str, Any]], stack: Stack, found: dict[str, NDArray[np.float64]]
) -> None:
    """Adds measures to the rows of the stack's step; creates the rows at step 0."""
    at_step = {row["run"]: row for row in rows if row["step"] == stack.step}
    for r, run in enumerate(stack.runs):
        row = at_step.get(run.id)
        if row is None:
            if stack.step > 0:
                continue  # the run diverged before this step
            row = {"run": run.id, "step": 0}
            rows.append(row)
        row |= {f"eval_{name}": float(values[r]) for name, values in found.items()}


def _stopped(
    stack: Stack,
    rules: dict[str, StopRule],
    evaluated: dict[str, NDArray[np.float64]] | None,
    interval: NDArray[np.float64] | None,
) -> list[str]:
    """The runs whose stop rule ends them at this step."""
    stopped = []
    for r, run in enumerate(stack.runs):
        rule = rules.get(run.id)
        if rule is None or stack.step == stack.config.steps:
            continue
        # At the end of a rung, runs are evaluated at other steps too, which would decide nothing
        # if the rung were not there.
        regular = stack.step % stack.config.evaluate.every == 0
        values = evaluated["loss"] if evaluated is not None and regular else None
        if rule.config.measure == "train_loss":
            values = interval.mean(axis=0) if interval is not None else None
        if values is not None and math.isfinite(values[r]) and rule.update(float(values[r])):
            stopped.append(run.id)
    return stopped


def _checkpoint(
    stack: Stack,
    checkpointer: Checkpointer,
    pending: _Pending,
    diverged: dict[str, int],
    stopped: Sequence[str],
    rolling: bool,
) -> None:
    states = {run.id: stack.state(i) for i, run in enumerate(stack.runs) if run.id not in diverged}
    seconds = (time.perf_counter() - pending.since) / len(stack.runs)
    checkpointer.save(
        Checkpoint(
            stack.step,
            pending.rows,
            states,
            pending.earlier,
            rolling,
            diverged,
            list(stopped),
            seconds,
            pending.watched,
        ),
        stack,
    )


def rule_after_stored_steps(
    run: Run, losses: dict[int, float], evaluations: dict[int, float]
) -> tuple[StopRule | None, int | None]:
    """A run's stop rule after it has processed the stored steps, and where it ended the run.

    Args:
        run: The run with its stop rule.
        losses: Training losses by step.
        evaluations: Held-out losses by step.

    Returns:
        The rule, or None if the run has none; and the step at which it ends the run, or None if it
        does not.
    """
    config = run.train.stop
    if config is None:
        return None, None
    rule = StopRule(config)
    if config.measure == "eval_loss":
        # Other experiments may have evaluated this run at other steps.
        values_at = sorted(
            (step, value)
            for step, value in evaluations.items()
            if step > 0 and step % run.train.evaluate.every == 0
        )
    else:
        values_at = []
        before, last = 0, max(losses, default=0)
        while (step := next_logged(before, run.log_every)) <= last:
            interval = [losses.get(s, math.nan) for s in range(before + 1, step + 1)]
            values_at.append((step, float(np.mean(interval))))
            before = step
    for step, value in values_at:
        if step >= run.train.steps:
            break
        if math.isfinite(value) and rule.update(value):
            return rule, step
    return rule, None
