"""The flight recorder: what happened around a step at which a run went wrong. Axes: K, R, P.

As long as training goes well, the recorder only copies the stack's state from time to time, on the
device. A run is a function of its configuration and seed. So after an incident, the steps around it
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

from ablab.train.advance import Advance
from ablab.train.collector import StatisticsCollector
from ablab.train.loop import Observer
from ablab.train.run import Run
from ablab.train.run_state import RunState
from ablab.train.stack import Stack
from ablab.watching.config import RecorderConfig
from ablab.watching.shadow import Shadow, side_run

_LONGEST = 200  # upper bound on the steps between two stops
# Limit on the steps trained on the side: a fixed number plus a share of all steps trained.
_FREE, _SHARE = 500, 0.05
MakeStatisticsCollector = Callable[[Stack], StatisticsCollector | None]


@dataclass(frozen=True)
class Incident:
    """The record of an incident.

    Attributes:
        run: The run's id.
        step: The step at which it happened.
        about: Its ``reason`` (``jump``, ``not finite`` or ``recovered``), the ``loss`` at that
            step, the largest of the K losses ``before`` it, and the identity of the ``batch``
            (seed, step, and the digest of its tokens).
        names: The names of the statistics (S).
        steps: The recorded steps (K).
        losses: The training losses at these steps, from training them again.
        values: The statistics at these steps, (K, S).
        parameters: The parameters from just before the incident, by name.
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
    """Checks the losses of a stack's runs and records incidents.

    Args:
        config: The recorder's settings.
        keep: Saves a record.
        fail: Called with the reason if an incident cannot be recorded; the runs continue.
        make_collector: Creates the statistics collector of the stack. The steps are trained again
            with the same collector, because tapping a site can change the arithmetic.
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
        self._trained = self._spent = 0  # steps trained in the stack, and on the side

    def begin(self, stack: Stack) -> None:
        """Copies the initial state."""
        self._states.append(_state(stack))

    def next_stop(self, step: int) -> int | None:
        """None: the recorder needs no stops of its own."""
        return None

    def stopped(self, stack: Stack, advance: Advance) -> None:
        """Checks the losses since the last stop, and copies the state from time to time."""
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
            if index in back:  # earlier states belong to the trajectory before the restart
                self._back[run.id] = back[index]
            del seen[: -self._config.steps - _LONGEST]
        if back or stack.step - self._states[-1].step >= self._config.steps:
            self._states.append(_state(stack))
            # The next stop may find an incident just after this one; it needs K steps before it.
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
        """The first step at which the loss jumps, and the step at which a loss ends the run.

        A loss of a task of one's own can be negative, of which no factor is a jump.
        """
        config = self._config
        found: list[tuple[int, str]] = []
        before = np.concatenate([seen[-1:] or losses[:1], losses[:-1]])
        with np.errstate(invalid="ignore"):
            rises = np.flatnonzero((losses > config.jump * before) & (before >= 0))
        for k in rises.tolist():  # a jump also exceeds the loss just before it
            window = [*seen, *losses[:k].tolist()][-config.steps :]
            step = first + k
            cool = step - self._last.get(run, -config.steps) >= config.steps
            enough = 2 * len(window) >= config.steps
            highest = max(window, default=0.0)
            if not enough or not cool or highest < 0 or not np.isfinite(losses[k]):
                continue
            if losses[k] > config.jump * highest:
                found.append((step, "jump"))
                break
        if fatal.any():
            found.append((first + int(np.argmax(fatal)), "not finite"))
        return found

    def _record(self, stack: Stack, run: Run, step: int, reason: str, losses: list[float]) -> None:
        """Records an incident; the last of ``losses`` is the loss at the stack's step."""
        config = self._config
        if reason != "not finite":  # a loss that is not finite ends the run and is always recorded
            full = self._counts.get(run.id, 0) >= config.at_most
            # If the loss jumps often, records would cost more than the training.
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
    """Trains the steps around an incident again, in the same way as before."""
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
    """The identity of the batch of a step."""
    batch = stack.task.draw(run.seed, step, 1, run.train.batch_size)
    return {
        "seed": run.seed,
        "step": step,
        "tokens": hashlib.sha256(batch.tokens.tobytes()).hexdigest()[:16],
    }
