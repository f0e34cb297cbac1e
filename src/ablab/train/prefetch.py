"""What steps are trained on, drawn some steps ahead. Axes: K steps, R runs, B, T; N noise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablab.tasks.base import Task
from ablab.tasks.random import Stream, words
from ablab.train.gradients import Batches
from ablab.train.optimizer import Optimizer, Scalars
from ablab.train.recovery import Recovery
from ablab.train.run import Run
from ablab.train.schedules import factors

_DRAW_BYTES = 32 * 2**20  # how much is drawn ahead at most


class StepInputs(NamedTuple):
    """The inputs of one step.

    Attributes:
        batches: Its batches, with the leading axis R.
        lrs: Learning rates, (R,), on the host.
        scalars: The optimizer's numbers by name, each (R, 1).
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
    """Batches batches, dropout words and settings for some runs, some steps ahead.

    All of it is a function of (seed, step), so how far ahead it is drawn changes nothing.

    Args:
        runs: The runs.
        task: Their task.
        optimizer: Whose numbers are worked out.
        noise_sizes: Words that each dropout mask of a sample inputs.
        like: A tensor of the device and type that settings shall have.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        task: Task,
        optimizer: Optimizer,
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
            step: The step, from 1.
            recovery: That of the runs; after a look of it learning rates may be others.
            arrange: Puts draws into the order that gradients are computed in.
        """
        ahead = self._ahead
        if ahead is None or not ahead.first <= step < ahead.first + ahead.count:
            count = self._steps_ahead(step, recovery)
            batches = arrange(self.draw(step, count))
            lrs, scalars = self._scalars(step, count, recovery)
            ahead = self._ahead = _Prefetched(step, count, batches, lrs, scalars)
        k = step - ahead.first
        return StepInputs(
            ahead.batches.at(k),
            ahead.lrs[k],
            {name: values[k] for name, values in ahead.scalars.items()},
        )

    def forget(self) -> None:
        """Lets go of what was drawn ahead: it is to be arranged otherwise from now on."""
        self._ahead = None

    def narrow(self, indices: Sequence[int]) -> None:
        """Narrows to some of the runs."""
        self._runs = [self._runs[i] for i in indices]
        self._ahead = None

    def draw(self, first: int, count: int) -> Batches:
        """Batches and dropout's words of some steps, with the leading axes (K, R, B)."""
        samples = self._config.batch_size
        drawn_batches = [self._task.draw(run.seed, first, count, samples) for run in self._runs]
        tokens = np.stack([batch.tokens for batch in drawn_batches], axis=1)
        targets = np.stack([batch.targets for batch in drawn_batches], axis=1)
        noise = None
        if self._noise_sizes:
            drawn = [
                dropout_words(run.seed, first, count, samples, self._noise_sizes)
                for run in self._runs
            ]
            noise = torch.from_numpy(np.stack(drawn, axis=1))
        batches = Batches(torch.from_numpy(tokens), torch.from_numpy(targets), noise)
        return batches.map(lambda tensor: tensor.to(self._like.device))

    def _steps_ahead(self, step: int, recovery: Recovery | None) -> int:
        """How many steps are drawn at once, within a bound on memory."""
        row = self._config.batch_size * (
            16 * self._runs[0].task.input_length + 2 * sum(self._noise_sizes)
        )
        ahead = max(1, min(100, _DRAW_BYTES // (row * len(self._runs))))
        ahead = min(ahead, max(1, self._config.steps - step + 1))
        # After a look the learning rate may be another.
        return ahead if recovery is None else min(ahead, recovery.until_look(step - 1))

    def _scalars(
        self, first: int, count: int, recovery: Recovery | None
    ) -> tuple[NDArray[np.float64], dict[str, Tensor]]:
        """Learning rates (K, R), and the optimizer's numbers by name, each (K, R, 1)."""
        lrs = np.empty((count, len(self._runs)))
        table: dict[str, NDArray[np.float64]] = {}
        for r, run in enumerate(self._runs):
            config = run.train
            rates = config.lr * factors(config.schedule, config.schedule_total, first, count)
            if recovery is not None:
                rates = rates * recovery.lr_scales[r]
            lrs[:, r] = rates
            for k in range(count):
                numbers = self._optimizer.scalars(config, first + k, float(rates[k]))
                if config.clip_norm is not None:
                    numbers["clip_norm"] = config.clip_norm
                for name, value in numbers.items():
                    if name not in table:
                        table[name] = np.empty((count, len(self._runs), 1))
                    table[name][k, r, 0] = value
        scalars = {
            name: torch.from_numpy(values).to(self._like.device, self._like.dtype)
            for name, values in table.items()
        }
        return lrs, scalars


def dropout_words(
    seed: int, first_step: int, steps: int, samples: int, sizes: Sequence[int]
) -> NDArray[np.int16]:
    """The random words of dropout, a function of (seed, step) alone.

    Args:
        seed: The run's seed.
        first_step: The first step.
        steps: How many steps (K).
        samples: Samples in a batch (B).
        sizes: Words that each mask of a sample inputs. A step's words are drawn mask by mask, each
            mask for the whole batch.

    Returns:
        An array of shape (K, B, N), N the sum of the sizes.
    """
    count = samples * sum(sizes)
    raw = words(seed, Stream.DROPOUT, first_step, steps, -(-count // 4))
    flat = np.ascontiguousarray(raw).view("<i2")[:, :count]
    masks, start = [], 0
    for size in sizes:
        masks.append(flat[:, start : start + samples * size].reshape(steps, samples, size))
        start += samples * size
    return np.concatenate(masks, axis=-1)
