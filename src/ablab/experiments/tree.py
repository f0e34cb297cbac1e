"""Nested mappings with dotted keys, and the sources of their values."""

from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]
# Of these, a name is short for the kind, and the other settings stay as they are.
_NAMED = (("train", "schedule"), ("train", "loss"), ("model", "output_norm"))


class Origins:
    """The sources of values (``grid.yaml, line 4``) by key; inner keys inherit from outer keys."""

    def __init__(self, default: str | None = None) -> None:
        self._default = default
        self._known: dict[Path, str] = {}
        self.count = 0  # number of values read so far

    def mark(self, path: Path, source: str) -> None:
        """Records the source of the value at ``path`` and of everything inside it."""
        self._known = {p: s for p, s in self._known.items() if p[: len(path)] != path}
        self._known[path] = source

    def add(self, path: Path, source: str) -> None:
        """Records the source of the value at ``path``, but not of values inside it."""
        self._known[path] = source

    def of(self, path: Path) -> str | None:
        """The source of the value at ``path``."""
        for end in range(len(path), -1, -1):
            if path[:end] in self._known:
                return self._known[path[:end]]
        return self._default

    def inside(self, path: Path) -> str | None:
        """The overrides of values inside ``path``, for errors that concern several of them."""
        found = {
            source: None
            for inner, source in self._known.items()
            if inner[: len(path)] == path and source.startswith("override")
        }
        return ", ".join(found) or None


def put(tree: dict[str, Any], path: Path, value: Any, above: Path = ()) -> None:
    """Sets the value at ``path``; a mapping is merged into an existing mapping.

    A name in place of a mapping is short for its ``kind`` (``schedule: cosine``): other settings of
    a schedule, a loss or a norm stay as they are, and those of an optimizer if it is the same.

    Args:
        tree: The mapping.
        path: The path of the value in it.
        value: The value.
        above: The path of the mapping in the settings of an experiment.
    """
    node = tree
    for part in path[:-1]:
        child = node.get(part)
        if not isinstance(child, dict):
            child = {"kind": child} if isinstance(child, str) else {}
            node[part] = child
        node = child
    here = node.get(path[-1])
    if isinstance(here, dict) and isinstance(value, str):
        whole = (*above, *path)
        is_same = whole == ("train", "optimizer") and here.get("kind") == value
        value = {"kind": value} if is_same or is_short(whole, value) else value
    if isinstance(value, Mapping) and isinstance(here, dict):
        for key, inner in value.items():
            put(here, (str(key),), inner, (*above, *path))
    else:
        node[path[-1]] = plain(value)


def is_short(path: Path, value: Any) -> bool:
    """Whether a value is the name of a kind, which leaves the settings beside it as they are."""
    return isinstance(value, str) and path in _NAMED


def leaves(tree: Mapping[str, Any], prefix: Path = ()) -> Iterator[tuple[Path, Any]]:
    """All innermost values with their paths, in order."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*prefix, str(key)))
        else:
            yield (*prefix, str(key)), value


def plain(value: Any) -> Any:
    """A copy of the value as plain dicts and lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value
