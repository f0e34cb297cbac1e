"""A cache of frames of metrics, so that one entry does not read the same rows many times."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import polars as pl

MOST_BYTES = 2 * 2**30
"""Frames are kept as long as they take no more memory than this together, and not more than a
quarter of what is free."""


class FrameCache:
    """Frames by what they were made from; none are cached outside of :meth:`caching`."""

    def __init__(self) -> None:
        self._frames: dict[Hashable, pl.DataFrame] = {}
        self._depth = 0
        self._bytes = self._most = 0

    @contextmanager
    def caching(self) -> Iterator[None]:
        """A context in which frames are cached; they are dropped at its end."""
        if not self._depth:
            self._most = min(MOST_BYTES, psutil.virtual_memory().available // 4)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._frames.clear()
                self._bytes = 0

    def get(self, key: Hashable, make: "Callable[[], pl.DataFrame]") -> "pl.DataFrame":
        """The cached frame, or a new one.

        Args:
            key: Everything that the frame depends on.
            make: Makes the frame.
        """
        found = self._frames.get(key)
        if found is not None:
            return found
        found = make()
        size = int(found.estimated_size())
        if self._depth and self._bytes + size <= self._most:
            self._frames[key] = found
            self._bytes += size
        return found
