"""Colours, dashes and names of variants, the same in static figures and on the page."""

import colorsys
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.colors import to_hex

from ablab.experiments.short_names import differing_keys, short_keys, short_names

# Okabe and Ito's palette, whose colours can be distinguished with any colour vision deficiency (its
# black is that of the text), and lighter shades of it for a dark page.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1d2025")
_DARK = ("#4c9fe6", "#f07f3c", "#1fbf92", "#e49bc4", "#f2b632", "#9ad8ff", "#e4e6ea")
DASHES: tuple[tuple[int, ...], ...] = ((), (6, 3), (2, 2), (8, 3, 2, 3))
CROWDED = len(PALETTE) * len(DASHES)  # with more variants than this, styles need not be unique

# Values of a number are shown by the perceptually uniform colour map plasma, of which one end is
# too light for white paper and the other too dark for black.
_MAP = [to_hex(mpl.colormaps["plasma"](place)) for place in range(256)]
_SHIFT = 90  # from a colour on white to its partner on black
# Successive multiples of the golden angle are spread over all hues.
_FURTHER = [
    to_hex(colorsys.hls_to_rgb((0.13 + 0.618034 * place) % 1, (0.42, 0.3, 0.36)[place % 3], 0.7))
    for place in range(200)
]


@dataclass(frozen=True)
class Axis:
    """A setting whose values differ between variants, or the only settings of a grid.

    Attributes:
        key: The setting.
        short: Its shortest unambiguous ending.
        values: The values as text; numbers in increasing order.
        colours: The colour of each value: a sequential scale for numbers.
        is_numeric: Whether all values are numbers.
    """

    key: str
    short: str
    values: list[str]
    colours: list[str]
    is_numeric: bool


@dataclass(frozen=True)
class Style:
    """How a variant is drawn: its colour on white, and the places of its dash and its shape."""

    colour: str
    dash: int
    shape: int


@dataclass(frozen=True)
class Styles:
    """The styles of a grid's variants.

    Attributes:
        axes: The settings.
        order: The places of the variants in the order in which they are listed.
        at: For each variant, the place of its value on each axis.
        names: For each variant, what sets it apart from the others.
        styles: For each variant, its style.
        by: The only axis that the colours show if there are too many variants; else None.
    """

    axes: list[Axis]
    order: list[int]
    at: list[list[int]]
    names: list[str]
    styles: list[Style]
    by: Axis | None


def partner_on_dark(colour: str) -> str | None:
    """The partner of a colour on a dark page; None for a colour that is not one of these."""
    if colour in PALETTE:
        return _DARK[PALETTE.index(colour)]
    if colour in _MAP:
        return _MAP[min(255, _MAP.index(colour) + _SHIFT)]
    if colour in _FURTHER:
        red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
        return to_hex(colorsys.hls_to_rgb(hue, lightness + 0.3, saturation))
    return None


def sequential(count: int) -> list[str]:
    """Colours for increasing numbers, evenly spaced on the scale."""
    last = 255 - _SHIFT
    if count == 1:
        return [PALETTE[0]]
    return [_MAP[round(last * place / (count - 1))] for place in range(count)]


def categorical(count: int) -> list[str]:
    """Colours for values without an order: the palette, then further hues."""
    hues = count - len(PALETTE)
    return [*PALETTE[:count], *(_FURTHER[place % len(_FURTHER)] for place in range(hues))]


def are_numbers(values: Sequence[Any]) -> bool:
    """Whether all values are numbers, or labels of bundles that are, so that they have an order."""
    if any(isinstance(each, bool) for each in values):
        return False
    try:
        return all(math.isfinite(float(each)) for each in values)
    except (TypeError, ValueError):
        return False


def value_colours(values: Sequence[Any]) -> list[str]:
    """The colours of the distinct values of a setting: a sequential scale for sorted numbers."""
    return sequential(len(values)) if are_numbers(values) else categorical(len(values))


def styles(cells: Sequence[Mapping[str, Any]], main: str | None = None) -> Styles:
    """The colours, dashes and names of variants.

    Colours show the first setting and dashes the second; if the second has too many values for
    dashes, the other way around. No two variants look the same, except where there are more than
    ``CROWDED`` of them and more than two settings: then colours show one setting only.

    Args:
        cells: The keys and values of each variant.
        main: The setting that colours show if they can show only one; the first by default.
    """
    keys = differing_keys(cells) or list(dict.fromkeys(key for cell in cells for key in cell))
    short = short_keys(keys)
    axes = [_axis(key, short[key], [cell.get(key) for cell in cells]) for key in keys]
    at = [[axis.values.index(str(cell.get(axis.key))) for axis in axes] for cell in cells]
    order = sorted(range(len(cells)), key=lambda place: at[place])
    place = keys.index(main) if main in keys else 0
    found, by = _styles(axes, at, order, place)
    return Styles(axes, order, at, short_names(cells), found, by)


def _axis(key: str, short: str, given: Sequence[Any]) -> Axis:
    values = list(dict.fromkeys(given))
    is_numeric = are_numbers(values)
    if is_numeric:
        values.sort(key=float)
    names = list(dict.fromkeys(str(value) for value in values))
    return Axis(key, short, names, value_colours(values)[: len(names)], is_numeric)


def _styles(
    axes: Sequence[Axis], at: Sequence[Sequence[int]], order: Sequence[int], main: int
) -> tuple[list[Style], Axis | None]:
    coloured, dashed = _shown_axes(axes, len(at))
    if coloured is None or len({tuple(place) for place in at}) < len(at):
        if len(at) > CROWDED and axes:
            shown = [Style(axes[main].colours[place[main]], 0, place[main] % 7) for place in at]
            return shown, axes[main]
        place_of = {place: number for number, place in enumerate(order)}
        numbers = [place_of[place] for place in range(len(at))]
        return [Style(PALETTE[n % 7], n // 7 % len(DASHES), n % 7) for n in numbers], None
    return [
        Style(
            axes[coloured].colours[place[coloured]],
            0 if dashed is None else place[dashed],
            place[coloured] % 7,
        )
        for place in at
    ], None


def _shown_axes(axes: Sequence[Axis], count: int) -> tuple[int | None, int | None]:
    """The axes that colours and dashes show; no colours if two channels are not enough.

    Args:
        axes: The axes.
        count: The number of variants.
    """
    if len(axes) == 1:
        many = len(PALETTE) < len(axes[0].values) <= CROWDED  # dashes tell more apart than hues
        return (None if many and not axes[0].is_numeric else 0), None
    if count > len(PALETTE):  # a number that no two variants share, as in a Sobol sequence
        for place, axis in enumerate(axes):
            if axis.is_numeric and len(axis.values) == count:
                return place, None
    if len(axes) == 2 and len(axes[1].values) <= len(DASHES):
        return 0, 1
    if len(axes) == 2 and len(axes[0].values) <= len(DASHES):
        return 1, 0
    return None, None
