"""The runs of several samples as arrays of the same cells and seeds."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ablab.read.hypothesis_tests import Sample, shared_keys
from ablab.read.statistics.ranks import Arrivals, Bounds


def aligned(samples: Sequence[Sample]) -> list[Arrivals]:
    """The steps of the runs of each sample, by the settings that they share and by seed.

    Returns:
        For each sample, arrays of (copies, cells, seeds). A sample has several copies of a cell if
        it varies in a setting that another sample fixes, or of which another has other values only
        (:func:`ablab.read.hypothesis_tests.apart` tells that).
    """
    keys = shared_keys(*samples)
    tables: list[dict[tuple[Any, int], list[Any]]] = []
    for each in samples:
        found = defaultdict(list)
        names = [*keys, "seed", "value", "not_before", "status"]
        for *cell, seed, value, bound, status in each.frame.select(names).iter_rows():
            found[tuple(cell), seed].append((value, bound, status))
        tables.append(dict(found))
    cells = list(dict.fromkeys(cell for table in tables for cell, _ in table))
    seeds = sorted({seed for table in tables for _, seed in table})
    return [_arrays(table, cells, seeds) for table in tables]


def _arrays(
    table: dict[tuple[Any, int], list[Any]], cells: list[Any], seeds: list[int]
) -> Arrivals:
    shape = (max(map(len, table.values())), len(cells), len(seeds))
    values, bounds = np.full(shape, np.nan), np.full(shape, np.nan)
    never, cut_off = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    places = {cell: place for place, cell in enumerate(cells)}
    for (cell, seed), runs in table.items():
        for copy, (value, bound, status) in enumerate(runs):
            where = copy, places[cell], seeds.index(seed)
            if value is not None:
                values[where] = value
            elif bound is not None:
                bounds[where] = bound
                never[where] = status == "diverged"
                cut_off[where] = status in ("stopped", "failed")
    return Arrivals(values, bounds, never, cut_off)


def bounds(runs: Arrivals, end: float, later: float = 0.0) -> Bounds:
    """The bounds of each cell and seed up to a horizon, as means over copies of a cell.

    Args:
        runs: The runs, of (copies, cells, seeds).
        end: The horizon.
        later: Steps to add to each run's step.
    """
    made = runs.bounds(end, later)
    return Bounds(_mean(made.least), _mean(made.most))


def _mean(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    found: np.ndarray = np.where(
        known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan
    )
    return found


def horizon(runs: Sequence[Arrivals]) -> float:
    """The common horizon of several samples; see :class:`Arrivals`."""
    parts = [[getattr(each, name).ravel() for each in runs]
             for name in ("values", "not_before", "never", "open")]  # fmt: skip
    return Arrivals(*(np.concatenate(part) for part in parts)).horizon


def exact(samples: Sequence[Sample]) -> list[Bounds]:
    """The values of the runs of each sample, by cell and seed."""
    return [Bounds.exactly(_mean(each.values)) for each in aligned(samples)]
