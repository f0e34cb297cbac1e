"""Line charts of statistics and factors as SVG, about fifty times as fast as matplotlib's.

A page has up to a hundred of these small charts, and matplotlib takes about 0.1 s for each, nearly
all of it for ticks and the layout of text. The look is that of :mod:`ablab.logbook.svg`; ticks are
placed by matplotlib's locators.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from ablab.logbook.labels import fitted, text_width
from ablab.logbook.svg import FONT, GRID, INK, LINE, SOFT

_TEXT, _LETTER = 9.0, 0.6  # font size in points, and the width of a letter in font sizes
_EDGE, _GAP = 8.0, 4.0  # around a panel, and between a tick and its label
_ROW = 14.0  # the height of a row of text
_SWATCH = 16.0  # the length of a line in the legend
_FAR = 6  # so many decades have a tick each


@dataclass(frozen=True)
class ChartLine:
    """A line of a chart.

    Attributes:
        xs: The x values, (n,), in increasing order.
        ys: The y values, (n,); the line has a gap where one is not finite.
        colour: Its colour on white.
        name: Its name in the legend; empty for none.
        width: Its width in points.
        opacity: From 0 to 1.
    """

    xs: ArrayLike
    ys: ArrayLike
    colour: str
    name: str = ""
    width: float = 1.4
    opacity: float = 1.0


@dataclass(frozen=True)
class ChartPanel:
    """A chart beside others.

    Attributes:
        lines: The lines; later ones are drawn over earlier ones.
        y_label: What the y axis shows, written beside it.
        title: Written above the chart.
        x_label: What the x axis shows.
        logarithmic: Whether the y axis is logarithmic; values that are not positive are gaps.
        limits: The ends of the y axis; by default, those of the values with some room.
    """

    lines: Sequence[ChartLine]
    y_label: str = ""
    title: str = ""
    x_label: str = "step"
    logarithmic: bool = False
    limits: tuple[float, float] | None = None


def line_charts(panels: Sequence[ChartPanel], width: float, height: float) -> str:
    """Charts side by side, as an SVG document.

    Args:
        panels: The charts.
        width: The width of the document, in points.
        height: Its height, in points.
    """
    each = width / len(panels)
    parts = [_panel(panel, place * each, each, height) for place, panel in enumerate(panels)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}pt" height="{height:g}pt" '
        f'viewBox="0 0 {width:g} {height:g}" version="1.1">\n' + "\n".join(parts) + "\n</svg>\n"
    )


def linear_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """At most ``most`` + 1 ticks from ``low`` to ``high``, with their labels."""
    places = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    room = 1e-9 * (high - low)
    inside = [float(each) for each in places if low - room <= each <= high + room]
    step = float(places[1] - places[0])
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if not math.isclose(round(step, digits), step, rel_tol=1e-6):  # 2.5 needs one more digit
        digits += 1
    if digits > 5 or max(abs(low), abs(high)) >= 1e7:
        return [(each, f"{each:.4g}") for each in inside]
    return [(each, f"{each + 0.0:.{digits}f}") for each in inside]


def logarithmic_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks at powers of ten, and at 2 and 5 times these if there are few, with their labels."""
    decades = math.log10(high / low)
    if decades < 0.5:
        return [each for each in linear_ticks(low, high, 4) if each[0] > 0]
    subs = (1.0, 2.0, 5.0) if decades < 2 else (1.0,)
    places = LogLocator(subs=subs, numticks=_FAR).tick_values(low, high)
    return [(float(each), f"{each:g}") for each in places if low <= each <= high]


@dataclass(frozen=True)
class _Frame:
    """Where the points of a chart are: the ends of both axes, and their places in the document."""

    xs: tuple[float, float]
    ys: tuple[float, float]
    across: tuple[float, float]
    down: tuple[float, float]
    logarithmic: bool

    def x(self, values: ArrayLike) -> NDArray[np.float64]:
        """The places of x values."""
        (first, last), (left, right) = self.xs, self.across
        shares = (np.asarray(values, np.float64) - first) / (last - first)
        return np.asarray(left + shares * (right - left))

    def y(self, values: ArrayLike) -> NDArray[np.float64]:
        """The places of y values."""
        found = np.asarray(values, np.float64)
        (low, high), (top, bottom) = self.ys, self.down
        if self.logarithmic:
            found = np.log(np.where(found > 0, found, np.nan))
            low, high = math.log(low), math.log(high)
        return np.asarray(bottom - (found - low) / (high - low) * (bottom - top))


