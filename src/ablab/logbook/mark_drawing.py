"""Draws the findings of the curve reader on a static figure."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from ablab.logbook.svg import INK, PAPER
from ablab.read.bands import Band

_LONGEST = 32  # maximum length of a name beside a mark
_Marks = Sequence[Mapping[str, Any]]


def draw_marks(axes: Axes, of_bands: Sequence[tuple[Band, str, _Marks]]) -> None:
    """Draws marks as the page does.

    Plateaus and floors are bars with the name of their level, descents diamonds, spikes triangles,
    transitions brackets over the steps from a tenth to nine tenths of the change, which is shaded,
    and other findings circles. A name that would cover another is left out.

    Args:
        axes: The axes, on which the curves have been drawn.
        of_bands: The curves with their colours and marks.
    """
    named = []
    for band, colour, marks in of_bands:
        for mark in marks:
            _draw_mark(axes, band, mark, colour)
            if mark["kind"] in ("plateau", "floor"):
                named.append(mark)
    _name(axes, named)


def _draw_mark(axes: Axes, band: Band, mark: Mapping[str, Any], colour: str) -> None:
    kind, level, first, last = (mark[name] for name in ("kind", "level", "from", "to"))
    if kind in ("plateau", "floor"):
        style = "solid" if kind == "plateau" else (0, (1, 0.6))
        axes.hlines(level, first, last, color=colour, lw=4, alpha=0.35, linestyles=[style])
    elif kind == "transition":
        low, high = mark["span"]
        shade = Rectangle((first, low), last - first, high - low, fc=colour, alpha=0.13, lw=0)
        axes.add_patch(shade)
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
    taken: list[Bbox] = [text.get_window_extent() for text in axes.texts]
    box = axes.get_window_extent()
    for mark in marks:
        name = mark["text"]
        if len(name) > _LONGEST or not mark["level"]:
            continue
        text = axes.annotate(
            name, (mark["from"], mark["level"]), xytext=(0, 4), textcoords="offset points",
            fontsize=8, color=INK, va="bottom", zorder=6,
        )  # fmt: skip
        extent = text.get_window_extent()
        if extent.x1 > box.x1:
            text.set_horizontalalignment("right")
            text.xy = (mark["to"], mark["level"])
            extent = text.get_window_extent()
        if extent.x0 < box.x0 or any(extent.overlaps(other) for other in taken):
            text.remove()
        else:
            taken.append(extent)
