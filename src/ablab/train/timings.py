"""Seconds of each phase of training: drawing batches, gradients, updates, evaluation."""

import time
from contextlib import AbstractContextManager, nullcontext

import torch

from ablab.train.host import finish

# In the order of a step. A compiled program does not separate forward (with the loss) and backward;
# both are reported as ``gradient``.
PHASES = ("data", "forward", "backward", "gradient", "update", "watch", "evaluate")
_ALWAYS = ("data", "evaluate")  # phases that cover many steps at once
_ON_HOST = "data"  # beside what the device does
# On an asynchronous device, timing a phase requires synchronization, which is slow. So only some
# steps are timed, but not the first, which includes one-time work, and none that is mostly watched.
_SAMPLED_OF, _SAMPLED_AT = 100, 13


class Timings:
    """Measures the wall time of each phase.

    ``data`` and ``evaluate`` are always timed; ``data`` on the host, without waiting for the
    device. The phases of a step are timed at every step on a CPU, and at one step in a hundred on
    an asynchronous device.

    Args:
        device: The device of the stack.
    """

    def __init__(self, device: torch.device) -> None:
        self._synchronizes = device.type != "cpu"
        self._phases = {
            name: _Phase(device, self._synchronizes and name != _ON_HOST) for name in PHASES
        }
        self._steps = 0
        self._run_steps = 0  # steps times runs
        self._sampled = 0  # the same, for timed steps only
        self._sampling = False

    def begin_step(self, runs: int) -> None:
        """Begins a step of some runs; later phases belong to it."""
        self._steps += 1
        self._run_steps += runs
        self._sampling = not self._synchronizes or self._steps % _SAMPLED_OF == _SAMPLED_AT
        if self._sampling:
            self._sampled += runs

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A context that times one of ``PHASES``, if this step is timed."""
        return self._phases[name] if self._sampling or name in _ALWAYS else _NOTHING

    def seconds(self, name: str) -> float:
        """Seconds spent in a phase so far; of a phase that is not always timed, in timed steps."""
        return self._phases[name].seconds

    def count(self, name: str) -> int:
        """How many times a phase was timed so far."""
        return self._phases[name].count

    def per_step(self) -> dict[str, float]:
        """Seconds of each phase per step of one run; only phases that occurred."""
        steps = {name: self._run_steps if name in _ALWAYS else self._sampled for name in PHASES}
        return {
            name: phase.seconds / steps[name]
            for name, phase in self._phases.items()
            if phase.seconds and steps[name]
        }


class _Phase(AbstractContextManager[None]):
    """Adds up the time spent in it. Not a generator, because it is entered at every step."""

    def __init__(self, device: torch.device, synchronizes: bool) -> None:
        self._device, self._synchronizes = device, synchronizes
        self._began = 0.0
        self.seconds = 0.0
        self.count = 0

    def __enter__(self) -> None:
        if self._synchronizes:
            finish(self._device)
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        if self._synchronizes:
            finish(self._device)
        self.seconds += time.perf_counter() - self._began
        self.count += 1


_NOTHING: AbstractContextManager[None] = nullcontext()
NO_TIMINGS = Timings(torch.device("cpu"))  # has no steps, so it times nothing
