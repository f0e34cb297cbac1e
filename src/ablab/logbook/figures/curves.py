"""A statistic as a curve for each layer."""

import polars as pl

from ablab.logbook.colours import sequential
from ablab.logbook.figure import figure
from ablab.logbook.layers import LayerGroup, is_wide_range, layer_table
from ablab.logbook.line_chart import ChartLine, ChartPanel, line_charts
from ablab.read.measure_words import column_words


@figure("curves", shows="statistic", about="a curve for each layer over the steps")
def curves(frame: pl.DataFrame, group: LayerGroup) -> str:
    """A curve for each layer over the steps.

    Args:
        frame: The columns ``step`` and those of the group; rows of equal step are averaged.
        group: The statistic to draw.
    """
    steps, table = layer_table(frame, group)
    # Layers are ordered, so their colours come from a sequential scale.
    shades = sequential(len(group.columns))
    lines = [
        ChartLine(steps, row, shade, f"block {layer}" if "blocks.*" in group.name else "")
        for row, layer, shade in zip(table, group.columns, shades, strict=True)
    ]
    panel = ChartPanel(lines, column_words(group.name), logarithmic=is_wide_range(table))
    return line_charts([panel], 540, 259)
