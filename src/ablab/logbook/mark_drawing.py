"""Draws the findings of the curve reader on a static figure."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from ablab.logbook.svg import INK, PAPER
from ablab.read.bands import Band

_SHADED = 3  # with more curves than this, shades of transitions would hide each other
_SAME = 8.0  # names that are equal and this close in height, in points, are written once
_Marks = Sequence[Mapping[str, Any]]


def draw_marks(axes: Axes, of_bands: Sequence[tuple[Band, str, _Marks]]) -> None:
    """Draws marks as the page does.

    Plateaus and floors are bars with the name of their level, descents diamonds, spikes triangles,
    transitions brackets over the steps from a tenth to nine tenths of the change (which is shaded
    if there are few curves), and other findings circles. A name that would cover another is left
    out.

    Args:
        axes: The axes, on which the curves have been drawn.
        of_bands: The curves with their colours and marks.
    """
    named = []
    for band, colour, marks in of_bands:
        for mark in marks:
            _draw_mark(axes, band, mark, colour)
            if mark["kind"] == "transition" and len(of_bands) <= _SHADED:
                (low, high), width = mark["span"], mark["to"] - mark["from"]
                place = (mark["from"], low)
                axes.add_patch(Rectangle(place, width, high - low, fc=colour, alpha=0.13, lw=0))
            if mark["kind"] in ("plateau", "floor"):
                named.append(mark)
    _name(axes, named)


def _draw_mark(axes: Axes, band: Band, mark: Mapping[str, Any], colour: str) -> None:
    kind, level, first, last = (mark[name] for name in ("kind", "level", "from", "to"))
    if kind in ("plateau", "floor"):
        style = "solid" if kind == "plateau" else (0, (1, 0.6))
        axes.hlines(level, first, last, color=colour, lw=4, alpha=0.35, linestyles=[style])
    elif kind == "transition":
        axes.plot([first, last], [level, level], "|-", color=colour, lw=1.2, ms=7, mew=1.2)
    elif kind == "descent":
        axes.plot([first], [level], "D", ms=4.5, color=colour, mec=PAPER, mew=0.6, zorder=5)
    elif kind in ("peak", "steepening", "slowdown"):
        axes.plot([first], [level], "o", ms=4.5, color=colour, mec=PAPER, mew=0.6, zorder=5)
    elif kind == "spike":
        place = min(bisect_left(band.steps, first), len(band.steps) - 1)
        axes.plot(
            [first], [band.high[place]], "v", ms=5, color=colour, mec=PAPER, mew=0.6, zorder=5
        )
    elif kind == "diverged" and band.steps:
        place = min(bisect_left(band.steps, last), len(band.steps) - 1)
        axes.plot([last], [band.values[place]], "x", ms=6, color=colour, mew=1.6, zorder=5)


def _name(axes: Axes, marks: _Marks) -> None:
    """Writes the names of levels above their bars, unless one would cover another."""
    figure = axes.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]  # places axes and texts
    taken = [(text.get_text(), text.get_window_extent()) for text in axes.texts]
    box = axes.get_window_extent()
    for mark in marks:
        text = axes.annotate(
            mark["name"], (mark["from"], mark["level"]), xytext=(0, 4), textcoords="offset points",
            fontsize=8, color=INK, va="bottom", zorder=6,
        )  # fmt: skip
        extent = text.get_window_extent()
        if extent.x1 > box.x1:
            text.set_horizontalalignment("right")
            text.xy = (mark["to"], mark["level"])
            extent = text.get_window_extent()
        if extent.x0 < box.x0 or any(_hides(mark["name"], extent, other) for other in taken):
            text.remove()
        else:
            taken.append((mark["name"], extent))


def _hides(name: str, extent: Bbox, other: tuple[str, Bbox]) -> bool:
    """Whether a name would cover another, or says the same as another of the same height."""
    same = name == other[0] and abs(extent.y0 - other[1].y0) < _SAME
    return same or bool(extent.overlaps(other[1]))
