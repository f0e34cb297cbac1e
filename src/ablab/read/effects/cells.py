"""The mean of each cell, for tables and small multiples."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ablab.read.effects.compare import factor, largest, too_wide
from ablab.read.effects.inference import Interval, balance, estimate
from ablab.read.effects.results import Array, Results
from ablab.read.statistics.scales import average


@dataclass(frozen=True)
class Cell:
    """A cell of selected settings, averaged over the others.

    Attributes:
        keys: The selected settings with this cell's values.
        seeds: The number of seeds in the mean.
        cells: The number of cells of the other settings in each seed's average.
        missing: The number of its runs without a value.
        mean: The mean over seeds; on the ratio scale, the geometric mean; of a column whose range
            is declared, the median (the mean where a value is zero). If runs fall into two groups,
            of the runs that learnt (the others are missing); of steps, up to the horizon. None if
            no seed has a value.
        interval: The 95% confidence interval of the mean, within the declared range; None if the
            variance is unknown (one seed, or equal values), or it is too wide to say anything.
            Cells share their seeds, so overlapping intervals do not indicate that there is no
            difference; use comparisons instead.
        values: The value of each seed in the mean, in the order of the seeds.
    """

    keys: dict[str, Any]
    seeds: int
    cells: int
    missing: int
    mean: float | None
    interval: Interval | None
    values: tuple[float, ...]

    def as_data(self) -> dict[str, Any]:
        """The cell as plain data."""
        interval = None if self.interval is None else list(self.interval)
        return dict(vars(self)) | {"interval": interval, "values": list(self.values)}


def cell_means(results: Results, keys: Sequence[str] | None = None) -> tuple[Cell, ...]:
    """A cell for each combination of values of the selected settings; the last varies fastest.

    Args:
        results: The results of the runs.
        keys: The settings that define cells, all by default; the others are averaged over.

    Raises:
        InputError: A key is not an axis of the grid.
    """
    chosen = list(results.levels if keys is None else map(results.check_key, keys))
    values = results.by(chosen, "all", results.one_group)
    result = []
    for place in itertools.product(*(range(len(results.levels[key])) for key in chosen)):
        balanced = balance(values[place])
        shown = factor if results.scale == "ratio" else float
        seen = np.array([shown(value) for value in balanced.values])
        mean, interval = _level(results, balanced.values, seen, values[place])
        keys_here = {key: results.levels[key][at] for key, at in zip(chosen, place, strict=True)}
        result.append(
            Cell(
                keys_here, len(seen), balanced.cells, balanced.missing, mean, interval,
                tuple(seen.tolist()),
            )
        )  # fmt: skip
    return tuple(result)


def _level(
    results: Results, scaled: Array, seen: Array, every: Array
) -> tuple[float | None, Interval | None]:
    """The level of a cell with its interval, which stays in the declared range."""
    ratio = results.scale == "ratio"
    limits = results.declared
    if limits is not None and (not ratio or np.isfinite(limits).all()):
        if not len(seen):
            return None, None
        found = average(seen, limits)
        return found.value, found.interval
    made = estimate(scaled, largest(every, results.scale))
    if made.mean is None:
        return None, None
    if not ratio:
        return made.mean, made.interval
    if made.interval is None or too_wide(made.interval):
        return factor(made.mean), None
    return factor(made.mean), (factor(made.interval[0]), factor(made.interval[1]))
