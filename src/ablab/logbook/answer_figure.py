"""The key figure of an entry: the answer's measure, with a dot for each run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ablab.experiments.measures import parse_measure
from ablab.experiments.short_names import differing_keys, short_keys
from ablab.logbook.colours import PALETTE
from ablab.logbook.drawing_cache import cached_drawing
from ablab.logbook.labels import fitted
from ablab.logbook.numeric_setting import NumericSetting, as_number, numeric_setting
from ablab.logbook.points_figure import MOST_PANELS, point_settings, points_figure
from ablab.logbook.run_dots import draw_runs
from ablab.logbook.svg import LINE, SOFT, figure_style, logarithmic, plain_axes, svg
from ablab.logbook.variant_values import MeasuredVariants, VariantValues
from ablab.read.effects import Effects
from ablab.read.short_variants import only_words

MOST_ROWS = 40
"""With more variants than this, only the best and the worst are drawn."""
_EACH = 15  # so many of the best and of the worst
_WIDTH = 5.6  # inches; text stays legible on a phone
_NAME = 40  # maximum length of a name that is drawn
_LONGEST = 30  # maximum length of a name
_TICKS = 10  # up to so many values of a setting have a tick of their own …
_ALONG = 45  # … if they have no more letters than this


@dataclass(frozen=True)
class KeyFigure:
    """A figure as an SVG document, with its caption."""

    drawing: str
    caption: str


@cached_drawing
def answer_figure(
    found: MeasuredVariants, effects: Effects | None = None, *, concluded: bool = True
) -> KeyFigure | None:
    """The values of the answer's measure: against numeric settings, or a row for each variant.

    Args:
        found: The measure of all variants.
        effects: The effects on the measure, whose intervals of levels are drawn.
        concluded: Whether all runs have ended and the best variant is told apart from the others;
            else, no variant is marked as the best.

    Returns:
        The figure; None if no run has a value.
    """
    if not found.all_values:
        return None
    best = found.best() if concluded else None
    setting = numeric_setting(found.variants)
    points = point_settings(found) if setting is None else {}
    with figure_style():
        if setting is not None:
            figure = _against(found, setting, best, effects)
        elif points:
            figure = points_figure(found, points, best)
        else:
            figure = _strips(found, shown_rows(found), best)
        return KeyFigure(svg(figure), _caption(found, setting, best, len(points)))


def shown_rows(found: MeasuredVariants) -> list[VariantValues]:
    """The rows of the strip figure: all variants, or the best and the worst if there are many.

    Variants whose only setting is a number are in its order, others in the grid's.
    """
    if len(found.variants) > MOST_ROWS:
        ranked = sorted(found.variants, key=found.rank)
        return [*ranked[:_EACH], *ranked[-_EACH:]]
    keys = differing_keys([row.keys for row in found.variants])
    if len(keys) == 1:
        numbers = [as_number(row.keys[keys[0]]) for row in found.variants]
        if all(each is not None for each in numbers):
            return sorted(found.variants, key=lambda row: as_number(row.keys[keys[0]]) or 0.0)
    return found.variants


def count_words(found: MeasuredVariants, row: VariantValues) -> str:
    """How many of a variant's runs learnt or got there, and what became of the others."""
    parts = []
    if row.count is not None or found.has_missed:
        done, total = row.count or (len(row.values), row.runs)
        parts.append(f"{done} of {total} {found.said}")
    parts += [only_words(row.few_steps)] if row.few_steps is not None else []
    parts += [f"{count} {reason}" for reason, count in row.lost.items()]
    return ", ".join(parts)


