"""The flight recorder: what happened around a step at which a run went wrong. Axes: K, R, P.

Nothing is recorded while all is well but now and then a copy of the stack's state, on the device. A
run is a function of its configuration and seed, so when something has happened the steps around it
are trained again on the side, from the last copy before them, with everything watched.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ablab.train.collector import StatisticsCollector
from ablab.train.loop import Observer
from ablab.train.run import Run
from ablab.train.stack import Advance, RunState, Stack
from ablab.watching.config import RecorderConfig
from ablab.watching.shadow import Shadow, side_run

_LONGEST = 200  # steps from one stop to the next, and more
# Steps of one run that may be trained on the side: so many, and this share of all that are trained.
_FREE, _SHARE = 500, 0.05
MakeStatisticsCollector = Callable[[Stack], StatisticsCollector | None]


@dataclass(frozen=True)
class Incident:
    """What is kept of an incident.

    Attributes:
        run: The run.
        step: The step at which it happened.
        about: Its ``reason`` (``jump``, ``not finite`` or ``recovered``), the ``loss`` there and
            the largest of the K losses ``before`` it, the identity of the ``batch`` (seed, step,
            and the digest of its tokens).
        names: The statistics.
        steps: The steps around it.
        losses: Their training losses, as they were trained again.
        values: The statistics at each of them, (K, S).
        parameters: Those from just before the incident, by name.
    """

    run: str
    step: int
    about: dict[str, Any]
    names: tuple[str, ...]
    steps: list[int]
    losses: list[float]
    values: NDArray[np.float64]
    parameters: dict[str, Tensor]


@dataclass(frozen=True)
class _State:
    step: int
    runs: tuple[str, ...]
    theta: Tensor
    optimizer_state: dict[str, Tensor]
    lr_scales: dict[str, float]


class Recorder(Observer):
    """Looks at the losses of a stack's runs, and records incidents.

    Args:
        config: Its settings.
        keep: Keeps a record.
        fail: Told why an incident could not be recorded; the runs go on.
        make_collector: Makes what watches a stack itself, which may have had its part in the
            arithmetic.
    """

    def __init__(
        self,
        config: RecorderConfig,
        keep: Callable[[Incident], None],
        fail: Callable[[str], None],
        make_collector: MakeStatisticsCollector,
    ) -> None:
        self._config, self._keep, self._fail = config, keep, fail
        self._make_collector = make_collector
        self._states: deque[_State] = deque()
        self._losses: dict[str, list[float]] = {}
        self._counts: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._back: dict[str, int] = {}  # the step of a run's last restart
        self._trained = self._spent = 0  # steps of one run, in the stack and on the side

    def begin(self, stack: Stack) -> None:
        """Remembers the state to begin with."""
        self._states.append(_state(stack))

    def next_stop(self, step: int) -> int | None:
        """Any stops will do."""
        return None

    def stopped(self, stack: Stack, advance: Advance) -> None:
        """Looks at the losses since the last stop, and remembers the state now and then."""
        first = stack.step - len(advance.losses) + 1
        self._trained += advance.losses.size
        back = {each.run: each.step for each in advance.restarts}
        for index, run in enumerate(stack.runs):
            losses = advance.losses[:, index]
            seen = self._losses.setdefault(run.id, [])
            found = self._incidents(run.id, seen, losses, advance.fatal[:, index], first)
            if index in back:
                found.append((back[index], "recovered"))
            seen += losses.tolist()
            for step, reason in found:
                self._record(stack, run, step, reason, seen)
            if index in back:  # what was before belongs to another course
                self._back[run.id] = back[index]
            del seen[: -self._config.steps - _LONGEST]
        if back or stack.step - self._states[-1].step >= self._config.steps:
            self._states.append(_state(stack))
            # What is found at the next stop may lie as far back as this one, and K steps beyond.
            while len(self._states) > 2 and self._states[1].step <= stack.step - self._config.steps:
                self._states.popleft()

    def _incidents(
        self,
        run: str,
        seen: list[float],
        losses: NDArray[np.float64],
        fatal: NDArray[np.bool_],
        first: int,
    ) -> list[tuple[int, str]]:
        """The first step of some at which the loss jumps, and that at which it ends the run."""
        config = self._config
        found: list[tuple[int, str]] = []
        before = np.concatenate([seen[-1:] or losses[:1], losses[:-1]])
        with np.errstate(invalid="ignore"):
            rises = np.flatnonzero(losses > config.jump * before)
        for k in rises.tolist():  # a jump is one over the loss just before it, too
            window = [*seen, *losses[:k].tolist()][-config.steps :]
            step = first + k
            cool = step - self._last.get(run, -config.steps) >= config.steps
            enough = 2 * len(window) >= config.steps
            if enough and cool and losses[k] > config.jump * max(window) and np.isfinite(losses[k]):
                found.append((step, "jump"))
                break
        if fatal.any():
            found.append((first + int(np.argmax(fatal)), "not finite"))
        return found

    def _record(self, stack: Stack, run: Run, step: int, reason: str, losses: list[float]) -> None:
        """Records an incident; ``losses`` end with that of the stack's step."""
        config = self._config
        if reason != "not finite":  # which ends a run, and is always kept
            full = self._counts.get(run.id, 0) >= config.at_most
            # Where everything jumps, records would cost more than the training.
            if full or self._spent > _FREE + _SHARE * self._trained:
                return
            self._counts[run.id] = self._counts.get(run.id, 0) + 1
        self._last[run.id] = step
        since = self._back.get(run.id, 0)
        states = [
            each for each in self._states if run.id in each.runs and since <= each.step < step
        ]
        if not states:
            return
        before = step - config.steps - 1
        state = next((each for each in reversed(states) if each.step <= before), states[0])
        place = len(losses) - (stack.step - step) - 1
        at = losses[place]
        about = {
            "reason": reason,
            "loss": at if np.isfinite(at) else None,
            "before": max(losses[max(0, place - config.steps) : place], default=None),
            "batch": _batch_identity(stack, run, step),
        }
        self._spent += 2 * (step + config.after - state.step)
        try:
            self._keep(_rerun(stack, run, state, step, about, config, self._make_collector))
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self._fail(f"step {step} of run {run.id} could not be recorded: {reason}")


