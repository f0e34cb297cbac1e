"""The inputs of training steps, prepared some steps ahead. Axes: K steps, R runs, B, T; N words."""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablab.tasks.base import Task
from ablab.train.batches import Batches
from ablab.train.dropout import dropout_words
from ablab.train.optimizer import Optimizer
from ablab.train.recovery import Recovery
from ablab.train.run import Run
from ablab.train.step_scalars import step_scalars

# Limits of the memory for prefetched data, on a CPU and on other devices, which may have two such.
_DRAW_BYTES, _DRAW_BYTES_BESIDE = 32 * 2**20, 64 * 2**20
_FIRST_STEPS = 8  # drawn before the first step; later, as many as fit, or a hundred


class StepInputs(NamedTuple):
    """The inputs of one step.

    Attributes:
        batches: The batches, with the leading axis R.
        lrs: Learning rates, (R,), on the host.
        names: The names of the optimizer's numbers (S).
        numbers: Their values, (S, R, 1).
    """

    batches: Batches
    lrs: NDArray[np.float64]
    names: tuple[str, ...]
    numbers: Tensor


@dataclass(frozen=True)
class _Prefetched:
    first: int
    count: int
    batches: Batches
    lrs: NDArray[np.float64]
    names: tuple[str, ...]
    numbers: Tensor  # (K, S, R, 1)


