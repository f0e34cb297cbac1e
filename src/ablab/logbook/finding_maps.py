"""Heat maps of what analyses found: a matrix of each run, or small multiples of one."""

from typing import Any

import numpy as np
import polars as pl
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ablab.analysis.figures import HeatMap
from ablab.analysis.finding import Findings
from ablab.logbook.finding_panels import (
    Drawing,
    MapCells,
    Panel,
    at_last_step,
    drawn_runs,
    grid_of_panels,
    nothing_to_draw,
    when,
)

_LARGE = 2  # up to so many maps of one run are larger


def heat_maps(found: Findings, figure: HeatMap) -> Drawing:
    """A heat map for each run, or the maps of one run.

    Raises:
        InputError: The findings have nothing to draw.
    """
    arrays = found.arrays.get(figure.array, {})
    latest: dict[str | None, tuple[int | None, NDArray[Any]]] = {}
    for (run, step), array in arrays.items():
        if run not in latest or (step or 0) >= (latest[run][0] or 0):
            latest[run] = (step, array)
    runs = drawn_runs(found, {run: step for run, (step, _) in latest.items()})
    if not runs:
        raise nothing_to_draw(found, figure)
    chosen: list[tuple[NDArray[Any], str]]
    first = latest[runs[0].run][1]
    if first.ndim == 3:
        latest_step = max(panel.step or 0 for panel in runs)
        shown = next(panel for panel in runs if (panel.step or 0) == latest_step)
        chosen, caption = _small_multiples(found, figure, shown, latest[shown.run][1])
        size = 1.5 if len(chosen) > _LARGE else 2.5
        drawing, panels = grid_of_panels(len(chosen), size, size, 6)
    else:
        chosen = [(latest[panel.run][1], panel.name) for panel in runs]
        drawing, panels = grid_of_panels(len(chosen), 3.2 if len(chosen) > 1 else 4.5, 3.0, 3)
        caption = f"{figure.title}, {when(runs)}."
    top = max((float(np.nanmax(np.abs(values))) for values, _ in chosen), default=1.0) or 1.0
    low = min(float(np.nanmin(values)) for values, _ in chosen)
    limits = (-top, top) if figure.scale == "diverging" else (low, top)
    for axes, (values, name) in zip(panels, chosen, strict=True):
        mesh = axes.imshow(
            values, aspect="auto", interpolation="nearest", vmin=limits[0], vmax=limits[1],
            cmap="RdBu_r" if figure.scale == "diverging" else "viridis",
        )  # fmt: skip
        axes.set_title(name, fontsize=8, loc="left")
        axes.tick_params(labelsize=6)
        for axis in (axes.xaxis, axes.yaxis):  # rows and columns have whole numbers
            axis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    colour = panels[0].xaxis.label.get_color()
    drawing.supylabel(figure.y_label, fontsize=8, color=colour)
    drawing.supxlabel(figure.x_label, fontsize=8, color=colour)
    drawing.colorbar(mesh, ax=panels, label=figure.value, pad=0.01, fraction=0.05)
    drawing.draw_without_rendering()
    boxes = [axes.get_position() for axes in panels]
    maps = [
        MapCells((box.x0, 1 - box.y1, box.x1, 1 - box.y0), np.asarray(values, np.float64), name)
        for box, (values, name) in zip(boxes, chosen, strict=True)
    ]
    return Drawing(drawing, caption, maps)


def _small_multiples(
    found: Findings, figure: HeatMap, shown: Panel, values: NDArray[Any]
) -> tuple[list[tuple[NDArray[Any], str]], str]:
    """The maps of one run with their names, in order, and the caption."""
    order = _order(found, figure, shown.run, len(values))
    numbers = _column(found, figure.number_by, shown.run, len(values), figure.among)
    blocks = _blocks(found, figure, shown.run)
    sorts = figure.sort_by if figure.name_sorts and _has(found, figure.sort_by) else None
    sorting = _column(found, sorts, shown.run, len(values))
    chosen = []
    for place in order[: figure.most]:
        name = f"{figure.panel} {numbers[place]}".strip()
        if len(set(blocks)) > 1:
            name = f"block {blocks[place]}, {name}"
        known = sorts is not None and sorting[place] is not None
        chosen.append((values[place], f"{name} ({sorting[place]})" if known else name))
    about = f"{figure.title}: {shown.name}".removesuffix(": ")
    more = f", {len(chosen)} of {len(values)}" if len(values) > len(chosen) else ""
    brackets = f" In brackets: {sorts[1]}." if sorts is not None else ""
    return chosen, f"{about}{more}, {when([shown])}.{brackets}"


def _order(found: Findings, figure: HeatMap, run: str | None, count: int) -> list[int]:
    values = _column(found, figure.sort_by, run, count)
    known = [(value is None, value, place) for place, value in enumerate(values)]
    return [place for _, _, place in sorted(known, key=lambda each: (each[0], each[1] or 0))]


def _blocks(found: Findings, figure: HeatMap, run: str | None) -> list[Any]:
    """The blocks of numbered panels; empty where their table names none, or the numbers do."""
    place = figure.number_by
    if place is None or place[1] == "block" or not _has(found, (place[0], "block")):
        return []
    return _rows(found, place[0], run, figure.among)["block"].to_list()


def _rows(
    found: Findings, table: str, run: str | None, among: tuple[str, str] | None
) -> pl.DataFrame:
    """The rows of a table after the last step, or those that have a value in a column."""
    rows = at_last_step(found, table, run)
    return rows if among is None else rows.filter(pl.col(among[0]) == among[1])


def _has(found: Findings, place: tuple[str, str] | None) -> bool:
    return place is not None and place[1] in found.tables.get(place[0], pl.DataFrame()).columns


def _column(
    found: Findings,
    place: tuple[str, str] | None,
    run: str | None,
    count: int,
    among: tuple[str, str] | None = None,
) -> list[Any]:
    """The values of a table's column after the last step; 0 … count - 1 without the table."""
    if place is None or not _has(found, place):
        return list(range(count))
    return _rows(found, place[0], run, among)[place[1]].to_list()
