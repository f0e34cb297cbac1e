"""The grid of an experiment as plain data."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablab.experiments.axes import Axis
from ablab.experiments.grid import Cell, Grid, product_size
from ablab.experiments.made_by import made_by
from ablab.experiments.parts import TOP_LEVEL


def grid_data(
    tree: Mapping[str, Any], grid: Grid, axes: Sequence[Axis], cells: Sequence[Cell]
) -> dict[str, Any]:
    """The grid as plain data: its axes, and the cells if they are not all of their product."""
    found: dict[str, Any] = {"grid": {axis.key: _axis_data(axis) for axis in axes}}
    if len(cells) == product_size(axes) and all(len(cell) == len(axes) for cell in cells):
        return found
    found["cells"] = [cell_data(cell) for cell in cells]
    blocks = made_by(grid, axes, {**tree, **found})
    return found | ({} if blocks is None else {"made_by": blocks})


def cell_data(cell: Cell) -> dict[str, Any]:
    """A cell as plain data: the labels of its choices by key."""
    return {key: choice.label for key, choice in cell.items()}


def _axis_data(axis: Axis) -> Any:
    if axis.key.split(".")[0] in TOP_LEVEL:
        return [choice.label for choice in axis.choices]
    return {
        choice.label: {".".join(path): value for path, value in choice.assignments}
        for choice in axis.choices
    }
