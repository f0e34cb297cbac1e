"""Curves as JSON for the page's figure, small enough to be embedded in the page.

There are two JSON documents. The *grid* is ``{"axes": [{"key", "short", "values", "colours"}],
"colours": {"light", "dark"}, "by", "flops", "variants": [{"label", "name", "at", "style",
"costs"}]}``. ``colours`` are lists of CSS colours on white and on black; a colour is the place in
them. ``at`` has the place of a variant's value on each axis, ``style`` its colour, dash and shape
as in the static figures, ``costs`` the tokens, seconds and FLOPs of a step, and the seconds of
each seed's. ``by`` is the axis that colours show if there are too many variants to tell apart, and
``flops`` the formula.

The *data* is, by column, ``{"title", "wide", "uneven", "levels", "steps", "curves"}``. ``wide`` and
``uneven`` are whether values and steps need a logarithmic axis. ``steps`` are lists of steps that
curves share. A curve is ``{"variant", "steps", "values", "low", "high", "count",
"seeds", "restarts", "marks"}``, with the places of its variant and of its list of steps, the number
of its seeds, and their own curves ``{"seed", "steps", "values", "low", "high"}``. ``low`` and
``high`` are omitted if they equal the values, ``marks`` and ``seeds`` if there are none.

Numbers of curves are packed, see :func:`packed`.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ablab.experiments.experiment import variant_label
from ablab.logbook.colours import Styles, partner_on_dark, styles
from ablab.logbook.scales import is_uneven, is_wide
from ablab.read.bands import Band, SeedCurve

# Marks by column and label of the variant, each {"kind", "from", "to", "level", "text"}. kind is
# plateau, descent, growback, rise, peak, spike, slowdown, steepening, transition, floor, restart or
# diverged; from and to are steps; level is a value or None; text is shown in the tooltip.
# Plateaus and floors also have the "name" of their level, transitions the "span" of their levels.
Marks = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]


@dataclass(frozen=True)
class PlotData:
    """The two documents, as JSON that is safe inside a script element."""

    grid: str
    data: str


@dataclass(frozen=True)
class VariantCosts:
    """The cost of a step of a variant, as medians over its seeds; None where it is not known.

    Attributes:
        tokens: Tokens per step.
        seconds: Seconds per step.
        flops: Estimated floating-point operations per step.
        formula: The formula of the estimate.
        of_seeds: The seconds per step of each seed.
    """

    tokens: float | None
    seconds: float | None
    flops: float | None
    formula: str
    of_seeds: Mapping[int, float]

    def as_data(self) -> dict[str, Any]:
        """The costs as plain data, without what is not known."""
        known = {"tokens": self.tokens, "seconds": self.seconds, "flops": self.flops}
        found: dict[str, Any] = {name: value for name, value in known.items() if value is not None}
        if len(self.of_seeds) > 1:
            found["seeds"] = {seed: float(f"{each:.6g}") for seed, each in self.of_seeds.items()}
        return found


def plot_data(
    drawn: Mapping[str, Sequence[Band]],
    titles: Mapping[str, str],
    levels: Mapping[str, float],
    marks: Marks | None = None,
    cells: Sequence[Mapping[str, Any]] = (),
    costs: Mapping[str, VariantCosts] | None = None,
    main: str | None = None,
    planned: Mapping[str, int] | None = None,
) -> PlotData:
    """The data of the page's figure.

    Args:
        drawn: The curves, by column.
        titles: The titles of the columns.
        levels: Natural levels, by name.
        marks: The marks on the curves.
        cells: The variants of the whole grid, so that each has a position and colour before it has
            a curve; by default, the variants that have curves.
        costs: The costs of a step, by label of the variant.
        main: The setting that colours show if they can show only one.
        planned: The step at which each variant's curve will end, by its label.
    """
    grid, places = _grid(drawn, cells, costs or {}, main)
    data = {}
    for column, found in drawn.items():
        steps: dict[tuple[int, ...], int] = {}
        mine = (marks or {}).get(column, {})
        curves = [
            _curve(band, places[band.label], steps, mine.get(band.label, ()))
            for band in sorted(found, key=lambda band: places[band.label])
        ]
        data[column] = {
            "title": titles[column],
            "wide": is_wide(found),
            "uneven": is_uneven(found, planned),
            "levels": levels if column.endswith("loss") else {},
            "steps": [list(each) for each in steps],
            "curves": curves,
        }
    return PlotData(_script(grid), _script(data))


def packed(values: Sequence[float]) -> str:
    """Numbers as base64, four characters each: the first three bytes of float32, big-endian.

    They are rounded to 16 significant bits, that is by at most 1.6e-5 of the value.
    """
    largest = float(np.finfo(np.float32).max) * 0.999
    floats = np.clip(np.asarray(values, np.float64), -largest, largest).astype(">f4")
    rounded = (floats.view(">u4").astype(np.uint32) + 0x80) >> 8
    three = rounded.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
    return base64.b64encode(np.ascontiguousarray(three).tobytes()).decode("ascii")


def unpacked(text: str) -> list[float]:
    """The numbers that :func:`packed` packed."""
    three = np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, 3)
    four = np.concatenate([three, np.zeros((len(three), 1), np.uint8)], axis=1)
    return [float(each) for each in np.ascontiguousarray(four).view(">f4").ravel()]


def _grid(
    drawn: Mapping[str, Sequence[Band]],
    cells: Sequence[Mapping[str, Any]],
    costs: Mapping[str, VariantCosts],
    main: str | None,
) -> tuple[dict[str, Any], dict[str, int]]:
    """Axes and variants of all columns, and the place of each variant by its label."""
    # The column with the most curves determines the order; others may lack some.
    columns = sorted(drawn.values(), key=len, reverse=True)
    keys = {band.label: band.keys for found in columns for band in found}
    whole = {variant_label(cell): dict(cell) for cell in cells}
    if keys.keys() <= whole.keys():
        keys = whole
    labels = list(keys)
    look = styles([keys[label] for label in labels], main)
    table = _colour_table(look)
    variants = [
        {
            "label": labels[place],
            "name": look.names[place],
            "at": look.at[place],
            "style": [
                table[look.styles[place].colour],
                look.styles[place].dash,
                look.styles[place].shape,
            ],
            "costs": costs[labels[place]].as_data() if labels[place] in costs else {},
        }
        for place in look.order
    ]
    axes = [
        {
            "key": axis.key,
            "short": axis.short,
            "values": axis.values,
            "colours": [table[colour] for colour in axis.colours],
        }
        for axis in look.axes
    ]
    grid = {
        "axes": axes,
        "variants": variants,
        "colours": {"light": list(table), "dark": [partner_on_dark(colour) for colour in table]},
        "by": look.by.key if look.by is not None else "",
        "flops": "; ".join(
            dict.fromkeys(each.formula for each in costs.values() if each.flops is not None)
        ),
    }
    return grid, {labels[place]: number for number, place in enumerate(look.order)}


def _colour_table(look: Styles) -> dict[str, int]:
    """The place of each colour that is used."""
    every = [style.colour for style in look.styles]
    every += [colour for axis in look.axes for colour in axis.colours]
    return {colour: place for place, colour in enumerate(dict.fromkeys(every))}


def _curve(
    band: Band,
    variant: int,
    steps: dict[tuple[int, ...], int],
    marks: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    curve: dict[str, Any] = {"variant": variant, "count": band.count, "restarts": band.restarts}
    curve |= _line(band, steps)
    if band.seeds:
        curve["seeds"] = [{"seed": seed.seed, **_line(seed, steps)} for seed in band.seeds]
    if marks:
        curve["marks"] = [
            {
                name: _plain(mark[name])
                for name in ("kind", "from", "to", "level", "text", "name", "span")
                if name in mark
            }
            for mark in marks
        ]
    return curve


def _line(line: Band | SeedCurve, steps: dict[tuple[int, ...], int]) -> dict[str, Any]:
    """The points of a curve, with the place of its list of steps."""
    found: dict[str, Any] = {
        "steps": steps.setdefault(tuple(line.steps), len(steps)),
        "values": packed(line.values),
    }
    if line.low != line.values or line.high != line.values:
        found |= {"low": packed(line.low), "high": packed(line.high)}
    return found


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _script(document: Any) -> str:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # The text must not contain "</script" or "<!--".
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
