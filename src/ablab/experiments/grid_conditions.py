"""Reads and checks ``when:``, the conditions on where a key of a grid varies."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ablab.config import InputError, Problem, nearest
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


def check_conditions(
    grid: Grid,
    cells: Sequence[Cell],
    settings: CellSettings,
    decided: Collection[str],
    origins: Origins,
) -> None:
    """Checks the conditions of a grid to which sizes and overrides have been applied.

    Args:
        grid: The grid.
        cells: Its cells.
        settings: The values of settings that are no axes.
        decided: The keys that a size or an override set; a condition on them may never hold.
        origins: The sources of all values.

    Raises:
        InputError: A key or a value does not exist, or a key varies nowhere.
    """
    axes = {axis.key: axis for axis in grid.axes}
    for key, conditions in grid.when.items():
        path, source = f"grid.when.{key}", origins.of(("grid", "when", key))
        if key not in axes:
            if settings.is_given(key):
                continue  # a size or an override fixed it
            raise _no_axis(key, path, source, axes)
        for choice in axes[key].choices:
            if same_label(key, choice.label, INACTIVE):
                problem = f"{INACTIVE} stands for a key that does not vary, so it cannot be a value"
                raise InputError(Problem(problem, f"grid.{key}", axes[key].source, INACTIVE))
        for other, labels in conditions.items():
            at = origins.of(("grid", "when", key, other))
            if other in axes:
                if not _is_decided(other, grid, decided):
                    _check_labels(axes[other], labels, f"{path}.{other}", at)
            elif not settings.is_known(other):
                raise _no_axis(other, f"{path}.{other}", at, axes)
        varies = any(key in cell for cell in cells)
        if not varies and not any(_is_decided(other, grid, decided) for other in conditions):
            raise _never(key, conditions, path, source)


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
    return InputError(Problem(problem, path, source, None, expected, nearest(key, known)))


def _check_labels(axis: Axis, labels: tuple[Any, ...], path: str, source: str | None) -> None:
    """Checks that a condition is about values that an axis has."""
    known = [choice.label for choice in axis.choices]
    for label in labels:
        if not any(same_label(axis.key, label, each) for each in known):
            names = [str(each) for each in known]
            raise InputError(
                Problem(
                    f"when: the axis {axis.key} has no value {label}", path, source, label,
                    "one of " + ", ".join(names), nearest(str(label), names),
                )
            )  # fmt: skip


def _never(key: str, conditions: Conditions, path: str, source: str | None) -> InputError:
    wanted = ", ".join(f"{o}={' or '.join(map(str, labels))}" for o, labels in conditions.items())
    return InputError(
        Problem(
            f"when: {key} varies nowhere, because no variant has {wanted}", path, source,
            expected="a condition that holds in some variants",
        )
    )  # fmt: skip
