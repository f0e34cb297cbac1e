"""A cache of drawings by what they show: ``ablab serve`` draws no unchanged figure again."""

import hashlib
import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

MOST_BYTES = 64 * 2**20
"""The drawings that were used last are kept, as long as they are no larger together."""

_Data = ParamSpec("_Data")
_Drawing = TypeVar("_Drawing")


class DrawingCache:
    """Drawings by a digest of the function that draws and of its arguments.

    Equal arguments can have different digests, which costs time; different ones have different
    digests.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._drawings: OrderedDict[bytes, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __call__(self, draw: Callable[_Data, _Drawing]) -> Callable[_Data, _Drawing]:
        """A function that calls ``draw`` only for arguments whose drawing is not cached.

        Args:
            draw: A pure function of arguments that can be pickled.
        """

        @wraps(draw)
        def cached(*args: _Data.args, **kwargs: _Data.kwargs) -> _Drawing:
            shown = (draw.__module__, draw.__qualname__, args, sorted(kwargs.items()))
            key = hashlib.sha256(pickle.dumps(shown)).digest()
            with self._lock:
                if key in self._drawings:
                    self._drawings.move_to_end(key)
                    found: _Drawing = self._drawings[key][0]
                    return found
            made = draw(*args, **kwargs)
            self._add(key, made, len(pickle.dumps(made)))
            return made

        return cached

    def _add(self, key: bytes, made: Any, size: int) -> None:
        with self._lock:
            if key not in self._drawings:
                self._bytes += size
            self._drawings[key] = (made, size)
            while self._bytes > self._most:
                _, (_, dropped) = self._drawings.popitem(last=False)
                self._bytes -= dropped


cached_drawing = DrawingCache()
"""The decorator of functions that draw, for this process."""
