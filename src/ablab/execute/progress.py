"""Reports what happens while an experiment is trained."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ablab.config import counted
from ablab.execute.status import QuietStatus, Status, duration


@dataclass
class _Stack:
    """A stack that is being trained.

    Attributes:
        number: Its place among the stacks that have runs left to train, from 1.
        name: The variant of its first run, and its number of runs.
        compile_seconds: The estimated seconds for compiling it.
        activity: What is being done with it other than training; None while it trains.
        trained: How far its training is, with its last loss.
    """

    number: int
    name: str
    compile_seconds: float = 0.0
    activity: str | None = None
    trained: str = "starting"

    @property
    def state(self) -> str:
        """What happens to it, in a few words."""
        if self.activity is None:
            return self.trained
        if self.activity == "compiling" and self.compile_seconds >= 1:
            return f"compiling (about {duration(self.compile_seconds)})"
        return self.activity


class Reporter:
    """Reports what happens while an experiment is trained.

    Args:
        status: Shows it.
    """

    def __init__(self, status: Status) -> None:
        self._status = status
        self._waiting = False
        self._training: dict[int, _Stack] = {}

    def start(
        self,
        left: Mapping[str, int],
        steps: Mapping[str, int],
        labels: Mapping[str, str],
        compile_seconds: Mapping[int, float],
        time_left: Callable[[], float | None] = lambda: None,
    ) -> None:
        """Starts to report.

        Args:
            left: Steps left to train, by run id.
            steps: Steps requested, by run id.
            labels: The label of each run's variant, by run id.
            compile_seconds: The estimated seconds for compiling each stack that has runs left, by
                its number in the plan.
            time_left: Gives the estimated seconds left, or None while nothing has been measured.
        """
        self._time_left = time_left
        self._left = dict(left)
        self._steps, self._labels = steps, labels
        self._compile_seconds = compile_seconds
        self._order = {number: place for place, number in enumerate(compile_seconds, 1)}
        self._total = sum(left.values())
        self._began = time.monotonic()

    def event(self, event: dict[str, Any]) -> None:
        """Handles an event of :class:`ablab.execute.queue.StackQueue`."""
        match event["event"]:
            case "claimed":
                self._claimed(event)
            case "activity":
                if (stack := self._training.get(event["stack"])) is not None:
                    stack.activity = event["text"]
            case "progress":
                for run in event["ids"]:
                    self._left[run] = self._steps[run] - event["step"]
                if (stack := self._training.get(event["stack"])) is not None:
                    steps = self._steps[event["ids"][0]]
                    stack.trained = f"step {event['step']:,} of {steps:,}, loss {event['loss']:.4f}"
                    if event.get("compiling"):
                        stack.trained += ", eager while its program is compiled"
            case "ended":
                for run in event["ids"]:
                    self._left[run] = 0
            case "released":
                self._training.pop(event["stack"], None)
            case _:
                self._say(event)
        self._status.show(self._parts())

    def _say(self, event: dict[str, Any]) -> None:
        """Says what an event means to the user."""
        match event["event"]:
            case "waiting":
                self._wait(event)
            case "pausing":
                self.message("pausing: saving progress; interrupt again to stop immediately")
            case "failed":
                self.warn(f"run {event['run']} failed: {event['error']}")
            case "split":
                self.warn(
                    f"a stack of {event['runs']} runs raised {event['error']}; "
                    "retrying it in halves"
                )
            case "message":
                self.warn(event["text"])

    @property
    def done(self) -> int:
        """Run-steps trained so far."""
        return self._total - sum(self._left.values())

    def message(self, text: str) -> None:
        """Shows a message."""
        self._status.message(text)

    def warn(self, text: str) -> None:
        """Shows a warning, even with ``--quiet``."""
        self._status.warn(text)

    def close(self) -> None:
        """Ends the report."""
        self._status.show(None)
        if self.done == self._total:
            self._status.tell(f"training 100%, {duration(time.monotonic() - self._began)} spent")

    def _claimed(self, event: dict[str, Any]) -> None:
        number = event["stack"]
        name = f"{self._labels[event['ids'][0]]} ({counted(len(event['ids']), 'run')})"
        if "machine" in event:
            name += f" on {event['machine']}"
        seconds = self._compile_seconds.get(number, 0.0)
        self._training[number] = _Stack(self._order.get(number, number + 1), name, seconds)

    def _wait(self, event: dict[str, Any]) -> None:
        if not self._waiting:
            named = "".join(f"\n  {each}" for each in event.get("for", []))
            self.message(
                f"waiting for runs that another process is training{named}\n"
                "  the same command with --break-leases takes them from it"
            )
        self._waiting = True

    def _parts(self) -> list[str]:
        """The line in parts: how much is done, how long it may take, and what each stack does."""
        share = self.done / self._total if self._total else 1.0
        parts = [f"training {share:.0%}"]
        seconds = self._time_left()
        if seconds is not None and self.done < self._total:
            parts.append(f"{duration(seconds)} left")
        if not self._training and self.done < self._total:
            parts.append("waiting for other processes" if self._waiting else "starting")
        for _, stack in sorted(self._training.items()):
            parts.append(f"stack {stack.number} of {len(self._order)}: {stack.state}")
        if len(self._training) == 1:
            parts += [stack.name for stack in self._training.values()]
        return parts


class QuietReporter(Reporter):
    """Shows only warnings."""

    def __init__(self) -> None:
        super().__init__(QuietStatus())
