"""Progress of long loops, told to whoever listens: commands, and ``ablab.run`` in a notebook."""

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

_listener: ContextVar[Tell | None] = ContextVar("listener", default=None)


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


def ticking(items: Iterable[T], total: int, doing: str, noun: str) -> Iterator[T]:
    """The items, while the progress of the loop over them is told.

    Args:
        items: What is looped over.
        total: Their number.
        doing: What is done with them: ``checking``.
        noun: What they are, in the singular: ``variant``.
    """
    next_line = time.monotonic() + _SILENT_SECONDS
    for number, item in enumerate(items):
        yield item
        tell = _listener.get()
        if tell is not None and number + 1 < total and time.monotonic() > next_line:
            tell(f"{doing} {counted(total, noun)}: {number + 1:,} done")
            next_line = time.monotonic() + _EVERY_SECONDS
