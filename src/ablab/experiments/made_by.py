"""The blocks of a grid that a stored experiment keeps beside its cells, so that it can be changed.

A stored experiment lists its cells. Where a key varies in some of them only, the list does not say
what is to be done with other values of the key that decides that. So ``made_by`` has the conditions
and the keys that vary together, as in the file of an experiment.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.axes import Axis, SweepContext
from ablab.experiments.cell_settings import CellSettings
from ablab.experiments.grid import Grid, label_name, same_label
from ablab.experiments.grid_reader import read_grid
from ablab.experiments.limits import MAX_RUNS, check_runs
from ablab.experiments.parts import PARTS
from ablab.experiments.tree import Origins

_EXPECTED = "the blocks of the grid from which cells were made: {when: {…}, zip: [{…}]}"


def made_by(
    grid: Grid, axes: Sequence[Axis], definition: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The blocks from which the cells of a definition are made; None if they cannot be given.

    Args:
        grid: The grid.
        axes: Its axes, with those choices only that a cell has.
        definition: The stored experiment, with its cells.
    """
    labels = {axis.key: [choice.label for choice in axis.choices] for axis in axes}
    own = {axis.key for axis in grid.axes}
    when = {
        key: {
            other: _known(other, wanted, labels[other]) if other in own else list(wanted)
            for other, wanted in conditions.items()
        }
        for key, conditions in grid.when.items()
        if key in labels
    }
    if not when or not all(_is_zip(rows) for rows in grid.together):
        return None
    groups = [{key: [row[key] for row in rows] for key in rows[0]} for rows in grid.together]
    found = {"when": when, **({"zip": groups} if groups else {})}
    try:
        restored = _cells(_with_blocks(definition, found))
    except InputError:
        return None
    return found if restored == _names(definition["cells"]) else None


def restore(tree: dict[str, Any], origins: Origins) -> None:
    """Puts the blocks of a stored experiment into its grid, in the place of its cells.

    Raises:
        InputError: The blocks are invalid, or they do not give the cells.
    """
    if "made_by" not in tree:
        return
    blocks, source = tree.pop("made_by"), origins.of(("made_by",))
    if not isinstance(blocks, Mapping) or not isinstance(tree.get("grid"), Mapping):
        raise InputError(
            Problem("made_by has no blocks of a grid", "made_by", source, blocks, _EXPECTED)
        )
    restored = _with_blocks(tree, blocks)
    cells = tree.get("cells")
    if cells is not None and not (cells and _is_listed(cells)):
        return  # reported when the grid is read
    if cells is not None and _cells(restored) != _names(cells):
        raise InputError(
            Problem(
                "cells are not the variants that made_by and the settings give", "cells", source,
                expected="only one of them: without made_by, the variants are those listed; "
                "without cells, those of the grid and the conditions",
            )
        )  # fmt: skip
    tree["grid"] = restored["grid"]
    tree.pop("cells", None)


def _is_listed(cells: Any) -> bool:
    """Whether cells are a list of values by key."""
    return isinstance(cells, list | tuple) and all(
        isinstance(cell, Mapping) and all(isinstance(key, str) for key in cell) for cell in cells
    )


def _known(key: str, wanted: Sequence[Any], labels: Sequence[Any]) -> list[Any]:
    return [each for each in wanted if any(same_label(key, each, label) for label in labels)]


def _is_zip(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the rows of a group can be those of ``zip``: settings, with the same keys."""
    return all(list(row) == list(rows[0]) for row in rows) and all(
        key.split(".", maxsplit=1)[0] in PARTS for key in rows[0]
    )


def _with_blocks(tree: Mapping[str, Any], blocks: Mapping[str, Any]) -> dict[str, Any]:
    """A tree without ``cells``, with blocks in its grid, in the place of their first key."""
    given = blocks.get("zip") or []
    groups = list(given) if isinstance(given, list | tuple) else [given]
    joint = {key for group in groups if isinstance(group, Mapping) for key in group}
    grid: dict[str, Any] = {}
    for key, values in tree["grid"].items():
        if key in joint:
            grid["zip"] = groups
        else:
            grid[key] = values
    grid |= {key: each for key, each in blocks.items() if key not in grid}
    return {key: each for key, each in tree.items() if key != "cells"} | {"grid": grid}


def _cells(tree: Mapping[str, Any]) -> list[dict[str, str]]:
    """The cells of a tree, as names of labels by key."""
    own = copy.deepcopy(dict(tree))
    grid = read_grid(own["grid"], None, Origins(), SweepContext(str(own.get("name")), own))
    check_runs(grid.size(MAX_RUNS), grid.sizes(), 1, [axis.source for axis in grid.axes])
    cells = grid.cells(CellSettings(own, grid.axes).has_value)
    return [{key: label_name(key, choice.label) for key, choice in cell.items()} for cell in cells]


def _names(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [{key: label_name(key, label) for key, label in cell.items()} for cell in cells]
