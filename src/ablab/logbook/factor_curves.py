"""The held-out measures by factor as curves of the page's figure."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from ablab.logbook.drawn_curves import drawn_factors
from ablab.read.bands import Band
from ablab.read.by_factor import ByFactor
from ablab.store.metrics import key_column
from ablab.store.store import RunRecord
from ablab.tasks.config import Direction

MOST = 24
"""With more columns than this, those of the first factors are in the figure."""


def factor_curves(
    found: ByFactor,
    runs: Sequence[RunRecord],
    direction: Callable[[str], Direction | None] = lambda column: None,
) -> dict[str, list[Band]]:
    """The curves of measures by factor, by column: ``eval_loss/digit.0``.

    Empty if the task has no factors, or if there are so many variants that their curves would make
    the page much larger.

    Args:
        found: The measures by factor.
        runs: The runs, in the order of the grid.
        direction: Which values of a column are better.
    """
    columns = [name for each in found.factors for name in each.columns.values()][:MOST]
    if not columns or found.frame.is_empty():
        return {}
    keys = list(dict.fromkeys(key for run in runs for key in run.variant))
    cells: dict[str, Any] = {
        key: key_column([run.variant.get(key) for run in runs]) for key in keys
    }
    places = pl.DataFrame(
        {"run": [run.run for run in runs], **cells, "seed": [run.seed for run in runs]},
        strict=False,
    )
    frame = places.with_row_index("_place").join(found.frame, on="run")
    nullable = {key for run in runs for key, value in run.variant.items() if value is None}
    return drawn_factors(frame.sort("_place", "step"), keys, columns, direction, nullable)
