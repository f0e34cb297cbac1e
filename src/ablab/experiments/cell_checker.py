"""Checks the cells of a grid; what several cells have in common is checked once."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from ablab.config import InputError
from ablab.experiments.assign import assign, order_of
from ablab.experiments.axes import Axis, Choice
from ablab.experiments.parts import PARTS, check_without_data
from ablab.experiments.tree import Origins
from ablab.experiments.variant import Unresolved, Variant, in_cell


def with_axes(origins: Origins, axes: Sequence[Axis]) -> Origins:
    """The sources of values, with those of the axes; they are the same for every cell."""
    where = copy.deepcopy(origins)
    for axis in axes:
        if axis.source is not None:
            paths = (path for choice in axis.choices for path, _ in choice.assignments)
            for path in dict.fromkeys(paths):
                where.mark(path, axis.source)
    return where


class CellChecker:
    """Checks the cells of a grid; what several cells have in common is checked once.

    Args:
        tree: The experiment's tree, without the settings of its cells.
        axes: The axes of the grid.
        origins: The sources of all values.
    """

    def __init__(self, tree: dict[str, Any], axes: Sequence[Axis], origins: Origins) -> None:
        self._parts = {part: tree[part] for part in PARTS if part in tree}
        self._origins = origins
        self._touched = [
            {path[0] for choice in axis.choices for path, _ in choice.assignments} for axis in axes
        ]
        for touched in self._touched:
            if "task" in touched:  # epochs and full batches depend on the task
                touched.add("train")
        self._checked: dict[tuple[Any, ...], Any] = {}

    def variant(
        self, keys: dict[str, Any], cell: tuple[Choice, ...], seeds: tuple[int, ...]
    ) -> Variant:
        """The variant of a cell, checked without the data that its task names.

        Args:
            keys: The keys of the axes with the values of the cell.
            cell: A choice for each axis.
            seeds: The seeds of the experiment.

        Raises:
            InputError: A setting is invalid; all problems are listed.
        """
        names = {part: (part, *(id(choice) for choice in self._of(part, cell))) for part in PARTS}
        known = {part: self._checked[key] for part, key in names.items() if key in self._checked}
        here = {
            part: data if part in known else copy.deepcopy(data)
            for part, data in self._parts.items()
        }
        assignments = [each for choice in cell for each in choice.assignments]
        touched = tuple(".".join(path) for path, _ in assignments)
        try:
            for path, value in sorted(assignments, key=lambda each: order_of(*each)):
                if path[0] not in known:
                    assign(here, path, value, self._origins)
            parts = check_without_data(here, self._origins, known)
        except InputError as error:
            raise in_cell(error, keys, touched) from error
        if parts is None:  # nothing of such a cell is kept, so all of its settings are assigned
            return Variant(keys, Unresolved(here, keys, touched, self._origins), seeds)
        self._checked |= {names[part]: getattr(parts, part) for part in PARTS}
        return Variant(keys, parts, seeds)

    def _of(self, part: str, cell: tuple[Choice, ...]) -> Iterator[Choice]:
        """The choices of a cell that can change a part."""
        return (
            choice for choice, touched in zip(cell, self._touched, strict=True) if part in touched
        )
