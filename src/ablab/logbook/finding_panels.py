"""The panels of figures of findings: which runs are drawn, after which step, in which grid.

Tables and arrays are drawn for a few runs, of each variant in turn: those that were looked at after
the latest step, by their seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ablab.analysis.figures import AnalysisFigure
from ablab.analysis.finding import Findings
from ablab.config import InputError, Problem

MOST_RUNS = 6  # in a figure of tables or arrays


@dataclass(frozen=True)
class MapCells:
    """The cells of a heat map in a drawing, so that a page can tell the value under the cursor.

    Attributes:
        box: The left, top, right and bottom edge of the map, as shares of the drawing.
        values: The values, (rows, columns).
        name: What the map is of.
        rows: The names of the rows; their numbers by default.
        columns: The names of the columns; their numbers by default.
    """

    box: tuple[float, float, float, float]
    values: NDArray[np.float64]
    name: str
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()


@dataclass(frozen=True)
class Drawing:
    """A drawn figure.

    Attributes:
        figure: The figure.
        caption: What is drawn of what, in a sentence.
        maps: Its heat maps.
    """

    figure: Figure
    caption: str
    maps: list[MapCells] = field(default_factory=list)


@dataclass(frozen=True)
class Panel:
    """A run in a figure; ``run`` and ``step`` are None for a model from elsewhere."""

    run: str | None
    name: str
    step: int | None


def drawn_runs(found: Findings, latest: Mapping[str | None, int | None]) -> list[Panel]:
    """The runs to draw, of the variants in turn.

    Args:
        found: The findings.
        latest: The latest step at which each run has what is drawn.
    """
    by_variant = []
    for name, frame in found.variants():
        pairs = (
            frame.select("run", "seed").unique(maintain_order=True).iter_rows()
            if "seed" in frame.columns
            else [(None, None)]
        )
        panels = [
            Panel(run, name if run is None else f"{name}, seed {seed}".removeprefix(", "), step)
            for run, seed in pairs
            if run in latest
            for step in [latest[run]]
        ]
        by_variant.append(sorted(panels, key=lambda panel: -(panel.step or 0)))
    named = {panel.run for own in by_variant for panel in own}
    by_variant.append([  # of an analysis without scalars, the variants are not known
        Panel(run, run or "", step) for run, step in latest.items() if run not in named
    ])  # fmt: skip
    turns = max(map(len, by_variant), default=0)
    inturn = [each[k] for k in range(turns) for each in by_variant if k < len(each)]
    inturn = sorted(inturn, key=lambda panel: -(panel.step or 0))[:MOST_RUNS]
    chosen = [panel for own in by_variant for panel in own if panel in inturn]
    if len({panel.step for panel in chosen}) > 1:
        return [replace(each, name=f"{each.name}, step {each.step:,}") for each in chosen]
    return chosen


def when(panels: Sequence[Panel]) -> str:
    """After which step the drawn runs were looked at, for a caption."""
    steps = {panel.step for panel in panels}
    if len(steps) > 1:
        return "each after the latest step that was looked at"
    (step,) = steps
    if step is None:
        return "as given"
    return f"after step {step:,}" if step else "untrained"


def latest_steps(table: pl.DataFrame) -> dict[str | None, int | None]:
    """The latest step of each run in a table."""
    return dict(table.group_by("run", maintain_order=True).agg(pl.col("step").max()).iter_rows())


def at_last_step(found: Findings, table: str, run: str | None) -> pl.DataFrame:
    """The rows of a run in a table, at the latest step that was looked at."""
    frame = found.tables[table].filter(pl.col("run").eq_missing(pl.lit(run, pl.String)))
    if frame["step"].null_count() < frame.height:
        frame = frame.filter(pl.col("step") == pl.col("step").max())
    return frame


def grid_of_panels(
    count: int, width: float, heights: float | Sequence[float], across: int, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A drawing with panels in rows.

    Args:
        count: The number of panels.
        width: The width of each, in inches.
        heights: The height of each, in inches; the highest of a row is the row's.
        across: The largest number in a row.
        sharey: Whether they share the vertical axis.
    """
    across = min(across, count)
    down = -(-count // across)
    each = [heights] * count if isinstance(heights, int | float) else list(heights)
    rows = [max(each[place : place + across]) for place in range(0, count, across)]
    drawing = Figure(figsize=(width * across, sum(rows)), layout="constrained")
    grid = drawing.subplots(down, across, squeeze=False, sharey=sharey, height_ratios=rows)
    every = [axes for row in grid for axes in row]
    for axes in every[count:]:
        axes.set_visible(False)
    return drawing, every[:count]


def nothing_to_draw(found: Findings, figure: AnalysisFigure) -> InputError:
    """The error that the findings have no such numbers, with the reason where it is known."""
    reason = found.notes[0] if found.notes else "the findings have no such numbers"
    return InputError(Problem(f"nothing to draw as {figure.name}: {reason}", given=found.analysis))


def of_earlier_edition(found: Findings, figure: AnalysisFigure) -> InputError:
    """The error that a table of an earlier release lacks a column."""
    return InputError(
        Problem(
            f"nothing to draw as {figure.name}: an earlier release of {found.analysis} has made"
            " these findings",
            given=found.analysis,
            expected=f"findings of this release: ablab analyze EXPERIMENT {found.analysis}",
        )
    )
