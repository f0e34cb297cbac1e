"""Applies the overrides of an experiment to its settings and its grid."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.assign import assign, order_of
from ablab.experiments.axes import Axis, Choice, SweepContext, check_key, make_axis
from ablab.experiments.grid import Grid
from ablab.experiments.grid_changes import (
    UNKNOWN,
    GridChange,
    change_block,
    fixed_in,
    fixed_values,
    places,
)
from ablab.experiments.grid_reader import BLOCKS
from ablab.experiments.overrides import Override
from ablab.experiments.parts import TOP_LEVEL
from ablab.experiments.setting_keys import suggest_key as suggest
from ablab.experiments.tree import Origins, leaves, put
from ablab.experiments.tree import Path as KeyPath

_DESIGNS = ("tune", "halving")  # have settings of their own
_WHOLE = ("name", "question", "answer", "analyze", "logbook", "seeds", *_DESIGNS)


def apply_blocks(
    tree: dict[str, Any], overrides: list[Override], origins: Origins, pending: list[GridChange]
) -> list[Override]:
    """Applies overrides of blocks of the grid, such as ``grid.zip``; returns the others.

    Axes with keys of such a block, and changes of them that are pending, are replaced by it.
    """
    rest = []
    for override in overrides:
        first, _, block = override.key.partition(".")
        if first != "grid" or block not in BLOCKS or override.is_axis:
            rest.append(override)
            continue
        change_block(tree, block, override.value, pending)
        origins.mark(("grid", block), override.source)
    return rest


def apply_overrides(
    tree: dict[str, Any], grid: Grid, overrides: list[Override], origins: Origins, name: str
) -> Grid:
    """Applies overrides to the tree, kinds first; returns the grid, including overridden axes.

    Args:
        tree: The tree of the experiment, which is modified.
        grid: Its grid.
        overrides: The overrides.
        origins: The sources of all values; updated for values that are overridden.
        name: The name of the experiment, from which the values of sweeps are drawn.

    Raises:
        InputError: A key is not a setting, or it cannot be overridden.
    """
    for override in sorted(overrides, key=lambda o: order_of(tuple(o.key.split(".")), o.value)):
        key, source = override.key, override.source
        bundles = next((axis for axis in grid.axes if axis.key == key), None)
        if bundles is not None and key.split(".")[0] not in TOP_LEVEL:
            grid = grid.with_choices(_chosen(bundles, override))
            continue
        if key.split(".", maxsplit=1)[0] == "expect":
            expected = "expectations in the file of the experiment, or ablab expect"
            raise InputError(Problem("expect cannot be overridden", key, source, expected=expected))
        if key in _WHOLE:
            if override.is_axis:
                check_key(key, source)
            tree[key] = override.value
            origins.mark((key,), source)
            continue
        if _set_within(tree, override, origins):
            continue
        path = check_key(key, source)
        value = _name_of(override) if override.is_axis else override.value
        fixed = fixed_values(path, value, [axis.key for axis in grid.axes])
        if override.is_axis:
            fixed = dict.fromkeys((each for each in fixed if each != key), UNKNOWN)
        for touched, _ in places(path, value):
            for axis in grid.axes:
                if axis.key != key and axis.key not in fixed:
                    changed = _without(axis, touched, override)
                    grid = grid if changed is axis else grid.with_choices(changed)
        grid = fixed_in(grid, fixed)
        if override.is_axis:
            grid = grid.with_axis(make_axis(key, override.value, source, SweepContext(name, tree)))
        origins.mark(path, source)
        if not override.is_axis:
            assign(tree, path, override.value, origins)
    return grid


def _set_within(tree: dict[str, Any], override: Override, origins: Origins) -> bool:
    """Sets a single setting of how the experiment is designed; whether it was one."""
    block, _, inner = override.key.partition(".")
    has_settings = block in _DESIGNS or (block == "seeds" and isinstance(tree.get(block), dict))
    if not has_settings or not inner or override.is_axis or tree.get(block) is None:
        return False
    first, _, rest = inner.partition(".")
    deeper = [rest] if first == "over" else rest.split(".")  # whose keys are those of settings
    path = (block, first, *deeper) if rest else (block, first)
    put(tree, path, override.value)
    origins.mark(path, override.source)
    return True


def _name_of(axis: Override) -> str | None:
    """One of the values of an axis, if they are names; None if they are not."""
    first = axis.value[0] if isinstance(axis.value, list) and axis.value else None
    return first if isinstance(first, str) else None


def _chosen(axis: Axis, override: Override) -> Axis:
    """An axis of bundles, restricted to those that an override names."""
    values = override.value if override.is_axis else [override.value]
    wanted = [str(value) for value in values]
    labels = [str(choice.label) for choice in axis.choices]
    for label in wanted:
        if label not in labels:
            raise InputError(
                Problem(
                    f"the axis {axis.key} has no bundle {label!r}",
                    axis.key,
                    override.source,
                    expected="one of " + ", ".join(labels),
                    suggestion=suggest(label, labels),
                )
            )
    chosen = tuple(choice for choice in axis.choices if str(choice.label) in wanted)
    return replace(axis, choices=chosen)


def _without(axis: Axis, path: KeyPath, override: Override) -> Axis:
    """An axis without the setting that an override sets, since overrides take precedence.

    Raises:
        InputError: The values of the axis are mappings that contain the setting.
    """
    if axis.key.split(".")[0] in TOP_LEVEL:
        own = tuple(axis.key.split("."))
        if path[: len(own)] == own and len(path) > len(own):
            key = ".".join(path)
            whole = (
                f"an override of the complete axis, {axis.key}=…"
                if override.origin is None
                else f'an argument with the complete axis, grid={{"{axis.key}": …}}'
            )
            raise InputError(
                Problem(
                    f"the axis {axis.key} of the grid also sets {key}",
                    override.key,
                    override.source,
                    expected=f"{whole}, or {key} as an axis of the file, and under when the"
                    f" values of {axis.key} for which it varies",
                )
            )
        return axis
    choices = tuple(
        Choice(choice.label, tuple(_assignments_without(choice, path))) for choice in axis.choices
    )
    if choices == axis.choices:
        return axis
    return replace(axis, choices=choices, reduced_by=(*axis.reduced_by, override.source))


def _assignments_without(choice: Choice, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """The settings of a bundle without one, which can be within a mapping."""
    for own, value in choice.assignments:
        if own[: len(path)] == path or (isinstance(value, str) and path == (*own, "kind")):
            continue
        inner = list(leaves(value, own)) if isinstance(value, Mapping) else []
        left = [each for each in inner if each[0][: len(path)] != path]
        yield from left if len(left) < len(inner) else [(own, value)]
