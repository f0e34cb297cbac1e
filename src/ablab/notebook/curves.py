"""Curves of an experiment and of a run, for notebooks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablab.config import InputError, Problem, counted, nearest
from ablab.experiments.inactive import nullable_keys
from ablab.experiments.short_names import short_names
from ablab.logbook.colours import PALETTE
from ablab.logbook.drawn_curves import variant_costs
from ablab.logbook.hover import Series, Strip, strips
from ablab.logbook.layers import is_wide_range
from ablab.logbook.marks import column_marks
from ablab.logbook.scales import planned_ends
from ablab.logbook.svg import figure_style, logarithmic, plain_axes
from ablab.logbook.variant_curves import draw_curves
from ablab.notebook.plot import Plot
from ablab.read.bands import Band, SeedCurve, bands
from ablab.read.directions import column_direction
from ablab.read.measure_words import column_words
from ablab.read.step_costs import step_costs
from ablab.store.metrics import all_columns, experiment_metrics, experiment_runs, run_metrics
from ablab.store.store import ExperimentRecord, Store

X = Literal["step", "tokens", "seconds", "flops"]
"""What curves are drawn against."""

_MARKED = ("train_loss", "eval_loss", "eval_accuracy")
_PANELS = 6  # of a run, in one figure
_USUAL = ("train_loss", "eval_loss", "eval_accuracy")  # columns of a run that is plotted without
_LOSSES = ("train_loss", "eval_loss")  # share their axes
_POINTS = 600  # of a curve of a run
_Line = TypeVar("_Line", Band, SeedCurve)


def plot_experiment(store: Store, record: ExperimentRecord, column: str, x: X = "step") -> Plot:
    """A column of every run: thin for each seed, thick for the median of each variant.

    Raises:
        InputError: No run has logged the column, or ``x`` is not known.
    """
    _check_choice(x)
    wanted = [column, "restart"]
    frame = experiment_metrics(store, record, lambda names: [n for n in names if n in wanted])
    if column not in frame.columns or not frame[column].count():
        every = experiment_metrics(store, record, all_columns)
        known = [name for name in _numeric(every) if name not in record.definition["grid"]]
        raise _no_column(column, known, record.name)
    runs, keys = experiment_runs(store, record), list(record.definition["grid"])
    nullable = nullable_keys(record.definition["grid"])
    better = column_direction(record, column)
    found = bands(frame, keys, column, direction=better, nullable=nullable)
    if not found:
        raise InputError(Problem(f"{column} has no finite value", given=record.name))
    cells = [run.variant for run in runs]
    names = {band.label: name for band, name in zip(found, _names(found), strict=True)}
    marks, ends = None, None
    if x == "step":
        ends = planned_ends(runs)
        marks = column_marks(store, record, runs, [column])[column] if column in _MARKED else None
    else:
        costs = variant_costs(runs, step_costs(store, record, runs))
        scaled = {label: (getattr(each, x), each.of_seeds) for label, each in costs.items()}
        found = [_along(band, *scaled[band.label], x) for band in found]
    label = {"step": "step", "flops": "FLOPs"}.get(x, x)
    drawn = draw_curves(found, column, record.levels, marks, cells, None, ends, label)
    lines = [Series(names[each.label] or "value", each.steps, each.values) for each in found]
    where = partial(strips, drawn, drawn.axes[0], lines, "step" if x == "step" else label)
    seeds = max(band.count for band in found)
    many = "Thin lines are seeds, thick lines their median. " if seeds > 1 else ""
    shown = f"{counted(len(found), 'variant')}, {counted(len(runs), 'run')}"
    return Plot(
        drawn,
        f"{column_words(column)} of {record.name}: {shown}",
        f"{record.name}: {shown}. {many}".strip(),
        strips=where,
    )


def plot_run(store: Store, run: str, columns: Sequence[str] = ()) -> Plot:
    """Columns of a run; by default, the losses and the accuracy.

    Args:
        store: The store.
        run: The run's id.
        columns: Names or shell-style patterns, at most ``_PANELS`` columns.

    Raises:
        InputError: A pattern matches no column that the run has logged.
    """
    if columns:
        found = run_metrics(store, run, columns)
        every = _numeric(found)
        asked = (name for each in columns for name in every if fnmatchcase(name, each))
        names = list(dict.fromkeys(asked))
    else:
        found = run_metrics(store, run)
        names = [name for name in _USUAL if name in found.columns]
    names = [name for name in names if found[name].is_finite().any()]
    if not names:
        raise InputError(Problem("the run has no finite value to draw", given=run))
    groups = [[name] for name in names]
    if [name for name in names if name in _LOSSES] == list(_LOSSES):
        groups = [list(_LOSSES), *([name] for name in names if name not in _LOSSES)]
    shown, left = groups[:_PANELS], len(groups) - _PANELS
    figure, panels = _panels(len(shown))
    lines = [[_series(found, name) for name in group] for group in shown]
    with figure_style():
        for axes, own, group in zip(panels, lines, shown, strict=True):
            _draw(axes, own, group)
    more = f" The first {_PANELS} of {len(groups)} are drawn." if left > 0 else ""

    def where() -> list[Strip]:
        pairs = zip(panels, lines, strict=True)
        return [each for axes, own in pairs for each in strips(figure, axes, own, "step")]

    words = ", ".join(column_words(name) for name in names[:3])
    title = f"{words}{', …' if len(names) > 3 else ''} of run {run}"
    return Plot(figure, title, f"Run {run}.{more}", strips=where)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    across = min(2, count)
    down = -(-count // across)
    with figure_style():
        figure = Figure(
            figsize=(7.5, 3.0 if count == 1 else 2.1 * down + 0.3), layout="constrained"
        )
        grid = figure.subplots(down, across, squeeze=False)
    every = [axes for row in grid for axes in row]
    for axes in every[count:]:
        axes.set_visible(False)
    return figure, every[:count]


def _draw(axes: Axes, lines: Sequence[Series], columns: Sequence[str]) -> None:
    plain_axes(axes)
    for each, colour in zip(lines, PALETTE, strict=False):
        few = len(np.asarray(each.xs)) < 30
        style: dict[str, Any] = {"marker": "o", "ms": 2.5} if few else {}
        axes.plot(each.xs, each.ys, color=colour, lw=1.3, label=each.name, **style)
    if is_wide_range(np.concatenate([np.asarray(each.ys, np.float64) for each in lines])):
        logarithmic(axes)
    axes.set_xlabel("step")
    axes.set_ylabel("loss" if len(lines) > 1 else "")
    axes.margins(x=0.01)
    if len(lines) > 1:
        axes.legend()
    else:
        axes.set_title(column_words(columns[0]), fontsize=9, loc="left")


def _series(frame: pl.DataFrame, column: str) -> Series:
    """A column of a run; long ones are thinned to means of neighbouring steps."""
    own = frame.select("step", pl.col(column).cast(pl.Float64).alias("y"))
    own = own.filter(pl.col("y").is_finite()).sort("step")
    width = -(-own.height // _POINTS)
    if width > 1:
        own = own.group_by(pl.int_range(pl.len()) // width, maintain_order=True).agg(
            pl.col("step").last(), pl.col("y").mean()
        )
    return Series(column_words(column), own["step"].to_numpy(), own["y"].to_numpy())


def _numeric(frame: pl.DataFrame) -> list[str]:
    """The columns of a frame that can be drawn."""
    return [
        name
        for name in frame.columns
        if frame[name].dtype.is_numeric() and name not in ("step", "seed", "restart")
    ]


def _names(found: Sequence[Band]) -> list[str]:
    """The short name of each variant."""
    return short_names([band.keys for band in found]) if len(found) > 1 else [found[0].label]


def _along(band: Band, cost: float | None, of_seeds: Mapping[int, float], x: X) -> Band:
    """A band whose steps are multiplied by the cost of a step."""
    if cost is None or not math.isfinite(cost):
        raise InputError(
            Problem(
                f"the {x} of a step are not known of {band.label}",
                "x",
                given=x,
                expected="step, which every run has",
            )
        )
    own = of_seeds if x == "seconds" else {}  # the other costs are the same for all seeds
    seeds = [_scaled(each, own.get(each.seed, cost)) for each in band.seeds]
    return replace(_scaled(band, cost), seeds=seeds)


def _scaled(line: _Line, by: float) -> _Line:
    return replace(line, steps=[step * by for step in line.steps])  # type: ignore[misc]


def _check_choice(x: str) -> None:
    if x not in get_args(X):
        raise InputError(
            Problem(
                "curves cannot be drawn against this",
                "x",
                given=x,
                expected="one of " + ", ".join(get_args(X)),
                suggestion=nearest(str(x), get_args(X)),
            )
        )


def _no_column(column: str, names: Sequence[str], of: str) -> InputError:
    return InputError(
        Problem(
            f"no run of {of} has logged a column {column!r}",
            given=column,
            expected="one of " + ", ".join(names[:12]) + (", …" if len(names) > 12 else ""),
            suggestion=nearest(column, names),
        )
    )
