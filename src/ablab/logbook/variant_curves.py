"""The curves of an entry's variants as a static figure."""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablab.logbook.svg import PALETTE, figure_style, svg
from ablab.read.bands import Band

DASHES: tuple[tuple[int, ...], ...] = ((), (6, 3), (2, 2), (8, 3, 2, 3))
CROWDED = len(PALETTE) * len(DASHES)  # with more bands than this, styles are not unique
_MARKED = 8  # with more bands than this, marks would overlap
_WIDE_RANGE = 30.0  # ratio of values above which an axis is logarithmic


def styles(bands: Sequence[Band]) -> list[tuple[str, tuple[int, ...]]]:
    """A colour and a dash pattern for each band, from the first and second axis of the grid.

    If the axes have too many values for that, bands get successive colours and dash patterns. If
    there are too many bands, colours follow the first axis and all lines are solid.
    """
    axes = list(dict.fromkeys(key for band in bands for key in band.keys))
    values = [list(dict.fromkeys(str(band.keys.get(key)) for band in bands)) for key in axes]
    if (
        1 <= len(axes) <= 2
        and len(values[0]) <= len(PALETTE)
        and (len(axes) < 2 or len(values[1]) <= len(DASHES))
    ):
        return [
            (
                PALETTE[values[0].index(str(band.keys.get(axes[0])))],
                DASHES[values[1].index(str(band.keys.get(axes[1])))] if len(axes) > 1 else (),
            )
            for band in bands
        ]
    if len(bands) > CROWDED and axes:
        places = [values[0].index(str(band.keys.get(axes[0]))) for band in bands]
        return [(PALETTE[place % len(PALETTE)], ()) for place in places]
    return [
        (PALETTE[i % len(PALETTE)], DASHES[i // len(PALETTE) % len(DASHES)])
        for i in range(len(bands))
    ]


def is_wide(bands: Sequence[Band]) -> bool:
    """Whether the values span a range that needs a logarithmic axis."""
    values = [value for band in bands for value in band.mean]
    return min(values) > 0 and max(values) / min(values) > _WIDE_RANGE


def curves(
    bands: Sequence[Band],
    column: str,
    levels: dict[str, float],
    marks: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> str:
    """The curves of a column with a band over seeds, as an SVG document.

    Restarts are thin marks at the bottom, in the colour of their variant. If there are few curves,
    plateaus and floors are drawn as bars, descents as diamonds, spikes as triangles, and peaks,
    steepenings and transitions as circles.

    Args:
        bands: The curves of the variants.
        column: The name of the column.
        levels: Natural levels, by name; drawn as thin lines if they are within the range.
        marks: The marks of the curve reader, by label of the variant.
    """
    with figure_style():
        crowded = len(bands) > CROWDED
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        axes = figure.subplots()
        for band, (colour, dash) in zip(bands, styles(bands), strict=True):
            style = (0, dash) if dash else "solid"
            axes.plot(
                band.steps,
                band.mean,
                color=colour,
                linestyle=style,
                lw=0.6 if crowded else 1.4,
                label=band.label,
            )
            if not crowded:
                axes.fill_between(band.steps, band.low, band.high, color=colour, alpha=0.15, lw=0)
            axes.vlines(
                band.restarts, 0, 0.05, transform=axes.get_xaxis_transform(), color=colour, lw=0.7
            )
            if marks and len(bands) <= _MARKED:
                _draw_marks(axes, band, marks.get(band.label, ()), colour)
        low = min(min(band.low) for band in bands)
        high = max(max(band.high) for band in bands)
        for name, level in levels.items():
            if low <= level <= high and column.endswith("loss"):
                axes.axhline(level, color="0.6", lw=0.7, ls=":", zorder=0)
                axes.annotate(
                    name,
                    (1.0, level),
                    xycoords=("axes fraction", "data"),
                    fontsize=8,
                    color="0.45",
                    ha="right",
                    va="bottom",
                )
        if is_wide(bands):
            axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel(column)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.01)
        if crowded:
            _name_colours(axes, bands)
        elif len(bands) > 1:
            axes.legend(frameon=False, fontsize=8, ncols=1 if len(bands) <= 8 else 2)
        text = svg(figure)
    # Hundredths of a point are finer than any screen, and half as long as what stands there.
    return re.sub(
        r' d="[^"]*"',
        lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]),
        text,
    )


def _draw_marks(axes: Any, band: Band, marks: Sequence[Mapping[str, Any]], colour: str) -> None:
    """A variant's plateaus, descents and spikes, in its colour."""
    for mark in marks:
        level = mark["level"]
        if mark["kind"] in ("plateau", "floor"):
            axes.hlines(level, mark["from"], mark["to"], color=colour, lw=4, alpha=0.35)
        elif mark["kind"] == "descent":
            axes.plot([mark["from"]], [level], "D", ms=4, color=colour, mec="white", mew=0.6)
        elif mark["kind"] in ("peak", "steepening", "transition"):
            axes.plot([mark["from"]], [level], "o", ms=4, color=colour, mec="white", mew=0.6)
        elif mark["kind"] == "spike":
            place = min(bisect_left(band.steps, mark["from"]), len(band.steps) - 1)
            axes.plot([mark["from"]], [band.high[place]], "^", ms=4, color=colour)


def _name_colours(axes: Any, bands: Sequence[Band]) -> None:
    """A legend of the first axis's values, used if there are too many bands for a full legend."""
    key = next(iter(bands[0].keys), "")
    named = {
        str(band.keys.get(key)): Line2D([], [], color=colour)
        for band, (colour, _) in zip(bands, styles(bands), strict=True)
    }
    if key and len(named) <= len(PALETTE):
        axes.legend(named.values(), named.keys(), title=key, frameon=False, fontsize=8)