def _state(stack: Stack) -> _State:
    scales = stack.lr_scales
    return _State(
        stack.step,
        tuple(run.id for run in stack.runs),
        stack.theta.clone(),
        {name: slot.clone() for name, slot in stack.optimizer_state.items()},
        {run.id: float(scales[index]) for index, run in enumerate(stack.runs)},
    )


def _rerun(
    stack: Stack,
    run: Run,
    state: _State,
    step: int,
    about: dict[str, Any],
    config: RecorderConfig,
    make_collector: MakeStatisticsCollector,
) -> Incident:
    """Trains the steps around an incident again, as they were trained."""
    index = state.runs.index(run.id)
    own = RunState(
        state.step,
        state.theta[index],
        {name: slot[index] for name, slot in state.optimizer_state.items()},
    )
    again = side_run(run, state.lr_scales[run.id])
    side = Stack([again], [own], stack.device, stack.method)
    side.collector = make_collector(side)
    first = max(state.step + 1, step - config.steps)
    shadow = Shadow(side, config.statistics, lambda each: each >= first)
    after = config.after if about["reason"] == "jump" else 0
    end = min(step + after, run.train.steps)
    steps, losses, values = [], [], []
    parameters: dict[str, Tensor] = {}
    while side.step < end:
        if side.step == step - 1:
            views = side.layout.views(side.theta)
            parameters = {name: view[0].detach().cpu().clone() for name, view in views.items()}
        found = shadow.step() if side.step + 1 >= first - 1 else None
        loss = float(side.advance(1).losses[-1, 0])
        if side.step >= first:
            steps.append(side.step)
            losses.append(loss)
        if found is not None:
            values.append(found)
    table = np.stack(values) if values else np.empty((len(steps), 0))
    return Incident(run.id, step, about, shadow.names, steps, losses, table, parameters)


def _batch_identity(stack: Stack, run: Run, step: int) -> dict[str, Any]:
    """What says which batch a step was trained on."""
    batch = stack.task.draw(run.seed, step, 1, run.train.batch_size)
    return {
        "seed": run.seed,
        "step": step,
        "tokens": hashlib.sha256(batch.tokens.tobytes()).hexdigest()[:16],
    }
