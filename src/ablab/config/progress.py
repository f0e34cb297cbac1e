"""Progress of long work, told to whoever listens: commands, and ``ablab.run`` in a notebook.

Code that takes long says what it is doing with :func:`doing`, and how far a loop is with
:func:`ticking`. It need not know whether anybody listens.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from ablab.config.wording import counted

T = TypeVar("T")

_SILENT_SECONDS = 2.0  # shorter loops say nothing
_EVERY_SECONDS = 5.0

Tell = Callable[[str], None]
Show = Callable[[str | None], None]

_listener: ContextVar[Tell | None] = ContextVar("listener", default=None)
_display: ContextVar[Show | None] = ContextVar("display", default=None)
_activity: ContextVar[str | None] = ContextVar("activity", default=None)


@contextmanager
def listening(tell: Tell | None) -> Iterator[None]:
    """Within this context, ``tell`` is called with the progress of loops that take long.

    Args:
        tell: Called with one line at a time; None for nobody.
    """
    before = _listener.set(tell)
    try:
        yield
    finally:
        _listener.reset(before)


@contextmanager
def showing(show: Show | None) -> Iterator[None]:
    """Within this context, ``show`` is called with what is being done.

    Args:
        show: Called with a few words at each change, or with None when nothing is being done; None
            for nobody.
    """
    before, activity = _display.set(show), _activity.set(None)
    try:
        yield
    finally:
        _display.reset(before)
        _activity.reset(activity)


@contextmanager
def doing(text: str) -> Iterator[None]:
    """Within this context, this is what is being done, for the display of :func:`showing`.

    Args:
        text: A few words (``planning``), with details after a colon.
    """
    before = _activity.get()
    token = _activity.set(text)
    _show(text)
    try:
        yield
    finally:
        _activity.reset(token)
        _show(before)


def _show(text: str | None) -> None:
    show = _display.get()
    if show is not None:
        show(text)


def ticking(
    items: Iterable[T], total: int, doing: str, noun: str, plural: str | None = None
) -> Iterator[T]:
    """The items, while the progress of the loop over them is told and shown.

    Args:
        items: What is looped over.
        total: Their number.
        doing: What is done with them: ``checking``.
        noun: What they are, in the singular: ``variant``.
        plural: The plural, unless it is the singular plus ``s``.
    """
    next_line = time.monotonic() + _SILENT_SECONDS
    for number, item in enumerate(items):
        text = f"{doing} {counted(total, noun, plural)}"
        if number:
            text = f"{text}: {number:,} done"
            tell = _listener.get()
            if tell is not None and time.monotonic() > next_line:
                tell(text)
                next_line = time.monotonic() + _EVERY_SECONDS
        _show(text)
        yield item
    _show(_activity.get())
