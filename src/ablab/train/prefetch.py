"""The inputs of training steps, prepared some steps ahead. Axes: K steps, R runs, B, T; N words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablab.tasks.base import Task
from ablab.train.batches import Batches
from ablab.train.dropout import dropout_words
from ablab.train.optimizer import Optimizer, Scalars
from ablab.train.recovery import Recovery
from ablab.train.run import Run
from ablab.train.step_scalars import step_scalars

_DRAW_BYTES = 32 * 2**20  # the limit of the memory for prefetched data


class StepInputs(NamedTuple):
    """The inputs of one step.

    Attributes:
        batches: The batches, with the leading axis R.
        lrs: Learning rates, (R,), on the host.
        scalars: The optimizer's numbers by name, (R, 1) each.
    """

    batches: Batches
    lrs: NDArray[np.float64]
    scalars: Scalars


@dataclass(frozen=True)
class _Prefetched:
    first: int
    count: int
    batches: Batches
    lrs: NDArray[np.float64]
    scalars: dict[str, Tensor]


class Prefetcher:
    """Prefetches batches, dropout words and the optimizer's numbers for the next steps.

    All of these are functions of (seed, step), so results do not depend on how many steps are
    prefetched.

    Args:
        runs: The runs.
        task: Their task.
        optimizer: The optimizer, which computes its numbers for a step.
        noise_sizes: Random words per sample that each dropout mask needs.
        like: A tensor with the device and dtype for the optimizer's numbers.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        task: Task,
        optimizer: Optimizer[Any],
        noise_sizes: Sequence[int],
        like: Tensor,
    ) -> None:
        self._runs, self._task, self._optimizer = list(runs), task, optimizer
        self._config = runs[0].train
        self._noise_sizes = noise_sizes
        self._like = like
        self._ahead: _Prefetched | None = None

    def at(
        self, step: int, recovery: Recovery | None, arrange: Callable[[Batches], Batches]
    ) -> StepInputs:
        """The inputs of step ``step``.

        Args:
            step: The step, starting at 1.
            recovery: The recovery of the runs, which may change learning rates at its checks.
            arrange: Converts batches to the memory layout in which gradients are computed.
        """
        ahead = self._ahead
        if ahead is None or not ahead.first <= step < ahead.first + ahead.count:
            count = self._steps_ahead(step, recovery)
            batches = arrange(self.draw(step, count))
            scales = None if recovery is None else recovery.lr_scales
            lrs, table = step_scalars(self._runs, self._optimizer, step, count, scales)
            scalars = {
                name: torch.from_numpy(values).to(self._like.device, self._like.dtype)
                for name, values in table.items()
            }
            ahead = self._ahead = _Prefetched(step, count, batches, lrs, scalars)
        k = step - ahead.first
        return StepInputs(
            ahead.batches.at(k),
            ahead.lrs[k],
            {name: values[k] for name, values in ahead.scalars.items()},
        )

    def forget(self) -> None:
        """Drops prefetched data, after a change of the memory layout."""
        self._ahead = None

    def narrow(self, indices: Sequence[int]) -> None:
        """Narrows to some of the runs."""
        self._runs = [self._runs[i] for i in indices]
        self._ahead = None

    def draw(self, first: int, count: int) -> Batches:
        """Draws batches and dropout words for some steps, with the leading axes (K, R, B)."""
        samples = self._config.batch_size
        drawn = [self._task.draw(run.seed, first, count, samples) for run in self._runs]
        tokens = np.stack([batch.tokens for batch in drawn], axis=1)
        targets = np.stack([batch.targets for batch in drawn], axis=1)
        noise = None
        if self._noise_sizes:
            words = [
                dropout_words(run.seed, first, count, samples, self._noise_sizes)
                for run in self._runs
            ]
            noise = torch.from_numpy(np.stack(words, axis=1))
        batches = Batches(torch.from_numpy(tokens), torch.from_numpy(targets), noise)
        return batches.map(lambda tensor: tensor.to(self._like.device))

    def _steps_ahead(self, step: int, recovery: Recovery | None) -> int:
        """The number of steps to prefetch, within the memory limit."""
        row = self._config.batch_size * (
            16 * self._runs[0].task.input_length + 2 * sum(self._noise_sizes)
        )
        ahead = max(1, min(100, _DRAW_BYTES // (row * len(self._runs))))
        ahead = min(ahead, max(1, self._config.steps - step + 1))
        # A check of recovery may change the learning rate.
        return ahead if recovery is None else min(ahead, recovery.until_check(step - 1))
