"""A cache of responses: one is made again after the store has changed, but not too often."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_MOST = 64  # responses that are kept; the one that was made first is dropped
_REST = 4.0  # minimum pause before a response is made again, in multiples of the time it took


@dataclass(frozen=True)
class Answer:
    """The text of a response and the version of the store that it shows."""

    version: str
    text: str


@dataclass(frozen=True)
class _Made:
    answer: Answer
    at: float
    seconds: float


class ResponseCache:
    """The latest response for each key. It limits the time taken from training by slow pages."""

    def __init__(self) -> None:
        self._made: dict[str, _Made] = {}
        self._lock = threading.Lock()

    def get(self, key: str, version: str, make: Callable[[], str]) -> Answer:
        """The response for a key, made again if the version has changed and the last one is old.

        Args:
            key: Identifies the page.
            version: The current version of the store.
            make: Makes the text. Calls are serialised, because drawing is not thread-safe.
        """
        last = self._made.get(key)
        if last is not None and _is_fresh(last, version):
            return last.answer  # while another page is made, which can take a minute
        with self._lock:
            last = self._made.get(key)
            now = time.monotonic()
            if last is not None and _is_fresh(last, version):
                return last.answer
            answer = Answer(version, make())
            after = time.monotonic()
            self._made.pop(key, None)
            self._made[key] = _Made(answer, after, after - now)
            if len(self._made) > _MOST:
                del self._made[next(iter(self._made))]
            return answer


def _is_fresh(made: _Made, version: str) -> bool:
    """Whether a response is current, or too new to be made again."""
    return made.answer.version == version or time.monotonic() - made.at < _REST * made.seconds