class Prefetcher:
    """Prefetches batches, dropout words and the optimizer's numbers for the next steps.

    All of these are functions of (seed, step), so results do not depend on how many steps are
    prefetched. Where the device is not the CPU, a thread draws the next steps' batches meanwhile,
    into memory from which the device can copy by itself.

    Args:
        runs: The runs.
        task: Their task.
        optimizer: The optimizer, which computes its numbers for a step.
        noise_sizes: Random words per sample that each dropout mask needs.
        like: A tensor with the device and dtype for the optimizer's numbers.
        beside: Whether batches are drawn beside training; by default where it is not on the CPU.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        task: Task,
        optimizer: Optimizer[Any],
        noise_sizes: Sequence[int],
        like: Tensor,
        beside: bool | None = None,
    ) -> None:
        self._runs, self._task, self._optimizer = list(runs), task, optimizer
        self._config = runs[0].train
        self._noise_sizes = noise_sizes
        self._like = like
        beside = like.device.type != "cpu" if beside is None else beside
        self._thread = ThreadPoolExecutor(1, "ablab-draws") if beside else None
        self._pinned = like.device.type == "cuda"
        self._needless = Event()  # what is being drawn beside training
        self._most = _FIRST_STEPS
        self._ahead: _Prefetched | None = None
        self._next: tuple[int, int, Future[Batches]] | None = None  # first step, steps, batches

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
            self._most = 100
            drawn = self._drawn(step, count)
            self._draw_beside(step + count, recovery)
            batches = arrange(self._moved(drawn))
            scales = None if recovery is None else recovery.lr_scales
            found = step_scalars(self._runs, self._optimizer, step, count, scales)
            numbers = self._to_device(torch.from_numpy(found.values).to(self._like.dtype))
            ahead = _Prefetched(step, count, batches, found.lrs, found.names, numbers)
            self._ahead = ahead
        k = step - ahead.first
        return StepInputs(ahead.batches.at(k), ahead.lrs[k], ahead.names, ahead.numbers[k])

    def forget(self) -> None:
        """Drops prefetched data, after a change of the memory layout."""
        self._ahead = None

    def narrow(self, indices: Sequence[int], optimizer: Optimizer[Any]) -> None:
        """Narrows to some of the runs, whose optimizer is another object."""
        self._runs, self._optimizer = [self._runs[i] for i in indices], optimizer
        self._needless.set()
        self._needless = Event()
        self._ahead = self._next = None

    def draw(self, first: int, count: int) -> Batches:
        """Draws batches and dropout words for some steps, with the leading axes (K, R, B)."""
        return self._moved(self._draw(self._runs, first, count))

    def _drawn(self, first: int, count: int) -> Batches:
        """The batches of some steps on the host, from the thread if it has drawn them."""
        waiting, self._next = self._next, None
        if waiting is not None and waiting[:2] == (first, count):
            return waiting[2].result()
        return self._draw(self._runs, first, count)

    def _draw_beside(self, step: int, recovery: Recovery | None) -> None:
        """Lets the thread draw the batches that follow, if there is one."""
        if self._thread is not None and step <= self._config.steps:
            count = self._steps_ahead(step, recovery)
            drawn = self._thread.submit(self._draw, self._runs, step, count, self._needless)
            self._next = step, count, drawn

    def close(self) -> None:
        """Ends what is drawn beside training; later batches are drawn when they are needed."""
        self._needless.set()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        self._thread = self._next = None

    def _draw(
        self, runs: Sequence[Run], first: int, count: int, needless: Event | None = None
    ) -> Batches:
        """Draws on the host, run by run, each into its place.

        Raises:
            CancelledError: Nobody needs it any more.
        """
        samples, sizes = self._config.batch_size, self._noise_sizes
        tensors: list[Tensor] = []
        for r, run in enumerate(runs):
            if needless is not None and needless.is_set():
                raise CancelledError
            batch = self._task.draw(run.seed, first, count, samples)
            drawn: list[NDArray[Any]] = [np.asarray(batch.tokens), np.asarray(batch.targets)]
            if sizes:
                drawn.append(dropout_words(run.seed, first, count, samples, sizes))
            if not tensors:
                tensors = [self._empty(each, len(runs)) for each in drawn]
            for place, each in zip(tensors, drawn, strict=True):
                _write(place.numpy(), r, each, run)
        return Batches(tensors[0], tensors[1], tensors[2] if sizes else None)

    def _empty(self, one: NDArray[Any], runs: int) -> Tensor:
        """Memory for what one run has drawn, (K, …), of all runs, (K, R, …)."""
        shape = (one.shape[0], runs, *one.shape[1:])
        like = torch.from_numpy(np.empty(0, one.dtype.newbyteorder("=")))
        return torch.empty(shape, dtype=like.dtype, pin_memory=self._pinned)

    def _moved(self, batches: Batches) -> Batches:
        return batches.map(self._to_device)

    def _to_device(self, tensor: Tensor) -> Tensor:
        """Copies to the device, which does it by itself out of pinned memory."""
        if self._pinned and not tensor.is_pinned():
            tensor = tensor.pin_memory()
        return tensor.to(self._like.device, non_blocking=self._pinned)

    def _steps_ahead(self, step: int, recovery: Recovery | None) -> int:
        """The number of steps to prefetch, within the memory limit."""
        row = self._config.batch_size * (
            16 * self._runs[0].task.input_length + 2 * sum(self._noise_sizes)
        )
        limit = _DRAW_BYTES if self._thread is None else _DRAW_BYTES_BESIDE
        ahead = max(1, min(self._most, limit // (row * len(self._runs))))
        ahead = min(ahead, max(1, self._config.steps - step + 1))
        # A check of recovery may change the learning rate.
        return ahead if recovery is None else min(ahead, recovery.until_check(step - 1))


def _write(place: NDArray[Any], r: int, drawn: NDArray[Any], run: Run) -> None:
    """Writes what a run has drawn, (K, …), to its place among all, (K, R, …).

    Raises:
        ValueError: Its shape or dtype is not that of the first run.
    """
    wanted = (place.shape[0], *place.shape[2:])
    dtype = drawn.dtype.newbyteorder("=")
    if drawn.shape != wanted or dtype != place.dtype:
        raise ValueError(
            f"the task's draw gives {dtype} of shape {drawn.shape} for seed {run.seed}, and "
            f"{place.dtype} of shape {wanted} for another; expected the same"
        )
    place[:, r] = drawn
