"""The grids of an experiment without its overrides: that of the file, and with each size."""

import copy
from collections.abc import Mapping
from typing import Any

from ablab.config import InputError
from ablab.experiments.axes import SweepContext
from ablab.experiments.cell_settings import CellSettings
from ablab.experiments.grid_changes import apply_changes
from ablab.experiments.grid_conditions import Stage
from ablab.experiments.grid_reader import read_grid
from ablab.experiments.limits import MAX_RUNS, check_runs
from ablab.experiments.sizes import apply_size, read_sizes
from ablab.experiments.tree import Origins


def earlier_stages(tree: Mapping[str, Any]) -> list[Stage]:
    """The grid of a file, and with each of its sizes; those that are invalid are left out.

    Args:
        tree: The experiment as it was read, before sizes, arguments and overrides.
    """
    found = []
    for size in read_sizes(tree.get("sizes"), Origins()) or (None,):
        own = copy.deepcopy(dict(tree))
        try:
            pending, _ = apply_size(own, size, None, Origins())
            context = SweepContext(str(own.get("name")), own)
            grid = read_grid(own.get("grid") or {}, own.get("cells"), Origins(), context)
            grid = apply_changes(grid, pending, context)
            check_runs(grid.size(MAX_RUNS), grid.sizes(), 1, [axis.source for axis in grid.axes])
        except InputError:
            continue
        found.append(Stage(grid, CellSettings(own, grid.axes)))
    return found
