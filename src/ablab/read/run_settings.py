"""The settings of stored runs, on which levels of measures can depend."""

import json
from collections.abc import Sequence
from typing import Any

from ablab.store.store import Store


def run_settings(store: Store, runs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Everything that determines the trajectory of some runs, as nested mappings by run id.

    Args:
        store: The store.
        runs: Their run ids.
    """
    return {run: json.loads(store.run_row(run)["trajectory"]) for run in runs}
