"""Selects the statistics and incidents that an entry shows."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import polars as pl

from ablab.logbook.drawing_cache import cached_drawing
from ablab.logbook.layers import LayerGroup, layer_groups
from ablab.read.incidents import Moved, moved_first
from ablab.store.artifacts import list_artifacts, read_incident
from ablab.store.index import StoreError
from ablab.store.store import RunRecord, Store
from ablab.watching.names import is_statistic

# The most informative statistics come first.
_PREFERRED = (
    "activation/blocks.*.attn.pattern/mean_entropy",
    "activation/blocks.*.resid_post/rms",
    "activation/logits/mean_margin",
    "activation_grad/logits/zero_sum_error",
    "grad/blocks.*.attention.query.weight/rms",
    "grad/blocks.*.mlp.linear.weight/rms",
    "param/model/update_ratio",
    "grad/model/noise_scale",
    "activation_grad/blocks.*.resid_post/rms",
)
_GROUPS, _INCIDENTS, _COLUMNS = 8, 20, 12  # maximum numbers shown
DAMAGED = "damaged (ablab check says what to do)"


def shown_groups(names: Sequence[str]) -> list[LayerGroup]:
    """The statistics that an entry draws, grouped by layer, from the available columns."""
    groups = layer_groups([name for name in names if is_statistic(name)])
    first = [
        group for preferred in _PREFERRED for group in groups if fnmatchcase(group.name, preferred)
    ]
    rest = [group for group in groups if group not in first]
    few = first if len(first) >= _GROUPS or len(rest) > 3 * _GROUPS else [*first, *rest]
    return (few or groups)[:_GROUPS]


def shown_columns(names: list[str]) -> list[str]:
    """The statistics available in an entry's interactive figure."""
    return [column for group in shown_groups(names) for column in group.columns.values()][:_COLUMNS]


@cached_drawing  # a record has hundreds of statistics, and never changes
def _moved(record: pl.DataFrame, step: int) -> list[Moved]:
    """The statistics that moved first before an incident, at most five."""
    return moved_first(record, step)[:5]


def incidents(store: Store, runs: list[RunRecord]) -> list[dict[str, Any]]:
    """What the flight recorder kept, with the statistics that moved first."""
    recorded = [(run, each) for run in runs for each in list_artifacts(store, "flight", run.run)]
    found = []
    for run, incident in recorded[:_INCIDENTS]:
        about, damaged = dict(incident.about), False
        try:
            moved = _moved(read_incident(store, run.run, incident.step), incident.step)
        except StoreError:  # a damaged file must not prevent the entry, which says so
            moved, damaged = [], True
            about["reason"] = f"{about.get('reason', 'incident')}; its record is {DAMAGED}"
        found.append(
            {
                "run": run.run,
                "seed": run.seed,
                "step": incident.step,
                **about,
                "damaged": damaged,
                "moved": [vars(each) for each in moved],
            }
        )
    return found
