"""A statistic as a curve for each layer."""

import polars as pl
from matplotlib.figure import Figure

from ablab.logbook.colours import sequential
from ablab.logbook.figure import figure
from ablab.logbook.layers import LayerGroup, is_wide_range, layer_table
from ablab.logbook.svg import logarithmic, plain_axes
from ablab.read.measure_words import column_words


@figure("curves", shows="statistic", about="a curve for each layer over the steps")
def curves(frame: pl.DataFrame, group: LayerGroup) -> Figure:
    """A curve for each layer over the steps.

    Args:
        frame: The columns ``step`` and those of the group; rows of equal step are averaged.
        group: The statistic to draw.
    """
    steps, table = layer_table(frame, group)
    drawing = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = drawing.subplots()
    # Layers are ordered, so their colours come from a sequential scale.
    shades = sequential(len(group.columns))
    plain_axes(axes)
    for row, layer, shade in zip(table, group.columns, shades, strict=True):
        label = f"block {layer}" if "blocks.*" in group.name else None
        axes.plot(steps, row, color=shade, lw=1.4, label=label)
    if is_wide_range(table):
        logarithmic(axes)
    axes.set_xlabel("step")
    axes.set_ylabel(column_words(group.name), fontsize=8)
    axes.margins(x=0.01)
    if len(group.columns) > 1:
        axes.legend(ncols=1 + len(group.columns) // 9)
    return drawing
