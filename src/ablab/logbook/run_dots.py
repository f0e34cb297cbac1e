"""The runs of a variant as dots in a figure."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from ablab.logbook.svg import PAPER
from ablab.logbook.variant_values import VariantValues


def draw_runs(
    axes: Axes,
    row: VariantValues,
    place: float,
    colour: str,
    *,
    sideways: bool = False,
    size: float = 5.5,
) -> None:
    """A dot for each run: filled if it learnt, and an open arrow if it did not get there.

    Args:
        axes: Where to draw.
        row: The variant.
        place: Its place on the other axis.
        colour: The colour of the dots.
        sideways: Whether values are on the horizontal axis.
        size: The size of the dots, in points.
    """

    def draw(values: Sequence[float], marker: str, **style: Any) -> None:
        at = [place] * len(values)
        xs, ys = (values, at) if sideways else (at, values)
        axes.plot(xs, ys, marker, ms=size, mec=colour, mew=1, ls="none", zorder=3, **style)

    learnt = row.values if row.learnt is None else row.learnt
    draw(learnt, "o", mfc=colour, alpha=0.6)
    if row.learnt is not None:
        rest = [each for each in row.values if each not in row.learnt]
        draw(rest, "o", mfc=PAPER)
    draw(row.missed, ">" if sideways else "^", mfc=PAPER)
