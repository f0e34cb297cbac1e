"""Keeps the number of a store's files small, while a command fills it and at its end."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from ablab.store.bundles import bundle_snapshots
from ablab.store.compaction import compact
from ablab.store.index import StoreError
from ablab.store.store import Store

_EVERY_SECONDS = 60.0


class Tidying:
    """Merges small metrics parts and small snapshots of a store, if there are many.

    Args:
        store: The store, which is used by the thread that made this.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = threading.get_ident()
        self._last = time.monotonic()

    def now(self) -> None:
        """Tidies the store.

        Raises:
            StoreError: The store cannot be read or written.
        """
        compact(self._store)
        bundle_snapshots(self._store)
        self._last = time.monotonic()

    def if_possible(self, warn: Callable[[str], object]) -> None:
        """Tidies the store; tells ``warn`` if that fails, as another command can do it later."""
        try:
            self.now()
        except StoreError as error:
            warn(f"the store was not tidied: {error}")

    def from_time_to_time(self) -> None:
        """Tidies the store if it was not tidied for a minute; in its thread only.

        Training goes on if that fails, as on a disk with too little space for another file.
        """
        is_due = time.monotonic() - self._last > _EVERY_SECONDS
        if is_due and threading.get_ident() == self._thread:
            self._last = time.monotonic()
            with suppress(StoreError):
                self.now()