def _panel(panel: ChartPanel, left: float, width: float, height: float) -> str:
    """A chart in its part of the document."""
    xs, ys = _limits(panel)
    y_ticks = logarithmic_ticks(*ys) if panel.logarithmic else linear_ticks(*ys, 5)
    labels = max((_width(label) for _, label in y_ticks), default=0.0)
    named = [line for line in panel.lines if line.name]
    legend, rows = _legend(named, width - 2 * _EDGE) if len(named) > 1 else ([], 0)
    across = (left + _EDGE + (_ROW if panel.y_label else 0) + labels + _GAP,
              left + width - _EDGE - _TEXT)  # fmt: skip
    down = (_EDGE + _ROW * (rows + bool(panel.title)), height - _EDGE - 2 * _ROW)
    frame = _Frame(xs, ys, across, down, panel.logarithmic)
    parts = _axes(frame, y_ticks)
    for line in panel.lines:
        path = _path(frame.x(line.xs), frame.y(line.ys))
        parts.append(_line(path, line.colour, line.width, line.opacity))
    middle, below = sum(across) / 2, down[1] + _GAP + _TEXT + _ROW
    parts.append(_text(panel.x_label, middle, below, "middle"))
    if panel.y_label:
        shown = _fitting(panel.y_label, height - 2 * _EDGE)
        turned = f"translate({left + _EDGE + _TEXT:.1f} {sum(down) / 2:.1f})rotate(-90)"
        parts.append(_text(shown, 0, 0, "middle", f' transform="{turned}"'))
    if panel.title:
        parts.append(_text(panel.title, across[0], _EDGE + _TEXT, "start", colour=INK))
    for line, along, row in legend:
        at, above = left + _EDGE + along, down[0] - _ROW * (rows - row) + _ROW / 2
        parts.append(_line(f"M{at:.1f} {above:.1f}h{_SWATCH:g}", line.colour, line.width))
        at, above = at + _SWATCH + _GAP, above + 0.35 * _TEXT
        parts.append(_text(line.name, at, above, "start", colour=INK))
    return "\n".join(parts)


def _axes(frame: _Frame, y_ticks: Sequence[tuple[float, str]]) -> list[str]:
    """The grid, the labels of the ticks, and the two lines of the axes."""
    (x0, x1), (y0, y1) = frame.across, frame.down
    parts = []
    for place, label in linear_ticks(*frame.xs, max(3, int((x1 - x0) // 65))):
        at = float(frame.x(place))
        parts.append(_line(f"M{at:.1f} {y1:.1f}V{y0:.1f}", GRID, 0.7))
        parts.append(_text(label, at, y1 + _GAP + _TEXT, "middle"))
    for place, label in y_ticks:
        at = float(frame.y(place))
        parts.append(_line(f"M{x0:.1f} {at:.1f}H{x1:.1f}", GRID, 0.7))
        parts.append(_text(label, x0 - _GAP, at + 0.35 * _TEXT, "end"))
    parts.append(_line(f"M{x0:.1f} {y0:.1f}V{y1:.1f}H{x1:.1f}", LINE, 0.8))
    return parts


def _limits(panel: ChartPanel) -> tuple[tuple[float, float], tuple[float, float]]:
    """The ends of both axes; an axis of one value has some room."""
    xs = np.concatenate([np.asarray(line.xs, np.float64) for line in panel.lines] or [np.zeros(1)])
    first, last = (float(xs.min()), float(xs.max())) if len(xs) else (0.0, 1.0)
    across = (first, last) if last > first else (first - 0.5, last + 0.5)
    if panel.limits is not None:
        return across, panel.limits
    ys = np.concatenate([np.asarray(line.ys, np.float64) for line in panel.lines] or [np.zeros(1)])
    ys = ys[np.isfinite(ys) & ((ys > 0) | (not panel.logarithmic))]
    low, high = (float(ys.min()), float(ys.max())) if len(ys) else (1.0, 2.0)
    if panel.logarithmic:
        room = max(high / low, 1.1) ** 0.05
        return across, (low / room, high * room)
    room = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return across, (low - room, high + room)


def _path(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> str:
    """A path through points, in tenths of a point, with gaps where y is not finite."""
    parts, command = [], "M"
    for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
        if math.isfinite(y):
            parts.append(f"{command}{x:.1f} {y:.1f}")
            command = "L"
        else:
            command = "M"
    return "".join(parts)


def _legend(
    lines: Sequence[ChartLine], width: float
) -> tuple[list[tuple[ChartLine, float, int]], int]:
    """The place of each line in the legend, as distance from the left and row, and the rows."""
    found, across, row = [], 0.0, 0
    for line in lines:
        needed = _SWATCH + _GAP + _width(line.name) + 2 * _EDGE
        if across and across + needed > width:
            across, row = 0.0, row + 1
        found.append((line, across, row))
        across += needed
    return found, row + 1


def _width(text: str) -> float:
    """The estimated width of a text, in points."""
    return _LETTER * _TEXT * text_width(text)


def _fitting(text: str, room: float) -> str:
    """A text, whose middle is left out if it is longer than the room for it."""
    return fitted(text, int(room / (_LETTER * _TEXT)))


def _line(path: str, colour: str, width: float, opacity: float = 1.0) -> str:
    faint = "" if opacity == 1 else f"; stroke-opacity: {opacity:g}"
    style = f"fill: none; stroke: {colour}; stroke-width: {width:g}; stroke-linejoin: round{faint}"
    return f'<path d="{path}" style="{style}"/>'


def _text(text: str, x: float, y: float, anchor: str, more: str = "", *, colour: str = SOFT) -> str:
    style = f"font: {_TEXT:g}px {FONT}; text-anchor: {anchor}; fill: {colour}"
    return f'<text x="{x:.1f}" y="{y:.1f}"{more} style="{style}">{escape(text)}</text>'
