"""Answers that are made anew only when the store has changed, and not too often."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_REST = 4.0  # times as long as it took, before an answer is made again


@dataclass(frozen=True)
class Answer:
    """A text with the state of the store that it shows."""

    version: str
    text: str


@dataclass(frozen=True)
class _Made:
    answer: Answer
    at: float
    seconds: float


class ResponseCache:
    """The last answers by key. Making one may be slow: training should keep the processor."""

    def __init__(self) -> None:
        self._made: dict[str, _Made] = {}
        self._lock = threading.Lock()

    def get(self, key: str, version: str, make: Callable[[], str]) -> Answer:
        """The answer for a key, made anew if the version is another and the last one is old.

        Args:
            key: What is asked for.
            version: The state of the store.
            make: Makes the text; one at a time, since drawing is not safe in several threads.
        """
        with self._lock:
            last = self._made.get(key)
            now = time.monotonic()
            if last is not None and (
                last.answer.version == version or now - last.at < _REST * last.seconds
            ):
                return last.answer
            answer = Answer(version, make())
            after = time.monotonic()
            self._made[key] = _Made(answer, after, after - now)
            return answer