def _strips(
    found: MeasuredVariants, rows: Sequence[VariantValues], best: VariantValues | None
) -> Figure:
    figure = Figure(figsize=(_WIDTH, 0.75 + 0.23 * max(2, len(rows))), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        axes.axhline(place, color=LINE, lw=0.6, zorder=0)
        draw_runs(axes, row, place, PALETTE[0], sideways=True)
        if row.median is not None:
            axes.plot([row.median], [place], "|", ms=13, mew=2.2, color=PALETTE[1], zorder=4)
        said = count_words(found, row)
        if said:
            axes.text(
                1.01, place, said, transform=axes.get_yaxis_transform(), va="center", fontsize=8,
                color=SOFT,
            )  # fmt: skip
    if len(rows) < len(found.variants):
        axes.axhline(_EACH - 0.5, color=SOFT, lw=0.8, ls=(0, (1, 2)))
    names, settings = _row_names(rows)
    axes.set_yticks(range(len(rows)), [fitted(name, _NAME) for name in names])
    if settings:
        axes.set_title(fitted(settings, 2 * _NAME), loc="left", fontsize=8, color=SOFT)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        if row is best:
            label.set_fontweight("bold")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    if found.is_wide:
        logarithmic(axes, "x")
    if found.cut is not None:
        axes.axvline(found.cut, color=SOFT, lw=0.8, ls="--", zorder=1)
    axes.set_xlabel(found.words)
    plain_axes(axes, "x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _against(
    found: MeasuredVariants,
    setting: NumericSetting,
    best: VariantValues | None,
    effects: Effects | None,
) -> Figure:
    figure = Figure(figsize=(_WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    if found.is_wide or _is_ratio(effects, found):
        logarithmic(axes)
    if setting.geometric:
        logarithmic(axes, "x")
    intervals, above = _intervals(effects), found.better == "higher"
    for place, line in enumerate(setting.lines):
        colour = PALETTE[place]
        points = [(setting.moved(x, place), row) for x, row in line.points]
        for x, row in points:
            draw_runs(axes, row, x, colour)
            interval = intervals.get(_key(row.keys))
            if interval is not None and not row.missed:
                axes.vlines(x, *interval, color=colour, alpha=0.25, lw=5, zorder=1)
        medians = [(x, row.median) for x, row in points if row.median is not None]
        axes.plot(*zip(*medians, strict=True) if medians else ([], []), color=colour, lw=1.6,
                  label=fitted(line.name, _NAME), marker="_", ms=11, mew=2)  # fmt: skip
        for x, row in points:
            if row is best and row.median is not None:
                axes.plot([x], [row.median], "o", ms=15, mfc="none", mec=colour, mew=1.2)
                axes.annotate(
                    best_words(found), (x, row.median), (0, 10 if above else -10),
                    textcoords="offset points", ha="center", va="bottom" if above else "top",
                    fontsize=8,
                )  # fmt: skip
    if found.cut is not None:
        axes.axhline(found.cut, color=SOFT, lw=0.8, ls="--", zorder=0)
    ticks = [f"{each:g}" for each in setting.values]
    if len(ticks) <= _TICKS and sum(map(len, ticks)) <= _ALONG:
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(setting.values, ticks)
    axes.margins(x=0.06)
    axes.set_ylim(_limits(found, by_factors=axes.get_yscale() == "log"))
    axes.set_xlabel(setting.key)
    axes.set_title(found.words, loc="left", fontsize=9)
    plain_axes(axes)
    if len(setting.lines) > 1:
        figure.legend(loc="outside upper left", ncols=min(4, len(setting.lines)))
    return figure


def _is_ratio(effects: Effects | None, found: MeasuredVariants) -> bool:
    """Whether the effects compare values, all of which are positive, by their ratios."""
    return effects is not None and effects.scale == "ratio" and min(found.all_values) > 0


def _limits(found: MeasuredVariants, *, by_factors: bool) -> tuple[float, float]:
    """The ends of an axis that shows every run; an interval may reach beyond them."""
    low, high = min(found.all_values), max(found.all_values)
    if by_factors:
        room = max(high / low, 1.1) ** 0.15
        return low / room, high * room
    room = 0.15 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def best_words(found: MeasuredVariants) -> str:
    """What sets the best variant apart, without claiming that the difference is more than chance.

    Requires that it is declared which values are better.
    """
    if found.steps:
        return "earliest"
    return "highest" if found.better == "higher" else "lowest"


def _caption(
    found: MeasuredVariants,
    setting: NumericSetting | None,
    best: VariantValues | None,
    points: int,
) -> str:
    """What the figure shows; ``points`` is the number of settings that vary together, or 0."""
    told = "Each dot is a run; "
    told += "lines join medians over seeds" if setting is not None else "bars are medians"
    group, others = "runs that learnt", "did not learn"
    if not parse_measure(found.measure).is_end:
        group, others = "better group", "are in the worse one"
    told += f", of the {group}." if found.cut is not None and found.better else "."
    if found.cut is not None:
        told += (
            f" Runs fall into two groups, apart at {found.cut:.3g} (dashed); open dots are those "
            f"that {others if found.better else 'are above it'}."
        )
    if found.has_missed:
        told += " Open arrows: not reached by the end of the run."
    if len(found.variants) > MOST_ROWS and setting is None and not points:
        ends = ("best", "worst") if found.better else ("lowest", "highest")
        told += (
            f" Of {len(found.variants):,} variants, the {_EACH} {ends[0]} and the {_EACH} "
            f"{ends[1]} are shown."
        )
    if points > MOST_PANELS:
        told += f" {MOST_PANELS} of {points} settings are shown."
    few = [f"{row.name} ({row.few_steps:,} steps)" for row in found.variants if row.few_steps]
    if few:
        told += f" Trained for far fewer steps than the others: {', '.join(few)}."
    if best is not None:
        among = ""
        if found.cut is not None or found.has_missed:
            among = f" of the variants in which most runs {found.said}"
            among += " it" if found.has_missed else ""
        how = "Circled" if setting is not None or points else "Bold"
        median = f"the {best_words(found)} median{among}"
        told += f" {how}: {best.name}, {median}; it differs from all that are compared."
    if setting is not None:
        told += " Wide bars: 95% intervals of levels, where the effects have them."
    return told


def _intervals(effects: Effects | None) -> dict[str, tuple[float, float]]:
    """The 95% interval of the level of each variant."""
    cells = () if effects is None else effects.cells
    return {_key(cell.keys): cell.interval for cell in cells if cell.interval is not None}


def _key(keys: dict[str, Any]) -> str:
    return str(sorted((key, str(value)) for key, value in keys.items()))


def _row_names(rows: Sequence[VariantValues]) -> tuple[list[str], str]:
    """The names of rows, and the settings whose values they are, if whole names would be too long.

    ``qk_activation none, qk_norm rms`` becomes ``none / rms``, of ``qk_activation / qk_norm``.
    """
    names = [row.name for row in rows]
    keys = differing_keys([row.keys for row in rows])
    if max(map(len, names), default=0) <= _LONGEST or len(keys) < 2:
        return names, ""
    short = short_keys(keys)
    values = [" / ".join(_shown(row.keys.get(key)) for key in keys) for row in rows]
    return values, " / ".join(short[key] for key in keys)


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
