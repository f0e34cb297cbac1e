"""The time left while an experiment is trained, from the speed of each stack."""

import heapq
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ablab.execute.plan import Plan, PlannedStack


@dataclass
class _Begun:
    """A stack that a process trains.

    Attributes:
        began: When it was claimed.
        done: Run-steps trained since then.
        left: Run-steps left.
        first: When the first progress was reported, and how many run-steps had been trained then.
        last: The same for the latest progress.
        ended: When its runs ended; None if they have not.
    """

    began: float
    done: int = 0
    left: int = 0
    first: tuple[float, int] | None = None
    last: tuple[float, int] | None = None
    ended: float | None = None

    @property
    def step_seconds(self) -> float | None:
        """Measured seconds per run-step; None until two reports are apart."""
        if self.first is None or self.last is None or self.last[1] == self.first[1]:
            return None
        return (self.last[0] - self.first[0]) / (self.last[1] - self.first[1])


@dataclass
class TimeLeft:
    """Estimates the time until all stacks of a plan are done.

    A stack that is being trained takes what its measured speed says. One that has not begun takes
    its estimate, times the ratio of actual to estimated time of those that have. Runs with a stop
    rule end where the plan expects them to; those that go on beyond are trained to their last step.

    Attributes:
        plan: The plan.
        steps: Steps requested, by run id.
        left: Steps left when training began, by run id.
        clock: Seconds of a clock.
    """

    plan: Plan
    steps: Mapping[str, int]
    left: Mapping[str, int]
    clock: Callable[[], float] = time.monotonic
    _begun: dict[int, _Begun] = field(default_factory=dict)
    _step: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._step |= {run: self.steps[run] - left for run, left in self.left.items()}

    def event(self, event: Mapping[str, Any]) -> None:
        """Handles an event of :class:`ablab.execute.queue.StackQueue`."""
        match event["event"]:
            case "claimed":
                self._begun[event["stack"]] = _Begun(self.clock(), left=self._run_steps(event))
            case "progress":
                self._progress(event)
            case "ended":
                self._ended(event["ids"])

    def seconds(self) -> float | None:
        """The time left in seconds; None before any stack has a measured speed."""
        ratio = self._ratio()
        if ratio is None:
            return None
        now = self.clock()
        free = [
            self._remaining(number, begun, ratio, now)
            for number, begun in self._begun.items()
            if begun.ended is None
        ]
        free += [0.0] * (self.plan.workers - len(free))
        heapq.heapify(free)
        for number, stack in enumerate(self.plan.stacks):
            if number not in self._begun and self._is_unfinished(stack):
                heapq.heapreplace(free, free[0] + stack.seconds * ratio)
        return max(free)

    def _is_unfinished(self, stack: PlannedStack) -> bool:
        return any(run.id in self._step for run in stack.runs)

    def _progress(self, event: Mapping[str, Any]) -> None:
        begun = self._begun.setdefault(event["stack"], _Begun(self.clock()))
        begun.ended = None
        for run in event["ids"]:
            before = self._step.get(run, 0)
            begun.done += max(0, event["step"] - before)
            self._step[run] = event["step"]
        begun.left = self._run_steps(event)
        begun.last = (self.clock(), begun.done)
        begun.first = begun.first or begun.last

    def _ended(self, ids: list[str]) -> None:
        for run in ids:
            self._step.pop(run, None)
        for number, begun in self._begun.items():
            runs = self.plan.stacks[number].runs
            if begun.ended is None and not any(run.id in self._step for run in runs):
                begun.ended, begun.left = self.clock(), 0

    def _run_steps(self, event: Mapping[str, Any]) -> int:
        """Run-steps that the runs of an event have left."""
        return sum(self._end(run) - self._step[run] for run in event["ids"] if run in self._step)

    def _end(self, run: str) -> int:
        """The step at which a run will probably end."""
        stop = self.plan.stops.get(run)
        likely = [] if stop is None else [stop.step, stop.latest]
        ahead = (step for step in likely if self._step[run] < step < self.steps[run])
        return next(ahead, self.steps[run])

    def _remaining(self, number: int, begun: _Begun, ratio: float, now: float) -> float:
        """Seconds that a stack still takes."""
        speed = begun.step_seconds
        if speed is None or begun.last is None:
            return max(0.0, self.plan.stacks[number].seconds * ratio - (now - begun.began))
        return max(0.0, speed * begun.left - (now - begun.last[0]))

    def _ratio(self) -> float | None:
        """Actual to estimated seconds of the stacks that have begun."""
        actual = estimated = 0.0
        for number, begun in self._begun.items():
            planned = self.plan.stacks[number].seconds
            if begun.ended is not None:
                actual += begun.ended - begun.began
            elif begun.step_seconds is not None and begun.last is not None:
                actual += begun.last[0] - begun.began + begun.step_seconds * begun.left
            else:
                continue
            estimated += planned
        return actual / estimated if estimated > 0 and actual > 0 else None
