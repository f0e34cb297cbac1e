"""Calls users' functions after some steps, which see a run and can record numbers of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ablab.config import load_object
from ablab.config.own_parts import part_error
from ablab.model.base import Model
from ablab.tasks.base import Task
from ablab.train.advance import Advance
from ablab.train.callback_config import KEY, LINES, CallbackConfig
from ablab.train.loop import Observer
from ablab.train.stack import Stack, initial_model

FAMILY = "callback"  # the first part of the names of columns
TRIAL = "trial"  # the id of a run in a trial


class CallbackError(RuntimeError):
    """A user's callback raised."""


@dataclass(frozen=True)
class RunView:
    """What a callback sees of a run after a step.

    Attributes:
        step: The step; 0 is the initial state.
        id: The run's id; ``trial`` in a trial.
        seed: Its seed.
        loss: The training loss of the step, before its update; None at step 0.
        model: A copy of the model after the step, in evaluation mode and on the CPU, wherever the
            run is trained: ``run.model(tokens)`` gives logits (B, T, V). Changes to it do not
            affect the run.
        task: The task.
        trial: Whether this call only looks for errors, before training; nothing that is recorded is
            kept.
        records: What has been recorded, by name.
    """

    step: int
    id: str
    seed: int
    loss: float | None
    model: Model
    task: Task
    trial: bool = False
    records: dict[str, float] = field(default_factory=dict)

    def record(self, name: str, value: Any) -> None:
        """Records a number as the column ``callback/MODULE:FUNCTION/NAME`` of this step.

        Args:
            name: Its name.
            value: A number, or a tensor with one and no axes.

        Raises:
            TypeError: The value is not a number.
        """
        if not (isinstance(value, Real) or (isinstance(value, Tensor) and value.ndim == 0)):
            shape = getattr(value, "shape", None)
            given = type(value).__name__ if shape is None else f"an array of shape {tuple(shape)}"
            raise TypeError(f"record({name!r}, …) got {given}; expected a number, such as x.mean()")
        self.records[str(name)] = float(value)


class CallbackObserver(Observer):
    """Calls a user's function for each run of a stack.

    Args:
        config: The function, and when it is called.
    """

    def __init__(self, config: CallbackConfig) -> None:
        self._config = config
        self._function: Callable[[RunView], Any] = load_object(config.call, KEY)
        self._records: dict[str, dict[str, float]] = {}

    def begin(self, stack: Stack) -> None:
        """Calls it for the initial state, if that is chosen."""
        if stack.step == 0 and self._config.at(0):
            self.look(stack, None)

    def next_stop(self, step: int) -> int | None:
        """The next step after ``step`` at which it is called, or None."""
        return self._config.next_stop(step)

    def stopped(self, stack: Stack, advance: Advance) -> None:
        """Calls it if it is due, and after the last step."""
        if self._config.at(stack.step) or stack.step == stack.config.steps:
            self.look(stack, advance)

    def ended(self, stack: Stack, advance: Advance, runs: Sequence[str]) -> None:
        """Calls it for runs that end, unless it was called for all of them."""
        if not self._config.at(stack.step):
            self.look(stack, advance, runs)

    def records(self) -> Mapping[str, Mapping[str, float]]:
        """What was recorded since the last call, by run and column."""
        records, self._records = self._records, {}
        return records

    def attempt(self, stack: Stack, advance: Advance) -> None:
        """Calls the function for the first run, as a trial, and keeps nothing.

        Raises:
            InputError: It records something other than a number.
            CallbackError: It raises.
        """
        self._see(replace(self._view(stack, advance, 0), id=TRIAL, trial=True))

    def look(
        self, stack: Stack, advance: Advance | None, runs: Sequence[str] | None = None
    ) -> None:
        """Calls the function for each run.

        Args:
            stack: The stack.
            advance: Its last steps; None at step 0.
            runs: The ids of the runs; None for all.

        Raises:
            InputError: It records something other than a number.
            CallbackError: It raises.
        """
        for index, run in enumerate(stack.runs):
            if runs is not None and run.id not in runs:
                continue
            if not bool(stack.theta[index].isfinite().all()):
                continue  # it has diverged
            view = self._view(stack, advance, index)
            self._see(view)
            if view.records:
                prefix = f"{FAMILY}/{self._config.call}"
                columns = {f"{prefix}/{name}": value for name, value in view.records.items()}
                self._records[run.id] = columns

    def _view(self, stack: Stack, advance: Advance | None, index: int) -> RunView:
        """What the function sees of a run."""
        run = stack.runs[index]
        model = initial_model(run).eval()
        views = stack.layout.views(stack.theta[index : index + 1])
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(views[name][0])
        loss = None if advance is None else float(advance.losses[-1, index])
        return RunView(stack.step, run.id, run.seed, loss, model, stack.task)

    def _see(self, view: RunView) -> None:
        """Calls the function for one run.

        Raises:
            InputError: It records something other than a number.
            CallbackError: It raises.
        """
        try:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)
                self._function(view)
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            if isinstance(error, TypeError) and "record(" in str(error):
                raise part_error(KEY, self._config.call, str(error), *LINES) from error
            what = f"the callback {self._config.call} raised after step {view.step}"
            raise CallbackError(f"{what}: {reason}") from error


def callback_observers(stack: Stack) -> list[CallbackObserver]:
    """An observer for each callback of a stack's runs."""
    return [CallbackObserver(each) for each in stack.config.callbacks]
