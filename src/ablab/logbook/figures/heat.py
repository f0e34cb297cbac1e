"""A statistic as a heat map of layers and steps."""

import numpy as np
import polars as pl
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablab.logbook.figure import figure
from ablab.logbook.layers import LayerGroup, is_wide_range, layer_table


@figure("heat", shows="statistic", about="a heat map of layers and steps")
def heat(frame: pl.DataFrame, group: LayerGroup) -> Figure:
    """A heat map of layers and steps.

    Args:
        frame: The columns ``step`` and those of the group; rows of equal step are averaged.
        group: The statistic to draw.
    """
    steps, table = layer_table(frame, group)
    drawing = Figure(figsize=(7.5, 1.2 + 0.3 * len(table)), layout="constrained")
    axes = drawing.subplots()
    mesh = axes.pcolormesh(
        _edges(steps),
        np.arange(len(table) + 1) - 0.5,
        table,
        cmap="viridis",
        norm=LogNorm() if is_wide_range(table) else None,
        rasterized=True,
    )
    axes.set_yticks(range(len(table)), [str(layer) for layer in group.columns])
    axes.set_xlabel("step")
    axes.set_ylabel("block")
    drawing.colorbar(mesh, ax=axes, pad=0.01)
    axes.set_title(group.name, fontsize=9, loc="left")
    return drawing


def _edges(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The edges of the cells around steps, (n + 1,)."""
    if len(steps) == 1:
        return np.array([steps[0] - 0.5, steps[0] + 0.5])
    middle = (steps[1:] + steps[:-1]) / 2
    first, last = 2 * steps[0] - middle[0], 2 * steps[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])
