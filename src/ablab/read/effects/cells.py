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
    """A cell of chosen settings, averaged over the others.

    Attributes:
        keys: The chosen settings with this cell's values.
        seeds: How many seeds the mean is over.
        cells: How many cells of the other settings each seed's average is over.
        missing: How many of its runs have no value.
        mean: The mean over seeds; on the scale of ratios the geometric mean.
        interval: Its 95% interval. Cells share their seeds, so overlapping intervals say nothing of
            a difference: that is what comparisons are for.
        values: Each seed's, in the seeds' order.
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
    """A cell for each combination of chosen settings' values, the last changing fastest.

    Args:
        results: The runs' results.
        keys: The settings that make cells, all by default; the others are averaged over.

    Raises:
        InputError: A key is no axis.
    """
    chosen = list(results.levels if keys is None else map(results.check_key, keys))
    values = results.by(chosen, "all")
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
