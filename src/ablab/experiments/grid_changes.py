"""Changes of a grid by sizes, arguments and overrides: axes, blocks, and settings that are fixed.

An axis outside of the blocks is changed in the tree of the experiment. One within ``zip``,
``sobol`` or ``cells`` is changed once the grid has been read, since its values belong to rows.
Such changes are pending: a later axis or block with their key replaces them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ablab.experiments.axes import SweepContext
from ablab.experiments.grid import Grid
from ablab.experiments.grid_reader import BLOCKS, read_axis
from ablab.experiments.tree import Origins, Path, is_short, leaves, put

UNKNOWN = object()
"""The value of a setting that a change fixes, if what contains the setting was replaced."""


@dataclass(frozen=True)
class GridChange:
    """A change of an axis within a block.

    Attributes:
        kind: Whether other values replace it (``axis``), or it is ``removed`` or ``fixed``.
        key: The key of the axis.
        value: The values, or the one value.
        source: The source of the value.
    """

    kind: Literal["axis", "removed", "fixed"]
    key: str
    value: Any
    source: str | None


def change_axis(
    tree: dict[str, Any], key: str, values: Any, source: str | None, pending: list[GridChange]
) -> None:
    """Puts an axis into the grid of a tree, in the place of one with its key; None removes it.

    Args:
        tree: The tree, which is modified.
        key: The key of the axis, or the name of a block.
        values: Its values.
        source: Their source.
        pending: What is left to do once the grid has been read, which is modified, too.
    """
    if key in BLOCKS:
        change_block(tree, key, values, pending)
        return
    grid = dict(tree.get("grid") or {})
    joint = key in {*_block_keys(grid.get("zip")), *_block_keys(grid.get("sobol"))}
    if joint or key in _cell_keys(tree):
        kind: Literal["axis", "removed"] = "removed" if values is None else "axis"
        pending.append(GridChange(kind, key, values, source))
        return
    _forget(pending, {key})
    grid.pop(key, None) if values is None else grid.update({key: values})
    tree["grid"] = grid


def change_grid(
    tree: dict[str, Any],
    grid: Mapping[str, Any],
    source: str,
    origins: Origins,
    pending: list[GridChange],
) -> None:
    """Puts axes and blocks into the grid of a tree; bundles are added to an axis of bundles.

    What is left to do once the grid has been read is added to ``pending``.
    """
    if not isinstance(tree.get("grid") or {}, Mapping):
        tree["grid"] = {}
    for name, values in grid.items():
        key = str(name)
        before = (tree.get("grid") or {}).get(key)
        if key not in BLOCKS and isinstance(values, Mapping) and isinstance(before, dict):
            put(tree, ("grid", key), values)
        else:
            change_axis(tree, key, values, source, pending)
        origins.mark(("grid", key), source)


def change_block(tree: dict[str, Any], name: str, value: Any, pending: list[GridChange]) -> None:
    """Replaces a block of a tree's grid, and all axes with its keys; None removes the block.

    Pending changes of its keys are no longer pending. A grid that is no mapping is left as it is,
    and reported when it is read.
    """
    before = tree.get("grid") or {}
    if not isinstance(before, Mapping):
        return
    own = set() if name == "when" else set(_block_keys(value))
    _forget(pending, own)
    grid = {key: each for key, each in before.items() if key not in own and key != name}
    for other in ("zip", "sobol"):
        if other in grid:
            blocks = [each for each in _without(other, grid[other], own) if each]
            grid[other] = blocks
            if not blocks:
                del grid[other]
    tree["grid"] = grid if value is None else grid | {name: value}
    cells = tree.get("cells")
    if own and isinstance(cells, Sequence) and all(isinstance(each, Mapping) for each in cells):
        rest = [{key: each[key] for key in each if key not in own} for each in cells]
        tree["cells"] = [each for each in rest if each]
        if not tree["cells"]:
            del tree["cells"]


def fix(
    tree: dict[str, Any], path: Path, value: Any, source: str | None, pending: list[GridChange]
) -> None:
    """Removes the axes of a tree's grid that a setting with a single value replaces.

    What is left to do once the grid has been read is added to ``pending``.
    """
    grid = tree.get("grid")
    if not isinstance(grid, Mapping):
        return
    joint = [*_block_keys(grid.get("zip")), *_block_keys(grid.get("sobol")), *_cell_keys(tree)]
    joint += [change.key for change in pending]
    found = fixed_values(path, value, [*grid, *joint])
    tree["grid"] = {key: each for key, each in grid.items() if key not in found or key in joint}
    pending += [GridChange("fixed", key, each, source) for key, each in found.items()
                if key in joint]  # fmt: skip


def _forget(pending: list[GridChange], keys: Collection[str]) -> None:
    """Drops the pending changes of keys that were set again."""
    pending[:] = [change for change in pending if change.key not in keys]


def fixed_values(path: Path, value: Any, keys: Iterable[str]) -> dict[str, Any]:
    """The keys that setting a value fixes, each with its own value, or :data:`UNKNOWN`.

    Args:
        path: The setting.
        value: Its value, which can be a mapping of several settings.
        keys: The keys of the axes.
    """
    found: dict[str, Any] = {}
    if isinstance(value, Mapping) and not value:
        return found
    for key in keys:
        own = tuple(key.split("."))
        if own == path:
            is_kind = isinstance(value, Mapping) and list(value) == ["kind"]
            found[key] = value["kind"] if is_kind else value
            continue
        for place, leaf in places(path, value):
            if own == place or (own == (*place, "kind") and isinstance(leaf, str)):
                found[key] = leaf
            elif own[: len(place)] == place and not is_short(place, leaf):
                found[key] = UNKNOWN
    return found


def places(path: Path, value: Any) -> list[tuple[Path, Any]]:
    """The settings that a value sets, with their own values; an empty mapping sets nothing."""
    if not isinstance(value, Mapping):
        return [(path, value)]
    named = leaves(value, path)
    return [(place, leaf) for place, leaf in named if not isinstance(leaf, Mapping)]


def keys_set(key: str, value: Any) -> Iterator[str]:
    """The keys that a setting of a size, an argument or an override is about.

    Args:
        key: The key, which is that of an axis after ``grid.``.
        value: The value.
    """
    name = key.removeprefix("grid.")
    if key == "grid" and isinstance(value, Mapping):
        for inner, each in value.items():
            yield from keys_set(f"grid.{inner}", each)
    elif name == key:
        yield from (".".join(path) for path, _ in places(tuple(key.split(".")), value))
    elif name in BLOCKS:
        yield from _block_keys(value)
    else:
        yield name


def fixed_in(grid: Grid, found: Mapping[str, Any]) -> Grid:
    """The grid without axes that were fixed, whose values are given or unknown."""
    for key, value in found.items():
        grid = grid.without(key) if value is UNKNOWN else grid.fixed(key, value)
    return grid


def apply_changes(grid: Grid, changes: Sequence[GridChange], context: SweepContext) -> Grid:
    """The grid with the changes that were left to do.

    Raises:
        InputError: The values of an axis are invalid.
    """
    for change in changes:
        if change.kind == "axis":
            axis = read_axis(change.key, change.value, change.source, context)
            grid = grid.with_axis(axis)
        elif change.kind == "removed":
            grid = grid.without(change.key)
        else:
            grid = fixed_in(grid, {change.key: change.value})
    return grid


def _block_keys(value: Any) -> Iterator[str]:
    """The keys of ``zip`` or ``sobol``."""
    for block in value if isinstance(value, list | tuple) else [value]:
        inner = block.get("over", block) if isinstance(block, Mapping) else None
        if isinstance(inner, Mapping):
            yield from map(str, inner)


def _cell_keys(tree: Mapping[str, Any]) -> set[str]:
    """The keys of the variants that a stored experiment lists."""
    cells = tree.get("cells")
    if not isinstance(cells, Sequence):
        return set()
    return {str(key) for cell in cells if isinstance(cell, Mapping) for key in cell}


def _without(name: str, value: Any, keys: set[str]) -> Iterator[Any]:
    """The blocks of ``zip`` or ``sobol`` without some keys."""
    for block in value if isinstance(value, list | tuple) else [value]:
        inner = block.get("over") if name == "sobol" and isinstance(block, Mapping) else block
        if not isinstance(inner, Mapping):
            yield block  # reported when the grid is read
            continue
        left = {key: each for key, each in inner.items() if key not in keys}
        if left and name == "sobol":
            yield {**block, "over": left}
        elif left:
            yield left
