"""The sizes of an experiment: named changes to the file, selected with ``size=NAME``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ablab.config import InputError, Problem, nearest
from ablab.experiments.axes import check_key
from ablab.experiments.grid_changes import GridChange, change_axis, fix, keys_set
from ablab.experiments.tree import Origins, put

QUICK = "quick"  # the file without changes


@dataclass(frozen=True)
class Size:
    """One size of an experiment.

    Attributes:
        name: The name that selects it.
        about: One sentence on what it leaves out or adds.
        settings: What it sets: dotted keys, ``grid.KEY`` (null removes the axis), ``seeds``,
            ``answer``, ``tune``, ``halving``.
    """

    name: str
    about: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


def read_sizes(value: Any, origins: Origins) -> dict[str, Size]:
    """The sizes of a ``sizes:`` mapping by name, ``quick`` first; empty if there is no mapping.

    Raises:
        InputError: The value is not a mapping of sizes.
    """
    if value is None:
        return {}
    expected = "sizes: {NAME: {about: TEXT, set: {key: value, …}}, …}"
    if not isinstance(value, Mapping) or not value:
        source = origins.of(("sizes",))
        raise InputError(
            Problem("sizes is not a mapping of sizes", "sizes", source, value, expected)
        )
    found = {QUICK: Size(QUICK)}
    problems = []
    for name, content in value.items():
        path, source = f"sizes.{name}", origins.of(("sizes", name))
        if not isinstance(content, Mapping):
            problems.append(Problem(f"{path} is not a size", path, source, content, expected))
            continue
        unknown = [key for key in content if key not in ("about", "set")]
        problems += [
            Problem(f"{path}.{key} is not a setting", path, source, None, expected,
                    nearest(key, ["about", "set"]))
            for key in unknown
        ]  # fmt: skip
        about, settings = content.get("about", ""), content.get("set") or {}
        if not isinstance(about, str):
            problems.append(Problem(f"{path}.about is not text", path, source, about))
        if not isinstance(settings, Mapping):
            problems.append(
                Problem(f"{path}.set is not a mapping", path, source, settings, expected)
            )
        found[name] = Size(name, str(about), dict(settings) if not problems else {})
    if problems:
        raise InputError(*problems)
    return found


def apply_size(
    tree: dict[str, Any], wanted: Any, source: str | None, origins: Origins
) -> tuple[list[GridChange], set[str]]:
    """Applies the settings of a size to the tree of an experiment, and sets its ``size``.

    A tree without ``sizes`` can have a ``size`` too: the name of the size that it was made from.

    Args:
        tree: The tree, which is modified.
        wanted: The name of the size; None for the ``size`` in the tree, or else ``quick``.
        source: The source of the request.
        origins: The sources of all values; updated for values that the size sets.

    Returns:
        Changes of the grid, which are to be made once it has been read; and the keys that some size
        of the experiment sets.

    Raises:
        InputError: There is no such size, or it sets something that a size cannot set.
    """
    sizes = read_sizes(tree.pop("sizes", None), origins)
    if not sizes and wanted is None:
        if "size" in tree and not isinstance(tree["size"], str):
            raise InputError(
                Problem("size is not a name", "size", origins.of(("size",)), tree["size"])
            )
        return [], set()
    if not sizes:
        expected = "no size; sizes are defined by sizes: in the file of the experiment"
        raise InputError(Problem("the experiment has no sizes", "size", source, wanted, expected))
    if wanted is None:
        wanted, source = tree.get("size", QUICK), origins.of(("size",))
    if not isinstance(wanted, str) or wanted not in sizes:
        raise InputError(
            Problem(
                f"there is no size {wanted!r}",
                "size",
                source,
                wanted,
                "one of " + ", ".join(sizes),
                nearest(str(wanted), list(sizes)),
            )
        )
    tree["size"] = wanted
    pending: list[GridChange] = []
    for key, value in sizes[wanted].settings.items():
        _set(tree, key, value, wanted, origins, pending)
    every = [each for size in sizes.values() for each in size.settings.items()]
    return pending, {name for key, value in every for name in keys_set(key, value)}


def _set(
    tree: dict[str, Any],
    key: str,
    value: Any,
    size: str,
    origins: Origins,
    pending: list[GridChange],
) -> None:
    path: tuple[str, ...] = ("sizes", size, "set", key)
    source = origins.of(path)
    if key.startswith("grid."):
        axis = key.removeprefix("grid.")
        change_axis(tree, axis, value, source, pending)
        path = ("grid", axis)
    elif key in ("seeds", "grid", "answer", "tune", "halving"):
        tree[key] = value
        path = (key,)
        if key == "grid":
            pending.clear()
    elif key.startswith("tune."):
        path = tuple(key.split(".", maxsplit=1))
        put(tree, path, value)
    else:
        path = check_key(key, source)
        fix(tree, path, value, source, pending)  # the later setting wins: it is no axis any more
        put(tree, path, value)
    if source is not None:
        origins.mark(path, source)
