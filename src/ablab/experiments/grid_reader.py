"""Reads ``grid:``: axes, and the blocks ``zip``, ``sobol`` and ``when``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ablab.config import InputError, Problem, nearest
from ablab.experiments.axes import (
    Axis,
    SweepContext,
    as_text,
    check_key,
    listed,
    make_axis,
    make_bundles,
    values_axis,
)
from ablab.experiments.grid import Grid, Row, label_name
from ablab.experiments.grid_conditions import read_conditions
from ablab.experiments.limits import MAX_RUNS
from ablab.experiments.overrides import parse_values
from ablab.experiments.sweep_values import sobol_rows
from ablab.experiments.sweeps import DRAWN, Bounds, Sweep
from ablab.experiments.tree import Origins

BLOCKS = ("zip", "sobol", "when")
"""Keys of a grid that are no axes."""
_ZIP = "zip: {key: [value, value, …], key: [value, value, …]}, with as many values for each key"
_SOBOL = "sobol: {n: 16, over: {key: loguniform(lo, hi), key: [value, value, …]}}"
_CELLS = "cells: [{key: value, …}, …] with keys and values of the grid"


def read_grid(grid: Any, cells: Any, origins: Origins, context: SweepContext) -> Grid:
    """The grid of a ``grid:`` mapping.

    A list or a sweep is an axis of values for the setting of its key. A mapping is an axis of named
    bundles: the user chooses its key, and each entry is the name of a bundle with its settings.
    Keys in ``zip`` and ``sobol`` vary together; ``when`` says where a key varies.

    Args:
        grid: The mapping.
        cells: The cells of the product that there are, as labels by key; None for all.
        origins: The sources of values.
        context: What the values of sweeps depend on.

    Raises:
        InputError: An axis or a block is invalid; all problems are listed.
    """
    if not isinstance(grid, Mapping):
        source, expected = origins.of(("grid",)), "key: [value, value, …] for each axis"
        raise InputError(Problem("grid is not a mapping of axes", "grid", source, grid, expected))
    found, problems = Grid(), []
    for key, values in grid.items():
        try:
            if key == "zip":
                found = _joined(found, _blocks(key, values, origins), _zip, origins, context)
            elif key == "sobol":
                found = _joined(found, _blocks(key, values, origins), _sobol, origins, context)
            elif key != "when":
                axis = read_axis(key, values, origins.of(("grid", key)), context)
                found = _added(found, [axis], ())
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    if grid.get("when") is not None:
        found = replace(found, when=read_conditions(grid["when"], origins))
    if cells is not None:
        found = replace(found, together=(*found.together, _read_cells(found, cells, origins)))
    return found


def read_axis(key: str, values: Any, source: str | None, context: SweepContext) -> Axis:
    """An axis: of named bundles if the values are a mapping, else of values of one setting.

    Raises:
        InputError: The axis is invalid.
    """
    if isinstance(values, Mapping):
        return make_bundles(key, values, source)
    return make_axis(key, values, source, context)


def _blocks(name: str, values: Any, origins: Origins) -> list[Any]:
    """A block, or several of them in a list."""
    if isinstance(values, list | tuple) and not values:
        source, expected = origins.of(("grid", name)), _ZIP if name == "zip" else _SOBOL
        raise InputError(Problem(f"{name} is empty", f"grid.{name}", source, values, expected))
    return list(values) if isinstance(values, list | tuple) else [values]


def _joined(
    grid: Grid, blocks: list[Any], read: Any, origins: Origins, context: SweepContext
) -> Grid:
    """The grid with the axes of blocks whose keys vary together."""
    for block in blocks:
        axes, rows = read(block, origins, context)
        grid = _added(grid, axes, rows)
    return grid


def _added(grid: Grid, axes: Sequence[Axis], rows: Sequence[Row]) -> Grid:
    known = {axis.key for axis in grid.axes}
    for axis in axes:
        if axis.key in known:
            raise InputError(
                Problem(
                    f"{axis.key} is twice in the grid",
                    f"grid.{axis.key}",
                    axis.source,
                    expected="each key once: as an axis, in zip, or in sobol",
                )
            )
    groups = (*grid.together, tuple(rows)) if len(axes) > 1 else grid.together
    return replace(grid, axes=(*grid.axes, *axes), together=groups)


def _zip(block: Any, origins: Origins, context: SweepContext) -> tuple[list[Axis], list[Row]]:
    """The axes and the rows of keys that vary together."""
    if not isinstance(block, Mapping) or not block:
        raise InputError(
            Problem(
                "zip is not a mapping of axes", "grid.zip", origins.of(("grid", "zip")), block, _ZIP
            )
        )
    columns, drawn = {}, False
    for key, values in block.items():
        source = origins.of(("grid", "zip", str(key)))
        check_key(key, source)
        given = parse_values(values, key, source) if isinstance(values, str) else values
        drawn = drawn or (isinstance(given, Sweep) and given.kind in DRAWN)
        columns[key] = _column(key, given, source, context)
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) > 1:
        given = ", ".join(f"{key}: {count:,}" for key, count in lengths.items())
        problem = "the keys of zip have different numbers of values"
        raise InputError(Problem(problem, "grid.zip", origins.of(("grid", "zip")), given, _ZIP))
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    axes = _axes(rows, origins, "zip")
    if not drawn:
        return axes, _distinct(rows)
    axes = [_sorted(axis) for axis in axes]
    return axes, _in_order(_distinct(rows), axes)


def _column(key: str, values: Any, source: str | None, context: SweepContext) -> list[Any]:
    """The values of a key of ``zip``; those of a sweep with repetitions, drawn ones unsorted."""
    if isinstance(values, Sweep):
        return list(context.values(values, key, source, paired=True))
    return listed(key, values, source, context)


def _sobol(block: Any, origins: Origins, context: SweepContext) -> tuple[list[Axis], list[Row]]:
    """The axes and the rows of the points of a Sobol sequence."""
    source = origins.of(("grid", "sobol"))
    over = block.get("over") if isinstance(block, Mapping) else None
    if not isinstance(over, Mapping) or not over:
        problem = "sobol is not a number of points over several keys"
        raise InputError(Problem(problem, "grid.sobol", source, block, _SOBOL))
    for name in block:
        if name not in ("n", "over"):
            raise InputError(
                Problem(
                    f"sobol has no setting {name}", f"grid.sobol.{name}",
                    origins.of(("grid", "sobol", str(name))), expected=_SOBOL,
                    suggestion=nearest(str(name), ["n", "over"]),
                )
            )  # fmt: skip
    n = block.get("n")
    if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MAX_RUNS:
        expected = f"a whole number from 1 to {MAX_RUNS:,}; powers of two are balanced"
        raise InputError(
            Problem("sobol: n is not a number of points", "grid.sobol.n", source, n, expected)
        )
    ranges = {key: _range(key, each, origins, context) for key, each in over.items()}

    def whole(key: str) -> bool:
        bounds = ranges[key]
        return isinstance(bounds, Bounds) and context.is_whole(key, bounds)

    rows = sobol_rows(n, ranges, context.name, whole)
    axes = _axes(rows, origins, "sobol", "over")
    ordered = [axis if isinstance(ranges[axis.key], list) else _sorted(axis) for axis in axes]
    return ordered, _in_order(_distinct(rows), ordered)


def _range(key: Any, values: Any, origins: Origins, context: SweepContext) -> Bounds | list[Any]:
    """The range or the list of values of a key of ``sobol``."""
    source = origins.of(("grid", "sobol", "over", str(key)))
    check_key(key, source)
    if isinstance(values, str):
        values = parse_values(values, key, source)
    if not isinstance(values, Sweep):
        return listed(key, values, source, context)
    if values.kind not in DRAWN:
        expected = "uniform(lo, hi), loguniform(lo, hi) or a list of values"
        problem = f"the axis {key}: sobol does not cover a {values.kind}"
        raise InputError(Problem(problem, key, source, str(values), expected))
    return context.bounds(values, key, source, counted=False)[0]


def _sorted(axis: Axis) -> Axis:
    """An axis with its numbers in increasing order; other values keep their order."""
    labels = [choice.label for choice in axis.choices]
    if not all(isinstance(each, int | float) for each in labels):
        return axis
    return replace(axis, choices=tuple(sorted(axis.choices, key=lambda choice: choice.label)))


def _axes(rows: Sequence[Row], origins: Origins, *block: str) -> list[Axis]:
    """The axes of the keys of rows, with their distinct values in the order of the rows."""
    axes = []
    for key in rows[0]:
        distinct: dict[str, Any] = {}
        for row in rows:
            distinct.setdefault(as_text(row[key]), row[key])
        axes.append(values_axis(key, list(distinct.values()), origins.of(("grid", *block, key))))
    return axes


def _distinct(rows: Sequence[Row]) -> list[Row]:
    found: dict[str, Row] = {}
    for row in rows:
        found.setdefault(as_text(row), row)
    return list(found.values())


def _in_order(rows: Sequence[Row], axes: Sequence[Axis]) -> list[Row]:
    """Drawn rows, whose order says nothing, in the order of their values."""
    places = {
        axis.key: {as_text(choice.label): place for place, choice in enumerate(axis.choices)}
        for axis in axes
    }
    return sorted(rows, key=lambda row: [places[key][as_text(row[key])] for key in places])


def _read_cells(grid: Grid, cells: Any, origins: Origins) -> tuple[Row, ...]:
    """The rows of ``cells``, which a stored experiment has if its grid is no product."""
    source = origins.of(("cells",))
    if not isinstance(cells, list | tuple) or not cells:
        raise InputError(Problem("cells is not a list of cells", "cells", source, cells, _CELLS))
    names = {axis.key: {label_name(axis.key, c.label) for c in axis.choices} for axis in grid.axes}
    joint = {key for rows in grid.together for row in rows for key in row}
    for cell in cells:
        if not isinstance(cell, Mapping) or not cell or not all(isinstance(k, str) for k in cell):
            raise InputError(Problem(f"{cell} is not a cell", "cells", source, cell, _CELLS))
        if grid.when or not joint.isdisjoint(cell):
            raise InputError(
                Problem(
                    "cells and zip, sobol or when cannot both be given", "cells", source,
                    expected="one of them; cells lists the variants of a stored experiment, whose "
                    "axes can be replaced, but to which no condition can be added",
                )
            )  # fmt: skip
        for key, label in cell.items():
            if label_name(key, label) not in names.get(key, ()):
                problem = f"cells: {key}={label} is not in the grid"
                raise InputError(Problem(problem, "cells", source, dict(cell), _CELLS))
    return tuple(_distinct(cells))
