"""Statistics of a run, computed next to the stack that trains it, without changing its results."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ablab.train.method import SOLO, STACK
from ablab.train.run import Run
from ablab.train.stack import Stack
from ablab.watching.step_statistics import StepStatistics


class Shadow:
    """Follows a run of a stack step by step, with more watched than in the stack itself.

    Before each step it copies the run's state and trains the step on the side, alone and eagerly.
    So no statistic changes the stack's own arithmetic.

    Args:
        stack: The stack; its first run is followed.
        patterns: Patterns of the statistics.
        at: Whether to watch a step.
    """

    def __init__(self, stack: Stack, patterns: Sequence[str], at: Callable[[int], bool]) -> None:
        self._stack, self._patterns, self._at = stack, patterns, at
        self._scale = 1.0
        self._side = self._make(1.0)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        assert self._side.collector is not None, "created with a collector"
        return self._side.collector.names

    def _make(self, scale: float) -> Stack:
        stack = self._stack
        run = side_run(stack.runs[0], scale)
        alone = stack.method.engine == "solo" or stack.method.compiled
        state = replace(stack.state(0), recovery=None)
        side = Stack([run], [state], stack.device, SOLO if alone else STACK)
        side.collector = StepStatistics(side, self._patterns, self._at)
        return side

    def follow(self, stack: Stack) -> None:
        """Continues with another stack that is at the same step."""
        self._stack = stack

    def step(self) -> NDArray[np.float64] | None:
        """Trains the next step on the side; returns the statistics (S,), or None if not watched."""
        scale = float(self._stack.lr_scales[0])
        if scale != self._scale:  # recovery has lowered the learning rate
            self._scale, self._side = scale, self._make(scale)
        self._side.load_states(self._stack, 0)
        watched = self._side.advance(1).watched
        return None if watched is None else watched[0]


def side_run(run: Run, lr_scale: float) -> Run:
    """The run as trained on the side: without recovery and without a stop rule."""
    train = run.train.model_copy(
        update={"recover": None, "stop": None, "lr": run.train.lr * lr_scale}
    )
    return replace(run, train=train)
