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
from ablab.experiments.grid import Grid, Row, same_label
from ablab.experiments.limits import MAX_RUNS
from ablab.experiments.overrides import parse_values
from ablab.experiments.sweep_values import sobol_rows, sweep_values
from ablab.experiments.sweeps import DRAWN, Bounds, Sweep, check_sweep
from ablab.experiments.tree import Origins

BLOCKS = ("zip", "sobol", "when")
"""Keys of a grid that are no axes."""
_ZIP = "zip: {key: [value, value, …], key: [value, value, …]}, with as many values for each key"
_SOBOL = "sobol: {n: 16, over: {key: loguniform(lo, hi), key: [value, value, …]}}"
_WHEN = "when: {key: {other key: value or [value, …]}}"
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
        source = origins.of(("grid", key))
        try:
            if key == "zip":
                found = _joined(found, _blocks(values), _zip, origins, context)
            elif key == "sobol":
                found = _joined(found, _blocks(values), _sobol, origins, context)
            elif key != "when":
                bundles = isinstance(values, Mapping)
                axis = (
                    make_bundles(key, values, source)
                    if bundles
                    else make_axis(key, values, source, context)
                )
                found = _added(found, [axis], ())
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    if grid.get("when") is not None:
        found = _conditional(found, grid["when"], origins, context.tree)
    if cells is not None:
        found = replace(found, together=(*found.together, _read_cells(found, cells, origins)))
    return found


def _blocks(values: Any) -> list[Any]:
    """A block, or several of them in a list."""
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
        bounds = check_sweep(values, key, source)
        whole = context.is_whole(key, bounds)
        return sweep_values(bounds, context.name, key, whole, paired=True)
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
    return check_sweep(values, key, source, counted=False)


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


def _conditional(grid: Grid, when: Any, origins: Origins, tree: Mapping[str, Any]) -> Grid:
    """The grid with the conditions of ``when``.

    A condition on a setting that is no axis is decided by its value in the experiment.
    """
    source = origins.of(("grid", "when"))
    if not isinstance(when, Mapping):
        raise InputError(
            Problem("when is not a mapping of conditions", "grid.when", source, when, _WHEN)
        )
    fixed: dict[str, Any] = {}
    found: dict[str, dict[str, tuple[Any, ...]]] = {}
    for key, conditions in when.items():
        place = origins.of(("grid", "when", str(key)))
        if not isinstance(conditions, Mapping) or not conditions:
            problem = f"when: {key} has no conditions"
            raise InputError(Problem(problem, f"grid.when.{key}", place, conditions, _WHEN))
        if not _is_axis(grid, key) and _given(tree, str(key)) is not _UNKNOWN:
            continue  # a size fixed it
        _check_axis(grid, key, f"grid.when.{key}", place)
        for other, wanted in conditions.items():
            at = origins.of(("grid", "when", str(key), str(other)))
            labels = tuple(wanted) if isinstance(wanted, list | tuple) else (wanted,)
            value = _given(tree, str(other))
            if not _is_axis(grid, other) and value is not _UNKNOWN:
                fixed[other] = value
            else:
                _check_labels(grid, key, other, labels, at)
            found.setdefault(key, {})[other] = labels
    grid = replace(grid, when=found)
    for key, value in fixed.items():
        grid = grid.without(key, value)
    return grid


def _is_axis(grid: Grid, key: Any) -> bool:
    return any(axis.key == key for axis in grid.axes)


def _check_axis(grid: Grid, key: Any, path: str, source: str | None) -> None:
    if not _is_axis(grid, key):
        known = [axis.key for axis in grid.axes]
        raise InputError(
            Problem(
                f"when: {key} is not an axis of the grid", path, source,
                expected="one of " + ", ".join(known), suggestion=nearest(str(key), known),
            )
        )  # fmt: skip


def _check_labels(
    grid: Grid, key: str, other: Any, labels: tuple[Any, ...], source: str | None
) -> None:
    """Checks that a condition is about another axis, and about values that it has."""
    path = f"grid.when.{key}.{other}"
    _check_axis(grid, other, path, source)
    if other == key:
        problem = f"when: {key} depends on itself"
        raise InputError(Problem(problem, path, source, expected="a condition on another axis"))
    known = [c.label for axis in grid.axes if axis.key == other for c in axis.choices]
    for label in labels:
        if not any(same_label(other, label, each) for each in known):
            names = [str(each) for each in known]
            raise InputError(
                Problem(
                    f"when: the axis {other} has no value {label}", path, source, label,
                    "one of " + ", ".join(names), nearest(str(label), names),
                )
            )  # fmt: skip


_UNKNOWN = object()


def _given(tree: Mapping[str, Any], key: str) -> Any:
    """The value that the experiment gives to a setting."""
    node: Any = tree
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return _UNKNOWN
        node = node[name]
    return node


def _read_cells(grid: Grid, cells: Any, origins: Origins) -> tuple[Row, ...]:
    """The rows of ``cells``, which a stored experiment has if its grid is no product."""
    source = origins.of(("cells",))
    if grid.together or grid.when:
        problem = "cells and zip, sobol or when cannot both be given"
        raise InputError(Problem(problem, "cells", source, expected="one of them"))
    if not isinstance(cells, list | tuple) or not cells:
        raise InputError(Problem("cells is not a list of cells", "cells", source, cells, _CELLS))
    axes = {axis.key: axis for axis in grid.axes}
    for cell in cells:
        if not isinstance(cell, Mapping) or not cell:
            raise InputError(Problem(f"{cell} is not a cell", "cells", source, cell, _CELLS))
        for key, label in cell.items():
            known = [each.label for each in axes[key].choices] if key in axes else []
            if not any(same_label(key, label, each) for each in known):
                problem = f"cells: {key}={label} is not in the grid"
                raise InputError(Problem(problem, "cells", source, dict(cell), _CELLS))
    return tuple(_distinct(cells))
