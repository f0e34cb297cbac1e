"""The loop: trains a stack to its last step, and hands what came of it to a checkpointer."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablab.tasks.base import Batch
from ablab.train.config import TrainConfig
from ablab.train.log_steps import Every, logs, next_logged
from ablab.train.run import Run
from ablab.train.stack import Advance, RunState, Stack
from ablab.train.stopping import StopRule

SECONDS_BETWEEN_CHECKPOINTS = 30.0
_STEPS_BETWEEN_LOOKS = 100  # at the clock and at a wish to pause, however rarely a run logs


@dataclass(frozen=True)
class WatchedStep:
    """A watched step.

    Attributes:
        step: The step.
        runs: The runs' ids (R).
        names: The columns (S).
        values: Their values, (R, S).
    """

    step: int
    runs: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[np.float64]


@dataclass
class Checkpoint:
    """What is to be kept at once: all since the last checkpoint, and where each run stands.

    Attributes:
        step: The stack's step.
        rows: Metrics, a mapping for each run and step.
        states: Each run's state at ``step``, for a resume; not for runs that diverged.
        earlier: Parameters of earlier steps that are to be kept.
        rolling: Whether the states serve a resume alone and may go with the next checkpoint.
        diverged: The step at which a run's loss was not finite, by run.
        stopped: The runs that a stop rule ended at ``step``.
        seconds: The time spent for each run since the last checkpoint.
        watched: The watched steps; of a run that diverged, those up to where it did.
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
    """Where checkpoints go and progress is told."""

    @abstractmethod
    def save(self, checkpoint: Checkpoint, stack: Stack) -> None:
        """Keeps a checkpoint; when it returns, nothing of it can be lost."""

    @abstractmethod
    def progress(self, step: int, runs: int, loss: float) -> None:
        """Told at every logged step: the stack's step, its runs, their mean training loss."""


class Observer(ABC):
    """Is shown a stack at its stops, for what is kept beside its metrics."""

    @abstractmethod
    def begin(self, stack: Stack) -> None:
        """Sees the stack before it is trained on."""

    @abstractmethod
    def next_stop(self, step: int) -> int | None:
        """The next step after ``step`` at which it has to see the stack; None for any will do."""

    @abstractmethod
    def stopped(self, stack: Stack, advance: Advance) -> None:
        """Sees the stack after some steps, before runs leave it."""


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
    before: NDArray[np.float64] | None = None,
    observers: Sequence[Observer] = (),
) -> bool:
    """Trains every run of a stack until it reaches its steps, is stopped or diverges.

    Args:
        stack: The stack; runs leave it as they end.
        checkpointer: Where checkpoints go.
        rules: Stop rules by run, which have seen what was stored before.
        should_pause: Asked at every logged step; if it says so, all is kept and the loop ends.
        before: Where the stack continues between two logged steps, its losses since the first of
            them, of shape (K, R), for the stop rules.
        observers: Who is shown the stack at its stops.

    Returns:
        Whether the stack was finished; False where it was paused.
    """
    config, log_every = stack.config, stack.runs[0].log_every
    sets = stack.task.evaluation_sets(config.evaluate.samples)
    pending = _Pending()
    recent = [] if before is None else [before]
    if stack.step == 0:
        _add_evaluation(pending.rows, stack, _evaluate(stack, sets))
        pending.earlier += [(run.id, stack.state(i)) for i, run in enumerate(stack.runs)]
    for observer in observers:
        observer.begin(stack)
    while stack.runs:
        step = _next_stop(stack.step, config, log_every, observers)
        advance = stack.advance(step - stack.step)
        recent.append(advance.losses)
        diverged = _add_rows(pending.rows, stack, advance)
        _add_watched(pending.watched, stack, advance, diverged)
        for observer in observers:
            observer.stopped(stack, advance)
        logged = logs(step, log_every) or step == config.steps
        checkpointer.progress(step, len(stack.runs), _mean_loss(advance.losses[-1]))
        evaluated = None
        if step % config.evaluate.every == 0 or step == config.steps:
            evaluated = _evaluate(stack, sets)
            _add_evaluation(pending.rows, stack, evaluated)
        stopped = _stopped(stack, rules, evaluated, np.concatenate(recent) if logged else None)
        if logged:
            recent = []
        if stopped and evaluated is None:
            _add_evaluation(pending.rows, stack, _evaluate(stack, sets))
        at_end, paused = step == config.steps, should_pause()
        logarithmic = config.snapshots.logarithmic and step & (step - 1) == 0
        periodic = step % config.snapshots.every == 0
        due = time.perf_counter() - pending.since > SECONDS_BETWEEN_CHECKPOINTS
        ended = set(diverged) | set(stopped)
        if at_end or periodic or ended or paused or due:
            permanent = periodic or logarithmic or at_end
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
    """The mean over the runs whose loss is finite; NaN where none is."""
    finite = losses[np.isfinite(losses)]
    return float(finite.mean()) if len(finite) else math.nan


