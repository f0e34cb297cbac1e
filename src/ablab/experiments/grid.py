"""The grid: axes, which of them vary together or only in some cells, and the cells."""

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ablab.experiments.axes import Axis, Choice, as_text
from ablab.experiments.parts import PARTS
from ablab.experiments.tree import Path

Row = Mapping[str, Any]  # labels by key; a key that does not vary there is left out
Cell = dict[str, Choice]  # likewise
Conditions = Mapping[str, tuple[Any, ...]]  # the labels of other keys for which a key varies
# Whether a setting that is no axis has one of some values in a cell.
HasValue = Callable[[str, Cell, tuple[Any, ...]], bool]

INACTIVE = "inactive"
"""The label of a key that does not vary in a cell and keeps its base value there. It is text, and
not null, which can be a value of the key."""
IDLE = Choice(INACTIVE, ())
"""The choice of a key that does not vary in a cell."""


@dataclass(frozen=True)
class Grid:
    """A grid: the product of its axes, unless some vary together or only in some cells.

    Attributes:
        axes: The axes, in order.
        together: For each group of keys that vary together, the rows of their labels.
        when: For each key that varies in some cells only, the labels that other keys, or the values
            that other settings, have there.
    """

    axes: tuple[Axis, ...] = ()
    together: tuple[tuple[Row, ...], ...] = ()
    when: Mapping[str, Conditions] = field(default_factory=dict)

    def sizes(self) -> dict[str, int]:
        """How many values each axis has, and how many rows each group, by their keys.

        Their product is the number of cells, or more where keys vary in some cells only.
        """
        return {" + ".join(keys): len(rows) for keys, rows in self._units()}

    def size(self, most: int) -> int:
        """The number of cells, or more where a setting that is no axis decides what varies.

        Args:
            most: Beyond this number, cells are not counted any further.
        """
        return len(self._combinations(most)) if self.when else math.prod(self.sizes().values())

    def cells(self, has_value: HasValue) -> list[Cell]:
        """The cells; the last axis changes fastest. Cells that are equal are one cell.

        Args:
            has_value: Decides conditions on settings that are no axes.
        """
        choices = {axis.key: _choices(axis) for axis in self.axes}
        found: dict[tuple[str | None, ...], Cell] = {}
        units = [rows for _, rows in self._units()]
        for places in sorted(self._combinations()):
            chosen = (rows[place] for rows, place in zip(units, places, strict=True))
            row = {key: label for each in chosen for key, label in each.items()}
            cell = {key: choices[key][label_name(key, label)] for key, label in row.items()}
            cell = self._active(cell, has_value)
            name = tuple(label_name(k, cell[k].label) if k in cell else None for k in choices)
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
        """The grid with an axis that varies independently, in the place of one with its key.

        In the rows of a group that have no such key it does not vary, if there are some.
        """
        place = next((n for n, each in enumerate(self.axes) if each.key == axis.key), None)
        if place is None:
            return replace(self, axes=(*self.axes, axis))
        grid = replace(self, together=tuple(_with_labels(self.together, axis)))
        return replace(grid, axes=(*self.axes[:place], axis, *self.axes[place + 1 :]))

    def with_choices(self, axis: Axis) -> "Grid":
        """The grid with other choices of an axis; rows of groups that name another one are left."""
        names = set(_choices(axis))

        def is_left(row: Row) -> bool:
            return axis.key not in row or label_name(axis.key, row[axis.key]) in names

        together = (tuple(row for row in rows if is_left(row)) for rows in self.together)
        axes = tuple(axis if each.key == axis.key else each for each in self.axes)
        return replace(self, axes=axes)._with_rows(together)

    def without(self, key: str) -> "Grid":
        """The grid without an axis, and without conditions on where it varies.

        Rows of its group that differed in it alone are one row.
        """
        when = {each: found for each, found in self.when.items() if each != key}
        axes = tuple(axis for axis in self.axes if axis.key != key)
        return Grid(axes, tuple(_ungrouped(self.together, key)), when)

    def fixed(self, key: str, value: Any) -> "Grid":
        """The grid with a setting fixed, which was an axis.

        Of its group, only the rows with this value are left, if there are some.
        """
        return self._with_rows(_selected(self.together, key, value)).without(key)

    def _with_rows(self, together: Iterable[tuple[Row, ...]]) -> "Grid":
        """The grid with some of the rows of each group, and without axes that have none left."""
        left = tuple(together)
        lost = _keys(self.together) - _keys(left)
        axes = tuple(axis for axis in self.axes if axis.key not in lost)
        when = {key: each for key, each in self.when.items() if key not in lost}
        return Grid(axes, left, when)

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

    def _combinations(self, most: int | None = None) -> list[tuple[int, ...]]:
        """The places of a row of each unit for each cell; of a unit that is idle there, the first.

        Without this, a grid of a few hundred cells whose axes vary under different conditions would
        be the product of all axes. What settings that are no axes decide is not known here.

        Args:
            most: Beyond this number, they are incomplete.
        """
        units = list(self._units())
        if not self.when:
            return list(itertools.product(*(range(len(rows)) for _, rows in units)))
        found: list[tuple[dict[int, int], Row]] = [({}, {})]
        decided: set[str] = set()
        for unit in self._after_conditions([keys for keys, _ in units]):
            keys, rows = units[unit]
            longer: list[tuple[dict[int, int], Row]] = []
            for places, known in found:
                is_idle = all(self._is_idle(key, known, decided) for key in keys)
                for place, row in enumerate(rows[:1] if is_idle else rows):
                    longer.append((places | {unit: place}, {**known, **row}))
                if most is not None and len(longer) > most:
                    return [tuple(each.values()) for each, _ in longer]
            found = longer
            decided.update(keys)
        return [tuple(places[unit] for unit in range(len(units))) for places, _ in found]

    def _after_conditions(self, units: Sequence[Collection[str]]) -> list[int]:
        """The order of units in which those that conditions are about come first, if possible."""
        left, done, order = list(range(len(units))), set[str](), list[int]()
        every = {key for keys in units for key in keys}
        while left:
            needed = {
                unit: {
                    other
                    for key in units[unit]
                    for other in self.when.get(key, {})
                    if other in every and other not in units[unit]
                }
                for unit in left
            }
            following = next((unit for unit in left if needed[unit] <= done), left[0])
            left.remove(following)
            done.update(units[following])
            order.append(following)
        return order

    def _is_idle(self, key: str, known: Row, decided: Collection[str]) -> bool:
        """Whether a key does not vary where some other keys have these labels.

        Args:
            key: The key.
            known: The labels.
            decided: The keys that have a label there, or none because they do not vary.
        """
        return any(
            other in decided
            and (
                other not in known
                or not any(same_label(other, known[other], each) for each in labels)
                or self._is_idle(other, known, [each for each in decided if each != key])
            )
            for other, labels in self.when.get(key, {}).items()
        )

    def _active(self, cell: Cell, has_value: HasValue) -> Cell:
        """A cell without the keys that do not vary there.

        A key whose condition depends on another key is decided after it.
        """
        while True:
            idle = [
                key
                for key, conditions in self.when.items()
                if key in cell and not self._varies(conditions, cell, has_value)
            ]
            if not idle:
                return cell
            first = [key for key in idle if not self._waits(key, idle, cell)] or idle
            cell = {key: choice for key, choice in cell.items() if key not in first}

    def _varies(self, conditions: Conditions, cell: Cell, has_value: HasValue) -> bool:
        for key, labels in conditions.items():
            if any(axis.key == key for axis in self.axes):
                holds = key in cell and any(same_label(key, cell[key].label, e) for e in labels)
            else:
                holds = has_value(key, cell, labels)
            if not holds:
                return False
        return True

    def _waits(self, key: str, idle: Iterable[str], cell: Cell) -> bool:
        """Whether a condition of a key depends on one of the other keys that do not vary."""
        return any(
            other == name or any(overlap(other, path) for path, _ in cell[name].assignments)
            for other in self.when[key]
            for name in idle
            if name != key
        )


