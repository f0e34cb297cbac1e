"""Settings in which variants differ besides those of the grid, as derived defaults do."""

import json
from collections.abc import Iterable, Mapping, Sequence
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
    cells = [run.variant for run in firsts]
    settings = [_settings(store, run) for run in firsts]
    axes = tuple(keys)
    found = []
    for key in dict.fromkeys(key for each in settings for key in each):
        shown = [str(each.get(key, _ABSENT)) for each in settings]
        if len(set(shown)) > 1 and not _is_of(key, axes):
            names = _names(cells, shown, axes)
            those = {text: dict.fromkeys(n for n, t in names if t == text) for text in shown}
            told = "; ".join(_told(text, list(each)) for text, each in those.items())
            found.append((key, told))
    return found


def _names(
    cells: Sequence[Mapping[str, Any]], shown: Sequence[str], axes: tuple[str, ...]
) -> list[tuple[str, str]]:
    """A name of each variant with its value; by a single key, if that decides the value."""
    for axis in axes:
        labels = [str(cell.get(axis)) for cell in cells]
        if len(set(zip(labels, shown, strict=True))) == len(set(labels)):
            cells = [{axis: cell.get(axis)} for cell in cells]
            distinct = {str(cell): cell for cell in cells}
            names = dict(zip(distinct, short_names(list(distinct.values())), strict=True))
            return [(names[str(cell)], text) for cell, text in zip(cells, shown, strict=True)]
    return list(zip(short_names(cells), shown, strict=True))


def _settings(store: Store, run: RunRecord) -> dict[str, Any]:
    trajectory = json.loads(store.run_row(run.run)["trajectory"])
    return {".".join(path): value for path, value in leaves(trajectory)}


def _is_of(key: str, axes: tuple[str, ...]) -> bool:
    """Whether a setting is one of the grid or belongs to one, a digest of code, or the seed."""
    last = key.rpartition(".")[2]
    unsaid = key == "seed" or last == "source" or last.endswith("_source")
    return unsaid or any(key == axis or key.startswith(f"{axis}.") for axis in axes)


def _told(value: str, names: Sequence[str]) -> str:
    those = " and ".join(names) if len(names) <= _NAMED else f"{len(names)} variants"
    return f"{value} ({those})"
