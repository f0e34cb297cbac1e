"""Settings in which variants differ besides those of the grid, as derived defaults do."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ablab.experiments.short_names import short_names
from ablab.experiments.tree import leaves
from ablab.store.store import RunRecord, Store

_VARIANTS = 200  # of more, nothing is told
_NAMED = 3  # variants with a value; of more, their number
_ABSENT = "not given"


def differing_settings(
    store: Store, runs: Sequence[RunRecord], keys: Iterable[str]
) -> list[tuple[str, str]]:
    """Each further setting of the runs' identities that differs, with its values and variants.

    Args:
        store: The store.
        runs: The runs of an experiment.
        keys: The keys of its grid.
    """
    firsts = list({str(run.variant): run for run in reversed(runs)}.values())[::-1]
    if not 1 < len(firsts) <= _VARIANTS:
        return []
    names = short_names([run.variant for run in firsts])
    settings = [_settings(store, run) for run in firsts]
    axes = tuple(keys)
    found = []
    for key in dict.fromkeys(key for each in settings for key in each):
        values: dict[str, list[str]] = {}
        for name, each in zip(names, settings, strict=True):
            values.setdefault(str(each.get(key, _ABSENT)), []).append(name)
        if len(values) > 1 and not _is_of(key, axes):
            found.append((key, "; ".join(_told(value, those) for value, those in values.items())))
    return found


def _settings(store: Store, run: RunRecord) -> dict[str, Any]:
    trajectory = json.loads(store.run_row(run.run)["trajectory"])
    return {".".join(path): value for path, value in leaves(trajectory)}


def _is_of(key: str, axes: tuple[str, ...]) -> bool:
    """Whether a setting is one of the grid or belongs to one, a digest of code, or the seed."""
    last = key.rpartition(".")[2]
    unsaid = key == "seed" or last == "source" or last.endswith("_source")
    return unsaid or any(key == axis or key.startswith(f"{axis}.") for axis in axes)


def _told(value: str, names: Sequence[str]) -> str:
    those = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} variants"
    return f"{value} ({those})"
