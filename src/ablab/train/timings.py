"""How long the phases of training take: drawing batches, gradients, updates, evaluation."""

import time
from contextlib import AbstractContextManager, nullcontext

import torch

# As they follow each other in a step. A compiled program has no border between forward (with the
# loss) and backward: both are ``gradient`` there.
PHASES = ("data", "forward", "backward", "gradient", "update", "watch", "evaluate")
_WHOLE = ("data", "evaluate")  # of many steps at once
# Where work is only handed over to the device, a phase can be timed only by waiting for its end.
# That costs speed, so few steps are; not the first, in which much happens once.
_SAMPLED_OF, _SAMPLED_AT = 100, 10


class Timings:
    """Sums up the wall time of each phase, and the steps that it was measured on.

    ``data`` and ``evaluate`` are timed whenever they occur; the phases of a step at every step on a
    CPU, at one of a hundred on a device that works by itself.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._waits = device.type != "cpu"
        self._phases = {name: _Phase(device, self._waits) for name in PHASES}
        self._steps = 0
        self._run_steps = 0  # all of them, a step of each run
        self._sampled = 0  # those whose phases were timed
        self._sampling = False

    def begin_step(self, runs: int) -> None:
        """Says that a step of some runs begins; phases until the next belong to it."""
        self._steps += 1
        self._run_steps += runs
        self._sampling = not self._waits or self._steps % _SAMPLED_OF == _SAMPLED_AT
        if self._sampling:
            self._sampled += runs

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Times what is done inside, if it is to be: one of ``PHASES``."""
        return self._phases[name] if self._sampling or name in _WHOLE else _NOTHING

    def per_step(self) -> dict[str, float]:
        """Seconds of each phase that occurred, per step of one run; empty before any step."""
        steps = {name: self._run_steps if name in _WHOLE else self._sampled for name in PHASES}
        return {
            name: phase.seconds / steps[name]
            for name, phase in self._phases.items()
            if phase.seconds and steps[name]
        }


class _Phase(AbstractContextManager[None]):
    """Adds up the time between its beginnings and ends; light, as it is entered at every step."""

    def __init__(self, device: torch.device, waits: bool) -> None:
        self._device, self._waits = device, waits
        self._began = 0.0
        self.seconds = 0.0

    def __enter__(self) -> None:
        if self._waits:
            torch.accelerator.synchronize(self._device)
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        if self._waits:
            torch.accelerator.synchronize(self._device)
        self.seconds += time.perf_counter() - self._began


_NOTHING: AbstractContextManager[None] = nullcontext()
NO_TIMINGS = Timings(torch.device("cpu"))  # never told of a step, so it times none
