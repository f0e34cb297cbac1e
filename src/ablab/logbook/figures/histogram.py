"""Histograms of a captured tensor over the steps."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablab.logbook.figure import figure
from ablab.logbook.layers import spaced

_BINS = 48


@figure("histogram", shows="capture", about="a histogram of the values at each captured step")
def histogram(captures: Mapping[int, NDArray[np.float64]], name: str) -> Figure:
    """A histogram of a tensor's values at each captured step.

    Args:
        captures: The tensor by step.
        name: The name of the tensor.
    """
    steps = sorted(captures)
    finite = [values[np.isfinite(values)] for values in (captures[step] for step in steps)]
    reach = max((np.quantile(np.abs(values), 0.999) for values in finite if len(values)), default=1)
    edges = np.linspace(-reach, reach, _BINS + 1) if reach else np.linspace(-1, 1, _BINS + 1)
    table = np.stack([np.histogram(values, edges)[0] for values in finite], axis=1).astype(float)
    table /= np.maximum(table.sum(axis=0, keepdims=True), 1)
    table[table == 0] = np.nan
    drawing = Figure(figsize=(7.5, 3.2), layout="constrained")
    axes = drawing.subplots()
    mesh = axes.pcolormesh(
        np.arange(len(steps) + 1) - 0.5, edges, table, cmap="viridis",
        norm=LogNorm(), rasterized=True,
    )  # fmt: skip
    marks = spaced(list(range(len(steps))), 10)
    axes.set_xticks(marks, [str(steps[mark]) for mark in marks])
    axes.set_xlabel("captured after step")
    axes.set_ylabel("value")
    drawing.colorbar(mesh, ax=axes, pad=0.01, label="fraction of entries")
    axes.set_title(name, fontsize=9, loc="left")
    return drawing
