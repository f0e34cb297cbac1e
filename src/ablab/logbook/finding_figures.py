"""Draws what analyses found: scalars over training, tables and arrays after a step."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablab.analysis.figures import AnalysisFigure, Bars, Curves
from ablab.analysis.finding import Findings
from ablab.config import InputError, Problem, nearest
from ablab.logbook.colours import PALETTE
from ablab.logbook.finding_maps import heat_maps
from ablab.logbook.finding_panels import (
    Drawing,
    at_last_step,
    drawn_runs,
    grid_of_panels,
    latest_steps,
    nothing_to_draw,
    of_earlier_edition,
    when,
)
from ablab.logbook.layers import is_wide_range
from ablab.logbook.svg import INK, SOFT, figure_style, logarithmic, plain_axes

MOST_VARIANTS = 4  # in a figure of curves
LOSSES = {"train_loss": "training loss", "eval_loss": "held-out loss"}
_POINTS = 300  # of a curve
_TICKS = 12
_VISIBLE = 0.002  # of the longest bar; where bars are sorted, shorter ones are left out
_LEGEND, _LETTER = 2.6, 0.072  # inches: a legend beside curves with the axis, a title's letter
_LONG_NAME = 8  # characters of a bar's name, above which bars lie


def named_figure(figures: Sequence[AnalysisFigure], name: str) -> AnalysisFigure:
    """The figure with a name.

    Raises:
        InputError: There is none.
    """
    names = [each.name for each in figures]
    if name not in names:
        raise InputError(
            Problem(
                f"the analysis has no figure {name!r}",
                given=name,
                expected="one of " + ", ".join(names) if names else "an analysis with figures",
                suggestion=nearest(name, names),
            )
        )
    return figures[names.index(name)]


def draw(found: Findings, figure: AnalysisFigure, losses: pl.DataFrame | None = None) -> Drawing:
    """Draws a figure of an analysis.

    Args:
        found: The findings.
        figure: What to draw.
        losses: The columns ``run``, ``step`` and the losses, drawn below curves; None without.

    Raises:
        InputError: The findings have nothing to draw.
    """
    with figure_style():
        if isinstance(figure, Curves):
            return _curves(found, figure, losses)
        if isinstance(figure, Bars):
            return _bars(found, figure)
        return heat_maps(found, figure)


def _curves(found: Findings, figure: Curves, losses: pl.DataFrame | None) -> Drawing:
    prefix = f"analysis/{found.analysis}/"
    wanted = pl.col("name").is_in([prefix + scalar for scalar in figure.scalars])
    variants = [
        (name, frame)
        for name, frame in found.variants()
        if frame.filter(wanted, pl.col("step") > 0).drop_nulls("value").height
    ][:MOST_VARIANTS]
    if not variants:
        raise nothing_to_draw(found, figure)
    columns = [c for c in LOSSES if losses is not None and c in losses.columns]
    rows = 2 if columns else 1
    width = min(9.5, 3.2 * len(variants) + 3.2)
    letters = int((width - _LEGEND) / len(variants) / _LETTER)
    drawing = Figure(figsize=(width, 2.5 * rows), layout="constrained")
    grid = drawing.subplots(rows, len(variants), squeeze=False, sharex=True, sharey="row")
    for place, (name, frame) in enumerate(variants):
        axes = grid[0][place]
        for colour, (scalar, label) in zip(
            _colours(figure.scalars), figure.scalars.items(), strict=True
        ):
            own = frame.filter(pl.col("name") == prefix + scalar).drop_nulls("value")
            _over_seeds(axes, own.rename({"value": "y"}), colour, label)
        if figure.logarithmic:
            logarithmic(axes)
        title = textwrap.fill(name or figure.title, letters)
        axes.set_title(title, fontsize=9, loc="left")
        plain_axes(axes)
        if losses is not None and columns:
            below = grid[1][place]
            own = losses.filter(pl.col("run").is_in(frame["run"].unique().to_list()))
            for colour, column in zip((SOFT, INK), columns, strict=False):
                rows_of = own.select("run", "step", pl.col(column).alias("y")).drop_nulls()
                _over_seeds(below, rows_of, colour, LOSSES[column])
            values = own.select(pl.concat_list(columns).explode().alias("y")).drop_nulls()["y"]
            if is_wide_range(values.to_numpy()):
                logarithmic(below)
            plain_axes(below)
        grid[-1][place].set_xlabel("step")
    grid[0][0].set_ylabel(figure.y)
    if columns:
        grid[1][0].set_ylabel("loss (nats)")
    known: dict[str, Artist] = {}  # a variant may lack some of the scalars
    for axes in grid.flat:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    order = [*figure.scalars.values(), *(LOSSES[column] for column in columns)]
    labels = sorted(known, key=order.index)
    drawing.legend([known[label] for label in labels], labels, loc="outside right upper")
    return Drawing(
        drawing, f"{figure.title}. Thin lines are runs, thick lines their median over seeds."
    )


def _over_seeds(axes: Axes, frame: pl.DataFrame, colour: str, label: str) -> None:
    """Each run as a thin line, and the median where all runs have a value as a thick one."""
    if not frame.height:
        return
    runs = frame["run"].unique(maintain_order=True).to_list()
    if len(runs) > 1:
        for run in runs:
            own = _thinned(frame.filter(pl.col("run").eq_missing(pl.lit(run))).sort("step"))
            axes.plot(own["step"], own["y"], color=colour, lw=0.5, alpha=0.5)
    middle = frame.group_by("step").agg(pl.col("y").median(), pl.len().alias("n")).sort("step")
    middle = _thinned(middle.filter(pl.col("n") == len(runs)))
    axes.plot(middle["step"], middle["y"], color=colour, lw=1.5, label=label)


def _thinned(frame: pl.DataFrame) -> pl.DataFrame:
    every = -(-frame.height // _POINTS)
    place = pl.int_range(pl.len())  # the last point is the end of the curve
    return frame if every <= 1 else frame.filter((place % every == 0) | (place == pl.len() - 1))


def _colours(names: Sequence[str] | dict[str, str]) -> list[str]:
    return [PALETTE[place % len(PALETTE)] for place in range(len(names))]


def _bars(found: Findings, figure: Bars) -> Drawing:
    optional = (figure.low, figure.high, figure.null)
    needed = {*figure.x, figure.y, *(each for each in optional if each is not None)}
    table = found.tables.get(figure.table, pl.DataFrame())
    if not table.height:
        raise nothing_to_draw(found, figure)
    if not needed <= set(table.columns):
        raise of_earlier_edition(found, figure)
    runs = drawn_runs(found, latest_steps(table))
    frames = [at_last_step(found, figure.table, panel.run).drop_nulls(figure.y) for panel in runs]
    invisible = False
    if figure.sort:
        whole = [frame.height for frame in frames]
        frames = [_largest(frame, figure.y) for frame in frames]
        invisible = [frame.height for frame in frames] != whole
    left_out = any(frame.height > figure.most for frame in frames)
    frames = [frame.head(figure.most) for frame in frames]
    names = [_bar_names(figure, frame) for frame in frames]
    sideways = max((len(name) for own in names for name in own), default=0) > _LONG_NAME
    same = sideways and all(own == names[0] for own in names)
    columns = 3 if same else 2
    rows = [names[place : place + columns] for place in range(0, len(names), columns)]
    bars = [max(map(len, row)) for row in rows for _ in row]  # in the longest panel of its row
    heights = [max(1.2, 0.16 * count + 0.6) if sideways else 2.3 for count in bars]
    drawing, panels = grid_of_panels(
        len(runs), 4.0 if len(runs) > 1 else 7.0, heights, columns, same
    )
    for axes, frame, own, panel, most_bars in zip(panels, frames, names, runs, bars, strict=True):
        _draw_bars(axes, figure, frame, own, sideways)
        if sideways:  # bars are equally thick in all panels of a row
            axes.set_ylim(most_bars - 0.4, -0.6)
        axes.set_title(panel.name, fontsize=9, loc="left")
    if figure.null is not None:
        drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right")
    along, across = (figure.y_label, figure.x_label)[:: 1 if sideways else -1]
    panels[0].set_ylabel(across)
    panels[-1].set_xlabel(along)
    most = f" Of each, at most the {figure.most} largest are drawn." if left_out else ""
    if invisible:
        most += f" Bars shorter than {_VISIBLE:.1%} of the longest are left out."
    return Drawing(drawing, f"{figure.title}, {when(runs)}.{most}")


def _largest(frame: pl.DataFrame, y: str) -> pl.DataFrame:
    """The rows with the longest bars first, without those that would be no visible bars."""
    longest = frame[y].abs().max()
    visible = pl.col(y).abs() >= _VISIBLE * pl.lit(longest, pl.Float64)
    return frame.filter(visible).sort(pl.col(y).abs(), descending=True, maintain_order=True)


def _bar_names(figure: Bars, frame: pl.DataFrame) -> list[str]:
    """The names of bars; empty if their places are numbers on a scale."""
    single = frame[figure.x[0]] if len(figure.x) == 1 else None
    if single is not None and single.dtype.is_numeric() and not figure.sort:
        return []
    rows = frame.select(figure.x).iter_rows()
    return [".".join(str(each) for each in row if each is not None) for row in rows]


def _draw_bars(
    axes: Axes, figure: Bars, frame: pl.DataFrame, names: Sequence[str], sideways: bool
) -> None:
    values = frame[figure.y].to_numpy()
    places = np.arange(len(values)) if names else frame[figure.x[0]].to_numpy().astype(float)
    errors = None
    if figure.low is not None and figure.high is not None:
        low, high = frame[figure.low].to_numpy(), frame[figure.high].to_numpy()
        errors = np.maximum(0, np.stack([values - low, high - values]))
    style: dict[str, Any] = {"color": PALETTE[0], "error_kw": {"lw": 0.8, "ecolor": PALETTE[6]}}
    every = 1 if sideways else max(1, -(-len(names) // _TICKS))
    if figure.line and not names:
        axes.errorbar(
            places, values, errors, color=PALETTE[0], lw=1.2, marker="o", ms=2.5,
            elinewidth=0.8, ecolor=PALETTE[6],
        )  # fmt: skip
    elif sideways:
        axes.barh(places, values, height=0.75, xerr=errors, **style)
        axes.set_yticks(places, names, fontsize=7)
    else:
        axes.bar(places, values, width=0.8, yerr=errors, **style)
        if names:
            axes.set_xticks(places[::every], names[::every], fontsize=7)
    if figure.null is not None:
        null = frame[figure.null].to_numpy()
        style = {"color": PALETTE[1], "lw": 1, "label": "by chance (95%)"}
        if sideways:
            axes.step(null, places, where="mid", **style)
        else:
            axes.step(places, null, where="mid", **style)
    plain_axes(axes, "x" if sideways else "y")
