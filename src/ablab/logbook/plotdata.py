"""Curves as data for the page's figure, small enough to stand inside it.

Two JSON documents. The *grid* is ``{"axes": [{"key", "values"}], "variants": [{"label", "at",
"style"}]}``: ``at`` is the place of a variant's value on each axis, ``style`` its colour and dash
in the static figures. The *data* is, by column, ``{"title", "wide", "levels", "steps", "curves"}``,
where ``steps`` are lists of steps that curves share, and a curve is ``{"variant", "steps", "mean",
"low", "high", "restarts", "marks"}`` with the places of its variant and of its steps; ``low`` and
``high`` are left out where they equal the mean, and ``marks`` where there are none.
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

# Marks by column and variant label, each {"kind", "from", "to", "level", "text"}: kind is plateau,
# descent, growback, spike, slowdown, floor, restart or diverged; from and to are steps, level a
# value or None, text what the page says of it.
Marks = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]

_POINTS = 170_000  # on a page, of about 17 bytes each
_FEWEST = 40  # points of a curve that is shown at all


@dataclass(frozen=True)
class PlotData:
    """The two documents as JSON that is safe inside a script element."""

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
        drawn: The curves by column.
        titles: What each column is called.
        levels: Losses with a meaning, by name.
        marks: What was found in the curves.
        cells: The variants of the whole grid, so that each has its place and colour before it has
            a curve; those that have one by default.
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
    """How many points a curve of a measure and one of a statistic may have on a page.

    So that the page stays below its size; zero where too few would be left to be worth it.
    """
    share = _POINTS if not statistics else int(0.6 * _POINTS)
    points = min(MAX_POINTS, max(_FEWEST, share // max(1, variants * measures)))
    left = _POINTS - points * variants * measures
    few = min(MAX_POINTS, left // max(1, variants * statistics))
    return points, few if few >= _FEWEST else 0


def _grid(
    drawn: Mapping[str, Sequence[Band]], cells: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Axes and variants of all columns, and each variant's place by its label."""
    # The column with the most curves says the order; others may lack some.
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
    """The values to some significant digits; whole ones as integers, which are shorter."""
    found = [float(f"{value:.{digits}g}") for value in values]
    return [int(each) if each.is_integer() and abs(each) < 1e6 else each for each in found]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _script(document: Any) -> str:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # Neither the end of the element nor a comment may begin inside it.
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
