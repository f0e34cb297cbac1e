"""Statistics beside a stack: taken from its states and batches, without a trace in them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ablab.train.method import SOLO, STACK
from ablab.train.run import Run
from ablab.train.stack import Stack
from ablab.watching.step_statistics import StepStatistics


class Shadow:
    """Follows a run of a stack, step for step, with more watched than the stack itself.

    Before each step it takes the run's state over and trains the step on the side, alone and
    eagerly. So whatever is read, the stack's own arithmetic is not touched.

    Args:
        stack: The stack; its first run is followed.
        patterns: Which statistics.
        at: At which steps.
    """

    def __init__(self, stack: Stack, patterns: Sequence[str], at: Callable[[int], bool]) -> None:
        self._stack, self._patterns, self._at = stack, patterns, at
        self._scale = 1.0
        self._side = self._make(1.0)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        assert self._side.collector is not None, "it is made with one"
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
        """Goes on with another stack, which stands where the last one did."""
        self._stack = stack

    def step(self) -> NDArray[np.float64] | None:
        """Trains the stack's next step on the side; the statistics (S,), None where not watched."""
        scale = float(self._stack.lr_scales[0])
        if scale != self._scale:  # recovery has lowered the learning rate
            self._scale, self._side = scale, self._make(scale)
        self._side.load_states(self._stack, 0)
        watched = self._side.advance(1).watched
        return None if watched is None else watched[0]


def side_run(run: Run, lr_scale: float) -> Run:
    """A run as it is trained on the side, step for step: it never goes back, nor stops."""
    train = run.train.model_copy(
        update={"recover": None, "stop": None, "lr": run.train.lr * lr_scale}
    )
    return replace(run, train=train)
