"""The mean of each cell, for tables and small multiples."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ablab.read.effects.compare import factor, largest
from ablab.read.effects.inference import Interval, balance, estimate
from ablab.read.effects.results import Results


@dataclass(frozen=True)
class Cell:
    """A cell of selected settings, averaged over the others.

    Attributes:
        keys: The selected settings with this cell's values.
        seeds: The number of seeds in the mean.
        cells: The number of cells of the other settings in each seed's average.
        missing: The number of its runs without a value.
        mean: The mean over seeds; on the ratio scale, the geometric mean. If runs fall into two
            groups, of the runs that learnt (the others are missing); of steps, up to the horizon.
        interval: The 95% confidence interval of the mean. Cells share their seeds, so overlapping
            intervals do not indicate that there is no difference; use comparisons instead.
        values: The value of each seed, in the order of the seeds.
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
        found = estimate(balanced.values, largest(values, results.scale))
        shown = factor if results.scale == "ratio" else float
        result.append(
            Cell(
                {key: results.levels[key][at] for key, at in zip(chosen, place, strict=True)},
                found.seeds,
                balanced.cells,
                balanced.missing,
                None if found.mean is None else shown(found.mean),
                None
                if found.interval is None
                else (shown(found.interval[0]), shown(found.interval[1])),
                tuple(shown(value) for value in balanced.values),
            )
        )
    return tuple(result)
