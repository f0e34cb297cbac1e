"""Pauses on SIGINT and SIGTERM: at a logged step, or immediately if no work would be lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class PauseError(BaseException):
    """A pause was requested during a long operation that has no result to save.

    Not an ``Exception``, so that libraries which catch those and try something else do not catch
    this.
    """


class _PauseRequest:
    """Whether this process was asked to pause. A process has one set of signal handlers."""

    def __init__(self) -> None:
        self.requested = threading.Event()
        self.immediate = False


_request = _PauseRequest()


def pause_on_signals() -> Callable[[], bool]:
    """Turns SIGINT and SIGTERM into requests to pause.

    A second signal has its previous effect, which usually ends the process.

    Returns:
        A function that returns whether a pause has been requested.
    """
    _request.requested.clear()

    def request_pause(*_: object) -> None:
        _request.requested.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        if _request.immediate:
            raise PauseError

    before = {
        number: signal.signal(number, request_pause) for number in (signal.SIGINT, signal.SIGTERM)
    }
    return _request.requested.is_set


@contextmanager
def immediate_pause() -> Iterator[None]:
    """Within this context, a request to pause raises immediately.

    Raises:
        PauseError: A pause is requested, or was requested before.
    """
    _request.immediate = True
    try:
        if _request.requested.is_set():
            raise PauseError
        yield
    finally:
        _request.immediate = False
