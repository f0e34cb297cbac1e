"""Figures of effects: intervals of comparisons, and interactions."""

from collections.abc import Sequence
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablab.experiments.short_names import setting_name, short_keys
from ablab.logbook.colours import PALETTE, are_numbers, value_colours
from ablab.logbook.drawing_cache import cached_drawing
from ablab.logbook.labels import fitted
from ablab.logbook.svg import PAPER, SOFT, figure_style, logarithmic, plain_axes, svg
from ablab.read.curves.numbers import number
from ablab.read.effects import Cell, Comparison, Effects
from ablab.read.measure_words import measure_words

ROWS = 24  # maximum rows of a forest plot
_PANELS = 4  # maximum panels of an interaction figure
_NAME = 26  # maximum length of a value's name
_ALONG = 44  # letters that fit below a panel
_TICKS = 6  # numbers that fit below a panel
_LINES = 7  # maximum lines in a panel


@cached_drawing
def forest(comparisons: Sequence[Comparison], measure: str) -> str:
    """A forest plot: differences with their 95% intervals, one per row, as SVG.

    Args:
        comparisons: The comparisons, from top to bottom; those without a difference are skipped.
        measure: The name of the measure.
    """
    drawn = [each for each in comparisons if each.difference is not None][:ROWS]
    ratio = bool(drawn) and drawn[0].scale == "ratio"
    with figure_style():
        figure = Figure(figsize=(7.5, 0.9 + 0.32 * max(len(drawn), 1)), layout="constrained")
        axes = figure.subplots()
        plain_axes(axes, "x")
        axes.axvline(1 if ratio else 0, color=SOFT, lw=0.8, zorder=1)
        for place, each in enumerate(drawn):
            assert each.difference is not None, "others were skipped"
            decided = each.verdict == "differs"
            colour = PALETTE[1] if decided else SOFT
            if each.interval is not None:
                axes.hlines(place, *each.interval, color=colour, lw=1.6)
            # A filled marker is a significant difference, an open marker is undecided.
            axes.plot(
                [each.difference], [place], "o", ms=5, color=colour,
                mfc=colour if decided else PAPER,
            )  # fmt: skip
        short = short_keys(list(dict.fromkeys(each.key for each in drawn)))
        labels = [
            f"{short[each.key]}: {fitted(each.value, _NAME)} vs {fitted(each.reference, _NAME)}"
            for each in drawn
        ]
        axes.set_yticks(range(len(drawn)), labels)
        axes.set_ylim(len(drawn) - 0.4, -0.6)
        if ratio:
            logarithmic(axes, "x")
        words = measure_words(measure)
        axes.set_xlabel(f"{words}: {'ratio' if ratio else 'difference'}, 95% interval")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return svg(figure)


@cached_drawing
def small_multiples(found: Effects) -> str | None:
    """Interaction plots: a panel for each pair of settings, a line for each value of the second.

    Pairs with a significant interaction come first. None if the grid has only one setting.
    """
    pairs = sorted(found.interactions, key=lambda each: (not each.exists, each.p or 1.0))[:_PANELS]
    if not pairs:
        return None
    with figure_style():
        columns = min(2, len(pairs))
        rows = -(-len(pairs) // columns)
        figure = Figure(figsize=(3.75 * columns, 2.7 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(pairs) :]:
            axes.set_visible(False)
        for axes, pair in zip(grid.flat, pairs, strict=False):
            _panel(axes, found.cells, pair.key, pair.other, found.scale == "ratio")
            axes.set_ylabel(fill(measure_words(found.measure), _NAME), fontsize=8)
            if not pair.exists:
                axes.set_title("interaction undecided", fontsize=8, color=SOFT, loc="left")
            else:
                axes.set_title("they depend on each other", fontsize=8, loc="left")
        return svg(figure)


def _panel(axes: Axes, cells: Sequence[Cell], key: str, other: str, ratio: bool) -> None:
    values = list(dict.fromkeys(cell.keys[key] for cell in cells))
    values = sorted(values, key=float) if are_numbers(values) else values
    others = list(dict.fromkeys(cell.keys[other] for cell in cells))
    others = sorted(others, key=float) if are_numbers(others) else others
    colours = value_colours(others[:_LINES])
    short = short_keys([key, other])
    plain_axes(axes)
    for place, level in enumerate(others[:_LINES]):
        heights = []
        for value in values:
            means = [
                cell.mean
                for cell in cells
                if cell.keys[key] == value and cell.keys[other] == level and cell.mean is not None
            ]
            heights.append(sum(means) / len(means) if means else float("nan"))
        axes.plot(
            range(len(values)),
            heights,
            color=colours[place],
            lw=1.4,
            marker="os^Dv<>"[place],
            ms=4,
            label=fitted(setting_name(short[other], level), _NAME),
        )
    labels = [fitted(value, max(8, _ALONG // len(values))) for value in values]
    if are_numbers(values):
        labels = [number(float(value)) for value in values]
        every = -(-len(values) // _TICKS)  # numbers in order need not all be named
        labels = [label if place % every == 0 else "" for place, label in enumerate(labels)]
    axes.set_xticks(range(len(values)), labels)
    axes.set_xlabel(short[key])
    if ratio:
        logarithmic(axes)
    axes.legend(fontsize=7)
