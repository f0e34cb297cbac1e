"""Pausing when a signal asks for it: at a logged step, or at once where nothing would be lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class PauseError(BaseException):
    """Something was left off that is long and keeps nothing, since a pause was asked for.

    It is no ``Exception``: libraries that try another way after those shall not.
    """


class _Wish:
    """The wish to pause of this process, which has one set of signal handlers."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.hasty = False


_wish = _Wish()


def pause_on_signals() -> Callable[[], bool]:
    """Takes SIGINT and SIGTERM as a wish to pause; returns whether one has come."""
    _wish.asked.clear()

    def ask(*_: object) -> None:
        _wish.asked.set()
        for number, handler in before.items():  # asked again, the process ends at once
            signal.signal(number, handler)
        if _wish.hasty:
            raise PauseError

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    return _wish.asked.is_set


@contextmanager
def at_once() -> Iterator[None]:
    """Within it a wish to pause is not waited with.

    Raises:
        PauseError: One came, or had come before.
    """
    _wish.hasty = True
    try:
        if _wish.asked.is_set():
            raise PauseError
        yield
    finally:
        _wish.hasty = False