def _next_stop(
    step: int, config: TrainConfig, log_every: Every, observers: Sequence[Observer]
) -> int:
    """The next step at which something is due."""
    stops = [config.steps, step + _STEPS_BETWEEN_LOOKS, next_logged(step, log_every)]
    stops += [
        (step // every + 1) * every for every in (config.evaluate.every, config.snapshots.every)
    ]
    wishes = [observer.next_stop(step) for observer in observers]
    stops += [wish for wish in wishes if wish is not None]
    if config.snapshots.logarithmic:
        stops.append(1 << step.bit_length() if step else 1)
    return min(stops)


def _add_rows(rows: list[dict[str, Any]], stack: Stack, advance: Advance) -> dict[str, int]:
    """Adds each step's training loss; returns the step at which each run diverged.

    A run that has restarts left does not diverge: its losses are kept as they are.
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
    """Adds what the collector made of the last step, of the runs that came as far."""
    if advance.watched is None:
        return
    assert stack.collector is not None, "somebody watched the step"
    here = [r for r, run in enumerate(stack.runs) if diverged.get(run.id, stack.step) == stack.step]
    ids = tuple(stack.runs[r].id for r in here)
    watched.append(WatchedStep(stack.step, ids, stack.collector.names, advance.watched[here]))


def _evaluate(stack: Stack, sets: Mapping[str, Batch]) -> dict[str, NDArray[np.float64]]:
    """Each run's measures of every set, as ``MEASURE`` or ``MEASURE/NAME``."""
    with stack.timings.phase("evaluate"):
        return {
            f"{measure}/{name}" if name else measure: values
            for name, batch in sets.items()
            for measure, values in stack.evaluate(batch).items()
        }


def _add_evaluation(
    rows: list[dict[str, Any]], stack: Stack, found: dict[str, NDArray[np.float64]]
) -> None:
    """Adds measures to the rows of the stack's step, making them at step 0."""
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
    """The runs whose stop rule says so, from this step's measures."""
    stopped = []
    for r, run in enumerate(stack.runs):
        rule = rules.get(run.id)
        if rule is None or stack.step == stack.config.steps:
            continue
        values = evaluated["loss"] if evaluated is not None else None
        if rule.config.measure == "train_loss":
            values = interval.mean(axis=0) if interval is not None else None
        if values is not None and math.isfinite(values[r]) and rule.look(float(values[r])):
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
    """A run's stop rule after it has looked at what was stored, and where it stopped it.

    Args:
        run: The run with its stop rule.
        losses: Training losses by step.
        evaluations: Held-out losses by step.

    Returns:
        The rule, None where the run has none; and the step at which it ends the run, None where
        it does not within the run's steps.
    """
    config = run.train.stop
    if config is None:
        return None, None
    rule = StopRule(config)
    if config.measure == "eval_loss":
        # Other experiments of this run may have evaluated it at steps of their own.
        looks = sorted(
            (step, value)
            for step, value in evaluations.items()
            if step > 0 and step % run.train.evaluate.every == 0
        )
    else:
        looks = []
        before, last = 0, max(losses, default=0)
        while (step := next_logged(before, run.log_every)) <= last:
            interval = [losses.get(s, math.nan) for s in range(before + 1, step + 1)]
            looks.append((step, float(np.mean(interval))))
            before = step
    for step, value in looks:
        if step >= run.train.steps:
            break
        if math.isfinite(value) and rule.look(value):
            return rule, step
    return rule, None
