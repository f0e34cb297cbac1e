"""What ``ablab.run`` is doing, in a Jupyter or marimo notebook.

Neither package is a dependency: a notebook has imported its own, and elsewhere nothing is shown
by this module.
"""

import re
import sys
import time
from collections.abc import Sequence
from typing import Any

from ablab.config import counted
from ablab.config.html import Markup, block, escaped, paragraph
from ablab.execute.status import Activity, Status, Ticking, topic

_EVERY_SECONDS = 0.5  # between updates
_MESSAGES = 8  # of the latest that stay; warnings always do
_SHARE = re.compile(r"(\d+)%$")
_WARNING = ""  # the class of warnings
_TERMINAL = "TerminalInteractiveShell"  # IPython in a terminal, which shows the usual line


def notebook_status() -> Status | None:
    """A display for the notebook that runs this code; None outside of a notebook."""
    marimo = sys.modules.get("marimo")
    if marimo is not None and marimo.running_in_notebook():
        return MarimoStatus(marimo)
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if ipython is None or shell is None or type(shell).__name__ == _TERMINAL:
        return None
    return JupyterStatus(ipython.display)


class JupyterStatus(Ticking):
    """One output that changes: the messages, a bar, and what is being done.

    Args:
        display: The module ``IPython.display``.
    """

    def __init__(self, display: Any) -> None:
        self._messages: list[tuple[str, str]] = []  # with the class of each
        self._told, self._drawn, self._next = "", "", 0.0
        self._display: Any = display
        self._handle: Any = None
        super().__init__()

    def tell(self, text: str) -> None:
        """Keeps how far something is, for when nothing else is shown."""
        with self._lock:
            self._told = text

    def message(self, text: str) -> None:
        """Adds a line, which stays as long as it is one of the latest."""
        self._add(text, "soft")

    def warn(self, text: str) -> None:
        """Adds a warning that stays."""
        self._add(text, _WARNING)

    def close(self) -> None:
        """Removes the bar; the messages stay."""
        super().close()
        with self._lock:
            self._activity = None
            self._draw([self._told] if self._told else [])

    def _add(self, text: str, name: str) -> None:
        with self._lock:
            self._messages.append((text, name))
            self._draw(self._parts())

    def _tick(self) -> None:
        if self._activity is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY_SECONDS
            self._draw(self._parts())

    def _draw(self, parts: Sequence[str]) -> None:
        """Shows the messages and the parts of what is being done, if they have changed."""
        earlier, latest = self._messages[:-_MESSAGES], self._messages[-_MESSAGES:]
        warnings = [each for each in earlier if each[1] == _WARNING]
        left = len(earlier) - len(warnings)
        latest = [(counted(left, "earlier message"), "soft")] * bool(left) + warnings + latest
        lines = [text for text, _ in latest]
        text = "\n".join([*lines, ", ".join(parts)] if parts else lines)
        if text == self._drawn:
            return
        self._drawn = text
        bundle = {"text/plain": text, "text/html": _html(latest, parts)}
        if self._handle is None:
            self._handle = self._display.display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def _html(messages: Sequence[tuple[str, str]], parts: Sequence[str]) -> str:
    told = []
    for text, name in messages:
        lines = Markup("<br>".join(escaped(line) for line in text.splitlines()))
        told.append(paragraph(lines, name))
    if parts and (share := _SHARE.search(parts[0])):
        told.append(Markup(f'<span class="bar"><i style="width: {share[1]}%"></i></span>'))
    return block(*told, paragraph(" · ".join(parts), "soft") if parts else "")


class MarimoStatus(Status):
    """marimo's own spinner, with the messages below the cell.

    Its outputs belong to the thread of a cell, so it moves when something is told, and has no
    thread of its own.

    Args:
        marimo: The module ``marimo``.
    """

    def __init__(self, marimo: Any) -> None:
        self._context = marimo.status.spinner(title="ablab", remove_on_exit=True)
        self._spinner = self._context.__enter__()
        self._next = 0.0
        self._topic: str | None = None

    def show(self, activity: Activity) -> None:
        """Shows what is being done from now on; how far it is, only now and then."""
        known = topic(activity) == self._topic
        if activity is None or (known and time.monotonic() < self._next):
            return
        self._topic = topic(activity)
        self._next = time.monotonic() + _EVERY_SECONDS
        parts = [activity] if isinstance(activity, str) else list(activity)
        self._spinner.update(title=parts[0], subtitle=", ".join(parts[1:]))

    def tell(self, text: str) -> None:
        """Shows nothing: the same is shown as an activity."""

    def message(self, text: str) -> None:
        """Prints a line below the cell."""
        print(text, flush=True)

    def close(self) -> None:
        """Removes the spinner."""
        self._context.__exit__(None, None, None)