def overlap(key: str, path: Path) -> bool:
    """Whether a setting contains the setting at a path, or is contained in it."""
    own = tuple(key.split("."))
    count = min(len(own), len(path))
    return own[:count] == path[:count]


def product_size(axes: Iterable[Axis]) -> int:
    """The number of cells of the whole product of axes."""
    return math.prod(len(axis.choices) for axis in axes)


def same_label(key: str, label: Any, other: Any) -> bool:
    """Whether two labels of an axis are the same: equal values; those of bundles, as text."""
    return label_name(key, label) == label_name(key, other)


def label_name(key: str, label: Any) -> str:
    """A label of an axis as text: the same for equal numbers; for bundles, the label as text."""
    return as_text(label) if key.split(".", maxsplit=1)[0] in PARTS else str(label)


def _choices(axis: Axis) -> dict[str, Choice]:
    return {label_name(axis.key, choice.label): choice for choice in axis.choices}


def _has(rows: Iterable[Row], key: str) -> bool:
    return any(key in row for row in rows)


def _keys(together: Iterable[tuple[Row, ...]]) -> set[str]:
    return {key for rows in together for row in rows for key in row}


def _ungrouped(together: Iterable[tuple[Row, ...]], key: str) -> Iterator[tuple[Row, ...]]:
    """The groups without a key, and so without rows that differed in it alone."""
    for rows in together:
        distinct: dict[tuple[str, ...], Row] = {}
        for row in rows:
            left = {each: label for each, label in row.items() if each != key}
            name = tuple(f"{k} {label_name(k, label)}" for k, label in left.items())
            distinct.setdefault(name, left)
        if any(distinct.values()):
            yield tuple(distinct.values())


def _selected(
    together: Iterable[tuple[Row, ...]], key: str, value: Any
) -> Iterator[tuple[Row, ...]]:
    """The groups; of that of a key, the rows with a value, if there are any, or without the key."""
    for rows in together:
        found = [row for row in rows if key in row and same_label(key, row[key], value)]
        yield tuple(row for row in rows if key not in row or row in found) if found else rows


def _with_labels(together: Iterable[tuple[Row, ...]], axis: Axis) -> Iterator[tuple[Row, ...]]:
    """The groups, in which an axis varies independently in the rows that have its key.

    If all rows have it, the axis is not in the group any more.
    """
    for rows in together:
        having = tuple(row for row in rows if axis.key in row)
        if not having or len(having) == len(rows):
            yield from _ungrouped([rows], axis.key) if having else [rows]
            continue
        rest = next(_ungrouped([having], axis.key), ({},))
        yield (
            *(row for row in rows if axis.key not in row),
            *({**row, axis.key: choice.label} for row in rest for choice in axis.choices),
        )
