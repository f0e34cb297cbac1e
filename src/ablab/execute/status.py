"""What a command is doing, on standard error: a line that changes on a terminal, or plain lines.

A terminal shows one line, which fits its width and is redrawn twice a second, so that the elapsed
time moves even while a library is busy. Elsewhere a line is printed within two seconds and then at
most every ten seconds.
"""

import re
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from ablab.config.progress import listening, showing
from ablab.config.table import output_width
from ablab.config.wording import visible

_SHOW_SECONDS = 0.4  # shorter work shows nothing on a terminal
_FIRST_SECONDS = 1.5  # until the first plain line
_LINE_SECONDS = 10.0  # between plain lines
_TICK_SECONDS = 0.25
_MINUTE = 60.0
_SEPARATOR = "  "

_SHARE = re.compile(r" \d+%$")

Activity = str | Sequence[str] | None  # the parts of a line, the most important one first


class Status(ABC):
    """Shows what a command is doing."""

    @abstractmethod
    def show(self, activity: Activity) -> None:
        """Shows what is being done from now on.

        Args:
            activity: A text, or the parts of one, of which the last are left out if they do not
                fit; None if nothing is being done.
        """

    @abstractmethod
    def tell(self, text: str) -> None:
        """Tells how far something is; a terminal shows that anyway."""

    @abstractmethod
    def message(self, text: str) -> None:
        """Prints a line that stays."""

    def warn(self, text: str) -> None:
        """Prints a warning, even with ``--quiet``."""
        self.message(text)

    def close(self) -> None:  # noqa: B027 (nothing to do by default)
        """Ends the display."""


class QuietStatus(Status):
    """Shows only warnings."""

    def show(self, activity: Activity) -> None:
        """Shows nothing."""

    def tell(self, text: str) -> None:
        """Shows nothing."""

    def message(self, text: str) -> None:
        """Shows nothing."""

    def warn(self, text: str) -> None:
        """Prints a warning."""
        with _if_open():
            print(text, file=sys.stderr)


class Ticking(Status):
    """Keeps the activity, and looks at it regularly in a thread of its own."""

    def __init__(self) -> None:
        self._activity: Activity = None
        self._since = time.monotonic()
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def show(self, activity: Activity) -> None:
        """Shows what is being done from now on."""
        with self._lock:
            if topic(activity) != topic(self._activity):
                self._since = time.monotonic()
            self._activity = activity

    def close(self) -> None:
        """Ends the display."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_TICK_SECONDS):
            with self._lock, _if_open():
                self._tick()

    @abstractmethod
    def _tick(self) -> None:
        """Called regularly."""

    def _parts(self) -> list[str]:
        """The parts of the line, with the time that the activity has taken so far."""
        activity = self._activity
        if activity is None:
            return []
        if not isinstance(activity, str):
            return list(activity)
        seconds = time.monotonic() - self._since
        return [activity, f"{seconds:.0f} s" if seconds < _MINUTE else duration(seconds)]


class PlainStatus(Ticking):
    """Prints plain lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next = time.monotonic() + _FIRST_SECONDS
        super().__init__()

    def tell(self, text: str) -> None:
        """Prints how far something is."""
        self.message(text)

    def message(self, text: str) -> None:
        """Prints a line."""
        with self._lock:
            with _if_open():
                print(text, file=self._stream, flush=True)
            self._next = time.monotonic() + _LINE_SECONDS

    def _tick(self) -> None:
        if self._activity is not None and time.monotonic() >= self._next:
            self.message(visible(", ".join(self._parts())))


class _Console(Console):
    """A console whose reader may go."""

    def on_broken_pipe(self) -> None:
        """Prints nothing more; rich would end the process."""
        self.quiet = True


class TerminalStatus(Ticking):
    """Shows one line that changes."""

    def __init__(self, stream: TextIO) -> None:
        self._console = _Console(file=stream, highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        self._stream = stream
        self._began = time.monotonic()
        super().__init__()

    def tell(self, text: str) -> None:
        """Shows nothing: the same is shown as an activity."""

    def message(self, text: str) -> None:
        """Prints a line above the one that changes."""
        with self._lock, _if_open():
            self._console.width = output_width(self._stream)
            self._console.print(text)

    def close(self) -> None:
        """Removes the line."""
        super().close()
        if self._live is not None:
            with _if_open():
                self._live.stop()

    def line(self) -> Text:
        """The line, which fits the terminal."""
        width = output_width(self._stream) - 1
        parts = [visible(part) for part in self._parts()]
        while len(parts) > 1 and cell_len(_SEPARATOR.join(parts)) > width:
            parts.pop()
        text = Text(_SEPARATOR.join(parts), no_wrap=True, overflow="ellipsis")
        text.truncate(width, overflow="ellipsis")
        return text

    def _tick(self) -> None:
        if self._live is None:
            if self._activity is None or time.monotonic() - self._began < _SHOW_SECONDS:
                return
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._console.width = output_width(self._stream)
        self._live.update(self.line(), refresh=True)


def _if_open() -> suppress:
    """Ignores that nobody reads any more: what is being done goes on, and is none the worse."""
    return suppress(OSError, ValueError)


def topic(activity: Activity) -> str | None:
    """What an activity is about, without how far it is."""
    if activity is None:
        return None
    text = activity if isinstance(activity, str) else activity[0]
    return _SHARE.sub("", text.partition(":")[0])


@contextmanager
def status(quiet: bool, notebook: Callable[[], Status | None] = lambda: None) -> Iterator[Status]:
    """Within this context, standard error or a notebook shows what is being done.

    Args:
        quiet: Whether to show only warnings.
        notebook: Makes the display of a notebook; None outside of one.
    """
    shown: Status | None
    if quiet:
        shown = QuietStatus()
    elif (shown := notebook()) is None:
        shown = (TerminalStatus if sys.stderr.isatty() else PlainStatus)(sys.stderr)
    try:
        with listening(lambda text: shown.tell(f"{text} …")), showing(shown.show):
            yield shown
    finally:
        shown.close()


def duration(seconds: float) -> str:
    """Formats a duration: ``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
