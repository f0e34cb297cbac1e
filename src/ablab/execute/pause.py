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
def pausing_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Within this context, an interrupt (SIGINT) is a request to pause.

    A second interrupt raises ``KeyboardInterrupt``. Signals reach the main thread of Python only;
    in other threads, this does nothing.

    Yields:
        A function that returns whether a pause has been requested.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    _request.requested.clear()
    before = signal.getsignal(signal.SIGINT)

    def request_pause(*_: object) -> None:
        _request.requested.set()
        signal.signal(signal.SIGINT, before)
        if _request.immediate:
            raise PauseError

    signal.signal(signal.SIGINT, request_pause)
    try:
        yield _request.requested.is_set
    finally:
        signal.signal(signal.SIGINT, before)
        _request.requested.clear()


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
