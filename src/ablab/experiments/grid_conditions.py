"""Reads and checks ``when:``, the conditions on where a key of a grid varies."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ablab.config import InputError, Problem, nearest
from ablab.config.errors import NOT_GIVEN
from ablab.experiments.axes import Axis
from ablab.experiments.cell_settings import CellSettings
from ablab.experiments.grid import INACTIVE, Cell, Conditions, Grid, overlap, same_label
from ablab.experiments.tree import Origins

_WHEN = "when: {key: {other key: value or [value, …]}}"


def read_conditions(when: Any, origins: Origins) -> Mapping[str, Conditions]:
    """The conditions of ``when:``: for each key, the values that other keys have where it varies.

    Whether there are such keys and values is checked later (:func:`check_conditions`), because
    overrides can add them.

    Raises:
        InputError: It is not a mapping of conditions, or a condition has no values.
    """
    source = origins.of(("grid", "when"))
    if not isinstance(when, Mapping):
        raise InputError(
            Problem("when is not a mapping of conditions", "grid.when", source, when, _WHEN)
        )
    found: dict[str, dict[str, tuple[Any, ...]]] = {}
    for key, conditions in when.items():
        place, name = origins.of(("grid", "when", str(key))), f"grid.when.{key}"
        if not isinstance(conditions, Mapping) or not conditions:
            problem = f"when: {key} has no conditions"
            raise InputError(Problem(problem, name, place, conditions, _WHEN))
        for other, wanted in conditions.items():
            labels = tuple(wanted) if isinstance(wanted, list | tuple) else (wanted,)
            at, inner = origins.of(("grid", "when", str(key), str(other))), f"{name}.{other}"
            if not labels:
                problem = f"when: {key} has no value of {other} with which it varies"
                raise InputError(Problem(problem, inner, at, wanted, _WHEN))
            if other == key:
                problem, expected = f"when: {key} depends on itself", "a condition on another axis"
                raise InputError(Problem(problem, inner, at, expected=expected))
            found.setdefault(str(key), {})[str(other)] = labels
    return found


@dataclass(frozen=True)
class Stage:
    """A grid before or after sizes and overrides, with the settings that decide its conditions."""

    grid: Grid
    settings: CellSettings

    @cached_property
    def cells(self) -> list[Cell]:
        """Its cells."""
        return self.grid.cells(self.settings.has_value)

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """Its axes by key."""
        return {axis.key: axis for axis in self.grid.axes}

    def knows(self, key: str) -> bool:
        """Whether a key is that of an axis or of a setting."""
        return key in self.axes or self.settings.is_known(key)

    def has(self, key: str, label: Any) -> bool:
        """Whether a key has a value in some cell, or in an axis."""
        if key in self.axes:
            return any(same_label(key, label, each.label) for each in self.axes[key].choices)
        return any(self.settings.has_value(key, cell, (label,)) for cell in self.cells)


def check_conditions(
    stage: Stage, others: Callable[[], list[Stage]], decided: Collection[str], origins: Origins
) -> None:
    """Checks the conditions of a grid to which sizes and overrides have been applied.

    Args:
        stage: The grid.
        others: The grid of the file, and with each size, in which a condition may hold that does
            not hold here.
        decided: The keys that a size or an override set; a condition on them may never hold here.
        origins: The sources of all values.

    Raises:
        InputError: A key or a value does not exist, or a key varies nowhere.
    """
    check = _Check(stage, others, decided, origins)
    for key, conditions in stage.grid.when.items():
        check.condition(key, conditions)
    for key, axis in stage.axes.items():
        if any(same_label(key, each.label, INACTIVE) for each in axis.choices) and (
            key in stage.grid.when or any(key not in cell for cell in stage.cells)
        ):
            problem = f"{INACTIVE} stands for a key that does not vary, so it cannot be a value"
            raise InputError(Problem(problem, f"grid.{key}", axis.source, INACTIVE))


class _Check:
    """Checks conditions; the other stages are read only if they matter."""

    def __init__(
        self,
        stage: Stage,
        others: Callable[[], list[Stage]],
        decided: Collection[str],
        origins: Origins,
    ) -> None:
        self._stage, self._others, self._decided = stage, others, decided
        self._origins = origins

    @cached_property
    def _stages(self) -> list[Stage]:
        return [self._stage, *self._others()]

    def condition(self, key: str, conditions: Conditions) -> None:
        """Checks where a key varies."""
        grid, axes = self._stage.grid, self._stage.axes
        path, source = f"grid.when.{key}", self._origins.of(("grid", "when", key))
        if key not in axes:
            if self._is_set(key) or any(key in stage.axes for stage in self._stages):
                return  # a size or an override fixed or removed it
            raise _no_axis(key, path, source, axes)
        for other, labels in conditions.items():
            at = self._origins.of(("grid", "when", key, other))
            if other in axes:
                for label in labels:
                    if not self._exists(other, label):
                        raise self._no_label(other, label, f"{path}.{other}", at)
            elif not self._stage.knows(other) and not (
                self._is_set(other) and any(stage.knows(other) for stage in self._stages)
            ):
                raise _no_axis(other, f"{path}.{other}", at, axes)
        if any(key in cell for cell in self._stage.cells):
            return
        may_vary = any(_is_decided(other, grid, self._decided) for other in conditions) and all(
            any(self._exists(other, label) for label in labels)
            for other, labels in conditions.items()
        )
        if not may_vary:
            raise _never(key, conditions, path, source)

    def _is_set(self, key: str) -> bool:
        return _is_decided(key, Grid(self._stage.grid.axes), self._decided)

    def _exists(self, key: str, label: Any) -> bool:
        """Whether a key has a value in the file, with a size, or after the overrides."""
        return self._stage.has(key, label) or any(e.has(key, label) for e in self._stages[1:])

    def _no_label(self, key: str, label: Any, path: str, source: str | None) -> InputError:
        """The error of a condition on a value that an axis does not have."""
        axes = [stage.axes[key] for stage in self._stages if key in stage.axes]
        names = list(dict.fromkeys(str(each.label) for axis in axes for each in axis.choices))
        return InputError(
            Problem(
                f"when: the axis {key} has no value {label}", path, source, label,
                "one of " + ", ".join(names), nearest(str(label), names),
            )
        )  # fmt: skip


def _is_decided(key: str, grid: Grid, decided: Collection[str]) -> bool:
    """Whether a size or an override decides the value of a key, or whether it varies."""
    if any(
        overlap(key, path)
        for name in decided
        for path in (tuple(name.split(".")), *_paths(grid, name))
    ):
        return True
    rest = _unconditional(grid, key)
    return any(_is_decided(other, rest, decided) for other in grid.when.get(key, {}))


def _unconditional(grid: Grid, key: str) -> Grid:
    """The grid without the conditions of a key, which may depend on each other."""
    return Grid(grid.axes, grid.together, {k: each for k, each in grid.when.items() if k != key})


def _paths(grid: Grid, name: str) -> Iterator[tuple[str, ...]]:
    """The settings of an axis of bundles."""
    for axis in grid.axes:
        if axis.key == name:
            yield from (path for choice in axis.choices for path, _ in choice.assignments)


def _no_axis(key: str, path: str, source: str | None, axes: Mapping[str, Axis]) -> InputError:
    problem, known = f"when: {key} is not an axis of the grid", list(axes)
    expected = "one of " + ", ".join(known) if known else "an axis"
    return InputError(Problem(problem, path, source, NOT_GIVEN, expected, nearest(key, known)))


def _never(key: str, conditions: Conditions, path: str, source: str | None) -> InputError:
    wanted = ", ".join(f"{o}={' or '.join(map(str, labels))}" for o, labels in conditions.items())
    return InputError(
        Problem(
            f"when: {key} varies nowhere, because no variant has {wanted}", path, source,
            expected="a condition that holds in some variants",
        )
    )  # fmt: skip
