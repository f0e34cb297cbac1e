"""Curves as JSON for the page's figure, small enough to be embedded in the page.

There are two JSON documents. The *grid* is ``{"axes": [{"key", "values"}], "variants": [{"label",
"at", "style"}]}``: ``at`` holds the index of a variant's value on each axis, ``style`` its colour
and dash in the static figures. The *data* is, by column, ``{"title", "wide", "levels", "steps",
"curves"}``. ``steps`` are lists of steps that curves share. A curve is ``{"variant", "steps",
"mean", "low", "high", "restarts", "marks"}``, with the indices of its variant and of its list of
steps. ``low`` and ``high`` are omitted if they equal the mean, ``marks`` if there are none.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablab.experiments.experiment import variant_label
from ablab.logbook.svg import PALETTE
from ablab.logbook.variant_curves import DASHES, is_wide, styles
from ablab.read.bands import MAX_POINTS, Band

# Marks by column and label of the variant, each {"kind", "from", "to", "level", "text"}. kind is
# plateau, descent, growback, rise, peak, spike, slowdown, steepening, transition, floor, restart or
# diverged; from and to are steps; level is a value or None; text is shown in the tooltip.
Marks = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]

_POINTS = 170_000  # maximum number of points on a page, at about 17 bytes each
_FEWEST = 40  # minimum number of points of a curve


@dataclass(frozen=True)
class PlotData:
    """The two documents, as JSON that is safe inside a script element."""

    grid: str
    data: str


def plot_data(
    drawn: Mapping[str, Sequence[Band]],
    titles: Mapping[str, str],
    levels: Mapping[str, float],
    marks: Marks | None = None,
    cells: Sequence[Mapping[str, Any]] = (),
) -> PlotData:
    """The data of the page's figure.

    Args:
        drawn: The curves, by column.
        titles: The titles of the columns.
        levels: Natural levels, by name.
        marks: The marks on the curves.
        cells: The variants of the whole grid, so that each has a position and colour before it has
            a curve; by default, the variants that have curves.
    """
    grid, places = _grid(drawn, cells)
    data = {}
    for column, found in drawn.items():
        steps: dict[tuple[int, ...], int] = {}
        mine = (marks or {}).get(column, {})
        curves = [
            _curve(band, places[band.label], steps, mine.get(band.label, ())) for band in found
        ]
        data[column] = {
            "title": titles[column],
            "wide": is_wide(found),
            "levels": levels if column.endswith("loss") else {},
            "steps": [list(each) for each in steps],
            "curves": curves,
        }
    return PlotData(_script(grid), _script(data))


def points_of_curves(variants: int, measures: int, statistics: int) -> tuple[int, int]:
    """The maximum number of points of a measure's and of a statistic's curve.

    The limits bound the size of the page. The second is 0 if statistics would get too few points.
    """
    share = _POINTS if not statistics else int(0.6 * _POINTS)
    points = min(MAX_POINTS, max(_FEWEST, share // max(1, variants * measures)))
    left = _POINTS - points * variants * measures
    few = min(MAX_POINTS, left // max(1, variants * statistics))
    return points, few if few >= _FEWEST else 0


def _grid(
    drawn: Mapping[str, Sequence[Band]], cells: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Axes and variants of all columns, and the index of each variant by its label."""
    # The column with the most curves determines the order; others may lack some.
    columns = sorted(drawn.values(), key=len, reverse=True)
    named = {band.label: band for found in columns for band in found}
    whole = {variant_label(cell): cell for cell in cells}
    if named.keys() <= whole.keys():
        empty = {name: Band(dict(cell), name, [], [], [], [], []) for name, cell in whole.items()}
        named = empty | named
    every = list(named.values())
    keys = list(dict.fromkeys(key for band in every for key in band.keys))
    values = {key: list(dict.fromkeys(str(band.keys.get(key)) for band in every)) for key in keys}
    variants = [
        {
            "label": band.label,
            "at": [values[key].index(str(band.keys.get(key))) for key in keys],
            "style": [PALETTE.index(colour), DASHES.index(dash)],
        }
        for band, (colour, dash) in zip(every, styles(every), strict=True)
    ]
    axes = [{"key": key, "values": values[key]} for key in keys]
    places = {band.label: place for place, band in enumerate(every)}
    return {"axes": axes, "variants": variants}, places


def _curve(
    band: Band,
    variant: int,
    steps: dict[tuple[int, ...], int],
    marks: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    curve: dict[str, Any] = {
        "variant": variant,
        "steps": steps.setdefault(tuple(band.steps), len(steps)),
        "mean": _rounded(band.mean, 5),
        "restarts": band.restarts,
    }
    if band.low != band.mean or band.high != band.mean:
        curve |= {"low": _rounded(band.low, 4), "high": _rounded(band.high, 4)}
    if marks:
        curve["marks"] = [
            {name: _plain(mark.get(name)) for name in ("kind", "from", "to", "level", "text")}
            for mark in marks
        ]
    return curve


def _rounded(values: list[float], digits: int) -> list[float | int]:
    """The values with some significant digits; integral values as integers, which are shorter."""
    found = [float(f"{value:.{digits}g}") for value in values]
    return [int(each) if each.is_integer() and abs(each) < 1e6 else each for each in found]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _script(document: Any) -> str:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # The text must not contain "</script" or "<!--".
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
