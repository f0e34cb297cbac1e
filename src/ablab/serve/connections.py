"""Limits on connections, so that clients which never finish a request do not stop the server."""

import asyncio
import sys
import time
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

_WAIT_SECONDS = 15.0  # for the next complete request, and for progress in reading a response
_MAX_CONNECTIONS = 256
_OTHER_FILES = 64  # open files that the rest of the process needs


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 connections that end if they wait too long for a request, or if there are too many.

    uvicorn limits the time between two requests only; a request whose headers never end is kept
    for good. If there are too many connections, the one that has waited longest for a request is
    closed in favour of a new one.
    """

    wait_seconds: ClassVar[float] = _WAIT_SECONDS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.most = max_connections()
        self.waits_since = time.monotonic()
        self._unread = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waits(self) -> bool:
        """Whether no request of this connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.most:
            every = [each for each in self.connections if isinstance(each, LimitedProtocol)]
            waiting = [each for each in every if each.waits and each is not self]
            # Without one that waits, all others are being answered.
            left = min(waiting, key=lambda each: each.waits_since, default=self)
            self.connections.discard(left)  # or it would be counted, and chosen, until it is closed
            left.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Begins to wait for the next request."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._wait()

    def _wait(self) -> None:
        self._stop_waiting()
        self.waits_since = time.monotonic()
        self._unread = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(self.wait_seconds, self._check)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        """Closes the connection, unless it is being answered or its client still reads."""
        unread = self.transport.get_write_buffer_size()
        if self.waits and (unread == 0 or unread >= self._unread > 0):
            self.transport.abort()
        else:
            since = self.waits_since
            self._wait()
            self.waits_since = since


def max_connections() -> int:
    """The number of connections at a time, which leaves the process some of its open files."""
    if sys.platform == "win32":
        return _MAX_CONNECTIONS
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limited = files != resource.RLIM_INFINITY
    return max(1, min(_MAX_CONNECTIONS, files - _OTHER_FILES)) if limited else _MAX_CONNECTIONS
