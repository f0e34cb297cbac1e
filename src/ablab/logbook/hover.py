"""Figures that say their values under the cursor, without a script.

Transparent rectangles with a ``<title>`` lie over the drawing, which every browser shows as a
tooltip. Notebooks do not run scripts of an output everywhere; this works in all of them.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ablab.logbook.finding_panels import MapCells

MOST_CELLS = 20_000
"""With more cells than this in a figure, it says no values: it would have megabytes."""
_STRIPS = 120  # places along an axis that say their values
_LINES = 14  # of a tooltip
_VIEW = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


@dataclass(frozen=True)
class Series:
    """A curve whose values a figure says.

    Attributes:
        name: Its name.
        xs: The x values, (n,), in increasing order.
        ys: The y values, (n,).
    """

    name: str
    xs: ArrayLike
    ys: ArrayLike


@dataclass(frozen=True)
class Strip:
    """A vertical strip of a drawing, and what it says.

    Attributes:
        box: The left, top, right and bottom edge, as shares of the drawing.
        text: What it says, in lines.
    """

    box: tuple[float, float, float, float]
    text: str


def strips(figure: Figure, axes: Axes, series: Sequence[Series], x_name: str) -> list[Strip]:
    """Strips across the axes, each with the values of the curves there.

    Args:
        figure: A figure whose layout is final.
        axes: Its axes.
        series: The curves on these axes.
        x_name: What the x axis shows, in the singular: ``step``.
    """
    known = [np.asarray(each.xs, np.float64) for each in series if len(np.asarray(each.xs))]
    if not known:
        return []
    every = np.unique(np.concatenate(known))
    low, high = axes.get_xlim()
    box = axes.get_position()
    inside = every[(every >= low) & (every <= high)]
    places = _shares(figure, axes, inside)
    apart = (box.x1 - box.x0) / _STRIPS
    chosen: list[int] = []
    for place, share in enumerate(places):
        if not chosen or share - places[chosen[-1]] >= apart:
            chosen.append(place)
    middles = places[chosen]
    edges = [box.x0, *((middles[1:] + middles[:-1]) / 2), box.x1]
    found = []
    for number, place in enumerate(chosen):
        x = float(inside[place])
        lines = [f"{x_name} {_number(x)}"]
        lines += [line for each in series if (line := _line(each, x, x_name))]
        if len(lines) > _LINES:
            lines = [*lines[:_LINES], f"and {len(lines) - _LINES} more"]
        edge = (float(edges[number]), 1 - box.y1, float(edges[number + 1]), 1 - box.y0)
        found.append(Strip(edge, "\n".join(lines)))
    return found


def with_strips(drawing: str, found: Sequence[Strip]) -> str:
    """A drawing (SVG) that says the values of strips."""
    return _with(drawing, "steps", [(each.box, each.text) for each in found])


def with_cells(drawing: str, maps: Sequence[MapCells]) -> str:
    """A drawing (SVG) that says the values of the cells of its heat maps."""
    if sum(each.values.size for each in maps) > MOST_CELLS:
        return drawing
    return _with(drawing, "cells", [cell for each in maps for cell in _cells(each)])


_Box = tuple[float, float, float, float]


def _cells(found: MapCells) -> list[tuple[_Box, str]]:
    """The box and the text of each cell of a heat map."""
    rows, columns = found.values.shape
    left, top, right, bottom = found.box
    wide, high = (right - left) / columns, (bottom - top) / rows
    row_names = found.rows or [f"row {row}" for row in range(rows)]
    column_names = found.columns or [f"column {column}" for column in range(columns)]
    return [
        (
            (left + c * wide, top + r * high, left + (c + 1) * wide, top + (r + 1) * high),
            f"{found.name} {row_names[r]}, {column_names[c]}: {_map_value(found.values[r, c])}",
        )
        for r in range(rows)
        for c in range(columns)
    ]


def _map_value(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "none"


def _with(drawing: str, name: str, places: Sequence[tuple[_Box, str]]) -> str:
    """A drawing with transparent rectangles over it, each with a tooltip."""
    view = _VIEW.search(drawing)
    if view is None or not places:
        return drawing
    width, height = float(view[1]), float(view[2])
    parts = [
        f'<rect x="{left * width:.1f}" y="{top * height:.1f}" width="{(right - left) * width:.1f}" '
        f'height="{(bottom - top) * height:.1f}"><title>{escape(text.strip())}</title></rect>'
        for (left, top, right, bottom), text in places
    ]
    group = f'<g class="{name}" fill="transparent" stroke="none">{"".join(parts)}</g>'
    before, _, after = drawing.rpartition("</svg>")
    return f"{before}{group}</svg>{after}"


def _shares(figure: Figure, axes: Axes, xs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The places of x values, as shares of the drawing's width."""
    points = axes.transData.transform(np.stack([xs, np.full(len(xs), axes.get_ylim()[1])], axis=1))
    shares: NDArray[np.float64] = figure.transFigure.inverted().transform(points)[:, 0]
    return shares


def _line(series: Series, x: float, x_name: str) -> str:
    """The curve's last value up to an x value, with its own x value if it is not there.

    Empty outside of the curve, and where the value is not finite.
    """
    xs = np.asarray(series.xs, np.float64)
    place = int(np.searchsorted(xs, x, side="right")) - 1
    if place < 0 or x > xs[-1]:
        return ""
    value, there = float(np.asarray(series.ys, np.float64)[place]), float(xs[place])
    if not math.isfinite(value):
        return ""
    at = "" if there == x else f" ({x_name} {_number(there)})"
    return f"{series.name}: {value:.4g}{at}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) and value < 1e9 else f"{value:.4g}"
