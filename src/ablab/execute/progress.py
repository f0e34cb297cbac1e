"""Progress on standard error: a bar on a terminal, plain lines otherwise."""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from ablab.config import counted

_LINE_SECONDS = 10.0


class Reporter(ABC):
    """Shows what happens while an experiment is trained."""

    def start(
        self,
        left: dict[str, int],
        steps: dict[str, int],
        labels: dict[str, str],
        time_left: Callable[[], float | None] = lambda: None,
    ) -> None:
        """Starts the display.

        Args:
            left: Steps left to train, by run id.
            steps: Steps requested, by run id.
            labels: The label of each run's variant, by run id.
            time_left: The estimated seconds left, or None while nothing has been measured.
        """
        self._time_left = time_left
        self._left = dict(left)
        self._steps = steps
        self._labels = labels
        self._total = sum(left.values())
        self._began = time.monotonic()
        self._waiting = False

    def event(self, event: dict[str, Any]) -> None:
        """Handles an event of :class:`ablab.execute.queue.StackQueue`."""
        match event["event"]:
            case "progress":
                for run in event["ids"]:
                    self._left[run] = self._steps[run] - event["step"]
                self.progress(event)
            case "ended":
                for run in event["ids"]:
                    self._left[run] = 0
            case "waiting":
                if not self._waiting:
                    named = "".join(f"\n  {each}" for each in event.get("for", []))
                    self.message(
                        f"waiting for runs that another process is training{named}\n"
                        "  the same command with --break-leases takes them from it"
                    )
                self._waiting = True
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

    def time_left(self) -> str:
        """The time left in words; ``?`` while nothing has been measured."""
        seconds = self._time_left()
        if self.done == self._total:
            seconds = 0.0
        return "?" if seconds is None else duration(seconds)

    def name(self, event: dict[str, Any]) -> str:
        """A stack's name: the variant of its first run, and its number of runs."""
        return f"{self._labels[event['ids'][0]]} ({counted(event['runs'], 'run')})"

    @abstractmethod
    def progress(self, event: dict[str, Any]) -> None:
        """Shows progress."""

    @abstractmethod
    def message(self, text: str) -> None:
        """Shows a message."""

    def warn(self, text: str) -> None:
        """Shows a warning, even with ``--quiet``."""
        self.message(text)

    def close(self) -> None:  # noqa: B027 (nothing to do by default)
        """Ends the display."""


class QuietReporter(Reporter):
    """Shows only warnings."""

    def progress(self, event: dict[str, Any]) -> None:
        """Shows nothing."""

    def message(self, text: str) -> None:
        """Shows nothing."""

    def warn(self, text: str) -> None:
        """Prints a warning."""
        print(text, file=sys.stderr)


class LineReporter(Reporter):
    """Prints plain lines, one every ten seconds and one at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = time.monotonic()

    def progress(self, event: dict[str, Any]) -> None:
        """Prints a line if the last one is ten seconds old."""
        now = time.monotonic()
        if now - self._last >= _LINE_SECONDS or self.done == self._total:
            self._last = now
            share = self.done / self._total if self._total else 1.0
            spent = now - self._began
            self.message(
                f"{share:4.0%}  {duration(spent)} spent, {self.time_left()} left  "
                f"{self.name(event)}: step {event['step']}, train loss {event['loss']:.4f}"
            )

    def message(self, text: str) -> None:
        """Prints a message."""
        print(text, file=self._stream, flush=True)


class BarReporter(Reporter):
    """Shows one bar for all steps, and one for each stack with its current loss."""

    def __init__(self, stream: TextIO) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(file=stream),
            transient=True,
        )
        self._stacks: dict[int, TaskID] = {}

    def start(
        self,
        left: dict[str, int],
        steps: dict[str, int],
        labels: dict[str, str],
        time_left: Callable[[], float | None] = lambda: None,
    ) -> None:
        """Shows the bar for all steps."""
        super().start(left, steps, labels, time_left)
        total = self._total
        self._total_bar = self._bar.add_task("run-steps", total=total, note="", left="")
        self._bar.start()

    def progress(self, event: dict[str, Any]) -> None:
        """Moves the bars."""
        number, steps = event["stack"], self._steps[event["ids"][0]]
        if number not in self._stacks:
            name = self.name(event)
            self._stacks[number] = self._bar.add_task(name, total=steps, note="", left="")
        stack = self._stacks[number]
        self._bar.update(stack, completed=event["step"], note=f"loss {event['loss']:.4f}")
        if event["step"] >= steps:
            self._bar.update(stack, visible=False)
        left = f"{self.time_left()} left"
        self._bar.update(self._total_bar, completed=self.done, left=left)

    def message(self, text: str) -> None:
        """Prints a message above the bars."""
        self._bar.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Removes the bars."""
        self._bar.stop()


def make_reporter(quiet: bool) -> Reporter:
    """The reporter for this process's standard error."""
    if quiet:
        return QuietReporter()
    return BarReporter(sys.stderr) if sys.stderr.isatty() else LineReporter(sys.stderr)


def duration(seconds: float) -> str:
    """Formats a duration: ``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
