"""Curves of an experiment and of a run, for notebooks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

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
from ablab.logbook.variant_curves import FEW, draw_curves
from ablab.notebook.plot import Plot
from ablab.read.bands import Band, SeedCurve, bands
from ablab.read.directions import column_direction
from ablab.read.measure_words import column_words
from ablab.read.step_costs import step_costs
from ablab.store.metrics import (
    all_columns,
    column_cells,
    experiment_metrics,
    experiment_runs,
    run_metrics,
)
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
        InputError: No run has logged the column, it has no finite value, or ``x`` is not known.
    """
    _check_choice(x)
    runs, keys = experiment_runs(store, record), list(record.definition["grid"])
    wanted = [column, "restart"]
    frame = experiment_metrics(store, record, lambda names: [n for n in names if n in wanted])
    if column not in _numeric(frame, keys):
        every = experiment_metrics(store, record, all_columns)
        raise _no_column(column, _numeric(every, keys), record.name)
    nullable = nullable_keys(record.definition["grid"])
    better = column_direction(record, column)
    found = bands(frame, keys, column, direction=better, nullable=nullable)
    if not found:
        raise InputError(Problem(f"{column} has no finite value", given=record.name))
    cells = column_cells(runs)
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
    many = _of_seeds([band.count for band in found])
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
        InputError: A pattern matches no column that the run has logged, or none has a finite value.
    """
    wrong = next((each for each in columns if not isinstance(each, str)), None)
    if wrong is not None:
        expected = 'names or patterns, one argument each: run.plot("train_loss", "grad_norm")'
        raise InputError(Problem("not the name of a column", given=wrong, expected=expected))
    found = run_metrics(store, run, columns)
    every = _numeric(found)
    for each in columns:
        if not any(fnmatchcase(name, each) for name in every):
            raise _no_column(each, _numeric(run_metrics(store, run)), f"run {run}")
    asked = (name for each in columns or _USUAL for name in every if fnmatchcase(name, each))
    names = [name for name in dict.fromkeys(asked) if found[name].is_finite().any()]
    if not names:
        if not every:
            raise InputError(Problem("nothing was trained yet", given=run))
        told = ", ".join(columns or _USUAL)
        raise InputError(Problem(f"the run has no finite value of {told} to draw", given=run))
    groups = _groups(names)
    shown, left = groups[:_PANELS], len(groups) - _PANELS
    figure, panels = _panels(len(shown))
    lines = [[_curve(found, name) for name in group] for group in shown]
    with figure_style():
        for axes, own, group in zip(panels, lines, shown, strict=True):
            _draw(axes, own, group)
    more = f" The first {_PANELS} of {len(groups)} are drawn." if left > 0 else ""
    thinned = _thinned_words({curve.width for own in lines for curve in own})

    def where() -> list[Strip]:
        pairs = [
            (axes, [curve.line for curve in own]) for axes, own in zip(panels, lines, strict=True)
        ]
        return [each for axes, own in pairs for each in strips(figure, axes, own, "step")]

    words = ", ".join(column_words(name) for name in names[:3])
    title = f"{words}{', …' if len(names) > 3 else ''} of run {run}"
    return Plot(figure, title, f"Run {run}.{more}{thinned}", strips=where)


def _of_seeds(counts: Sequence[int]) -> str:
    """What the lines of an experiment's figure are, by the numbers of seeds of its variants."""
    if max(counts) < 2:
        return ""
    seeds = "Thin lines are seeds" if len(counts) <= FEW else "Bands reach over all seeds"
    even = any(count % 2 == 0 for count in counts)
    rule = "; of an even number of seeds, the less favourable of the two in the middle"
    return f"{seeds}, thick lines their median{rule if even else ''}."


def _groups(names: Sequence[str]) -> list[list[str]]:
    """The columns of each pair of axes, in the order of the names; both losses share theirs."""
    losses = [name for name in _LOSSES if name in names]
    if len(losses) < len(_LOSSES):
        return [[name] for name in names]
    first = next(name for name in names if name in _LOSSES)
    shown = [name for name in names if name == first or name not in _LOSSES]
    return [losses if name == first else [name] for name in shown]


def _thinned_words(widths: set[int]) -> str:
    """How many logged steps a point of thinned curves covers; empty if none is thinned."""
    if max(widths) == 1:
        return ""
    up_to = "" if len(widths) == 1 else "up to "
    return (
        f" A point is the mean of {up_to}{max(widths)} logged steps; the band is from the lowest "
        "to the highest of them."
    )


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


@dataclass(frozen=True)
class _Curve:
    """A column of a run: the mean, lowest and highest value of the logged steps of each point."""

    line: Series
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    width: int


def _draw(axes: Axes, curves: Sequence[_Curve], columns: Sequence[str]) -> None:
    plain_axes(axes)
    for each, colour in zip(curves, PALETTE, strict=False):
        line = each.line
        few = len(np.asarray(line.xs)) < 30
        style: dict[str, Any] = {"marker": "o", "ms": 2.5} if few else {}
        if each.width > 1:
            axes.fill_between(line.xs, each.low, each.high, color=colour, alpha=0.25, lw=0)
        axes.plot(line.xs, line.ys, color=colour, lw=1.3, label=line.name, **style)
    if is_wide_range(np.concatenate([ends for each in curves for ends in (each.low, each.high)])):
        logarithmic(axes)
    axes.set_xlabel("step")
    axes.set_ylabel("loss" if len(curves) > 1 else "")
    axes.margins(x=0.01)
    if len(curves) > 1:
        axes.legend()
    else:
        axes.set_title(column_words(columns[0]), fontsize=9, loc="left")


def _curve(frame: pl.DataFrame, column: str) -> _Curve:
    """A column of a run; neighbouring steps of a long one share a point."""
    own = frame.select("step", pl.col(column).cast(pl.Float64).alias("y"))
    own = own.filter(pl.col("y").is_finite()).sort("step")
    width = -(-own.height // _POINTS)
    y = pl.col("y")
    own = own.group_by(pl.int_range(pl.len()) // width, maintain_order=True).agg(
        pl.col("step").last(), y.mean(), y.min().alias("low"), y.max().alias("high")
    )
    line = Series(column_words(column), own["step"].to_numpy(), own["y"].to_numpy())
    return _Curve(line, own["low"].to_numpy(), own["high"].to_numpy(), width)


def _numeric(frame: pl.DataFrame, keys: Sequence[str] = ()) -> list[str]:
    """The columns of a frame that can be drawn: numbers that were logged, at least one."""
    return [
        name
        for name in frame.columns
        if name not in ("step", "seed", "restart", *keys)
        and frame[name].dtype.is_numeric()
        and frame[name].count()
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
    restarts = [step * cost for step in band.restarts]
    return replace(_scaled(band, cost), seeds=seeds, restarts=restarts)  # type: ignore[arg-type]


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
    if not names:
        return InputError(Problem("nothing was trained yet", given=of))
    return InputError(
        Problem(
            f"{of} has no column {column!r} to draw",
            given=column,
            expected="one of " + ", ".join(names[:12]) + (", …" if len(names) > 12 else ""),
            suggestion=nearest(str(column), names),
        )
    )
