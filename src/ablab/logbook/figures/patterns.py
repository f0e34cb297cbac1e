"""Attention patterns as a grid of heads and steps."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablab.config import InputError, Problem
from ablab.logbook.figure import figure
from ablab.logbook.layers import spaced

_STEPS = 5  # maximum number shown
MOST_HEADS = 8
"""The maximum number of heads shown."""


@figure("patterns", shows="capture", about="attention patterns as a grid of heads and steps")
def patterns(captures: Mapping[int, NDArray[np.float64]], name: str) -> Figure:
    """Attention patterns in a grid: one row per step, one column per head.

    Args:
        captures: The patterns by step, each (B, H, T, S); the mean over samples is drawn.
        name: The name of the pattern.

    Raises:
        InputError: The tensor does not have four axes.
    """
    first = next(iter(captures.values()))
    if first.ndim != 4:
        raise InputError(
            Problem(
                f"{name!r} is not an attention pattern",
                given=f"a tensor of shape {tuple(first.shape)}",
                expected="axes samples, heads, queries, keys; use --as histogram for other tensors",
            )
        )
    shown = spaced(sorted(captures), _STEPS)
    heads = min(first.shape[1], MOST_HEADS)
    drawing = Figure(figsize=(0.8 + 1.15 * heads, 0.5 + 1.2 * len(shown)), layout="constrained")
    grid = drawing.subplots(len(shown), heads, squeeze=False)
    image = None
    for row, step in zip(grid, shown, strict=True):
        pattern = captures[step].mean(axis=0)  # (H, T, S)
        for head, axes in enumerate(row):
            image = axes.imshow(pattern[head], cmap="viridis", vmin=0, vmax=1, aspect="auto")
            axes.set_xticks([])
            axes.set_yticks([])
            if head == 0:
                axes.set_ylabel(f"step {step}", fontsize=8)
            if step == shown[0]:
                axes.set_title(f"head {head}", fontsize=8)
    assert image is not None, "at least one step is shown"
    drawing.colorbar(image, ax=grid.ravel().tolist(), pad=0.01, shrink=0.8)
    drawing.suptitle(f"{name}: rows are queries, columns keys", fontsize=9)
    return drawing
