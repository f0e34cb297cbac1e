"""The grid: axes, which of them vary together or only in some cells, and the cells."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ablab.experiments.axes import Axis, Choice, as_text
from ablab.experiments.parts import PARTS

Row = Mapping[str, Any]  # labels by key; a key that does not vary there is left out
Cell = dict[str, Choice]  # likewise
Conditions = Mapping[str, tuple[Any, ...]]  # the labels of other keys for which a key varies

INACTIVE = Choice(None, ())
"""Stands for a key that does not vary in a cell, and keeps its base value there."""


@dataclass(frozen=True)
class Grid:
    """A grid: the product of its axes, unless some vary together or only in some cells.

    Attributes:
        axes: The axes, in order.
        together: For each group of keys that vary together, the rows of their labels.
        when: For each key that varies in some cells only, the labels that other keys have there.
    """

    axes: tuple[Axis, ...] = ()
    together: tuple[tuple[Row, ...], ...] = ()
    when: Mapping[str, Conditions] = field(default_factory=dict)

    def sizes(self) -> dict[str, int]:
        """How many values each axis has, and how many rows each group, by their keys.

        Their product is the number of cells, or more where keys vary in some cells only.
        """
        return {" + ".join(keys): len(rows) for keys, rows in self._units()}

    def cells(self) -> list[Cell]:
        """The cells; the last axis changes fastest. Cells that are equal are one cell."""
        choices = {axis.key: _choices(axis) for axis in self.axes}
        found: dict[tuple[str, ...], Cell] = {}
        for rows in itertools.product(*(rows for _, rows in self._units())):
            row = {key: label for each in rows for key, label in each.items()}
            row = self._active(row)
            cell = {key: choices[key][_name(key, label)] for key, label in row.items()}
            name = tuple(_name(key, row[key]) if key in row else "" for key in choices)
            found.setdefault(name, cell)
        return list(found.values())

    def reduced(self, cells: Iterable[Cell]) -> tuple[Axis, ...]:
        """The axes, with those choices only that a cell has, and without axes that have none."""
        used = {id(choice) for cell in cells for choice in cell.values()}
        axes = (
            replace(axis, choices=tuple(each for each in axis.choices if id(each) in used))
            for axis in self.axes
        )
        return tuple(axis for axis in axes if axis.choices)

    def with_axis(self, axis: Axis) -> "Grid":
        """The grid with an axis that varies independently, in the place of one with its key."""
        place = next((n for n, each in enumerate(self.axes) if each.key == axis.key), None)
        if place is None:
            return replace(self, axes=(*self.axes, axis))
        grid = replace(self, together=tuple(_ungrouped(self.together, axis.key)))
        return replace(grid, axes=(*self.axes[:place], axis, *self.axes[place + 1 :]))

    def with_choices(self, axis: Axis) -> "Grid":
        """The grid with other choices of an axis; rows of groups that name another one are left."""
        names = set(_choices(axis))
        together = (
            tuple(r for r in rows if axis.key not in r or _name(axis.key, r[axis.key]) in names)
            for rows in self.together
        )
        axes = tuple(axis if each.key == axis.key else each for each in self.axes)
        return replace(self, axes=axes, together=tuple(together))

    def without(self, key: str, value: Any = INACTIVE) -> "Grid":
        """The grid with a setting fixed, which was an axis.

        Rows of its group with another value are left out, if there are some with this value. Keys
        that vary only for other values of it do not vary any more.

        Args:
            key: The key of the axis.
            value: The value; by default, it has none that is known.
        """
        groups = tuple(_fixed(self.together, key, value))
        when = {each: found for each, found in self.when.items() if each != key}
        grid = Grid(tuple(axis for axis in self.axes if axis.key != key), groups, when)
        for each, conditions in when.items():
            if key not in conditions:
                continue
            if any(_name(key, value) == _name(key, label) for label in conditions[key]):
                rest = {other: labels for other, labels in conditions.items() if other != key}
                own = {each: rest} if rest else {}
                others = {name: found for name, found in grid.when.items() if name != each}
                grid = replace(grid, when=others | own)
            else:
                grid = grid.without(each)
        return grid

    def _units(self) -> Iterator[tuple[list[str], list[Row]]]:
        """What varies independently: the keys and the rows of each group and each other axis."""
        seen: set[str] = set()
        for axis in self.axes:
            if axis.key in seen:
                continue
            group = next((rows for rows in self.together if _has(rows, axis.key)), None)
            if group is None:
                yield [axis.key], [{axis.key: choice.label} for choice in axis.choices]
                continue
            keys = [each.key for each in self.axes if _has(group, each.key)]
            seen.update(keys)
            yield keys, list(group)

    def _active(self, row: dict[str, Any]) -> dict[str, Any]:
        """The labels of a cell, without those of keys that do not vary there."""
        while True:
            idle = [
                key
                for key, conditions in self.when.items()
                if key in row and not all(_holds(row, *each) for each in conditions.items())
            ]
            if not idle:
                return row
            row = {key: label for key, label in row.items() if key not in idle}


def product_size(axes: Iterable[Axis]) -> int:
    """The number of cells of the whole product of axes."""
    return math.prod(len(axis.choices) for axis in axes)


def same_label(key: str, label: Any, other: Any) -> bool:
    """Whether two labels of an axis are the same; those of bundles are compared as text."""
    return _name(key, label) == _name(key, other)


def _name(key: str, label: Any) -> str:
    return as_text(label) if key.split(".", maxsplit=1)[0] in PARTS else str(label)


def _choices(axis: Axis) -> dict[str, Choice]:
    return {_name(axis.key, choice.label): choice for choice in axis.choices}


def _has(rows: Iterable[Row], key: str) -> bool:
    return any(key in row for row in rows)


def _holds(row: Row, key: str, labels: tuple[Any, ...]) -> bool:
    return key in row and any(same_label(key, row[key], label) for label in labels)


def _ungrouped(together: Iterable[tuple[Row, ...]], key: str) -> Iterator[tuple[Row, ...]]:
    """The groups without a key, and so without rows that differed in it alone."""
    for rows in together:
        distinct: dict[tuple[str, ...], Row] = {}
        for row in rows:
            left = {each: label for each, label in row.items() if each != key}
            distinct.setdefault(tuple(f"{k} {_name(k, label)}" for k, label in left.items()), left)
        if any(distinct.values()):
            yield tuple(distinct.values())


def _fixed(together: Iterable[tuple[Row, ...]], key: str, value: Any) -> Iterator[tuple[Row, ...]]:
    """The groups without a key: of its group, the rows with a value, if there are any."""
    for rows in together:
        same = tuple(row for row in rows if key in row and same_label(key, row[key], value))
        yield from _ungrouped([same or rows], key)
