"""Deaths of processes that train: how often a run may be trained again by another one."""

from collections import Counter
from collections.abc import Sequence

from ablab.store.run_rows import count_deaths, fail_run
from ablab.store.store import Store

_MAX_DEATHS = 2  # processes that may die training a run alone before it counts as failed


class Deaths:
    """Counts the processes that died while they trained runs.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._alone: Counter[str] = Counter()

    def note(self, runs: Sequence[str], cause: str) -> None:
        """Counts the death of a process that trained runs.

        The runs will be trained in smaller stacks. A run that repeatedly killed a process in which
        it was alone has failed.

        Args:
            runs: The runs.
            cause: Why the process died, such as ``signal 9``.
        """
        count_deaths(self._store, runs)
        if len(runs) == 1:
            self._alone[runs[0]] += 1
            if self._alone[runs[0]] >= _MAX_DEATHS:
                fail_run(self._store, runs[0], f"its process died repeatedly ({cause})")
