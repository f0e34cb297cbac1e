"""The values of settings in the cells of a grid, before anything is checked."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ablab.config import Config
from ablab.experiments.assign import order_of
from ablab.experiments.axes import Axis, Choice
from ablab.experiments.grid import Cell, overlap, same_label
from ablab.experiments.parts import PARTS
from ablab.experiments.tree import put
from ablab.experiments.whole_numbers import class_of_kind

_NONE = object()


class CellSettings:
    """The values of settings in the cells of a grid.

    They are what the experiment gives, with the bundles and values of the cell, or else the
    default, which can depend on other settings of the cell. No module of a user is imported, so
    the defaults of a user's component are not known.

    Args:
        tree: The settings of the experiment, after overrides.
        axes: The axes of the grid.
    """

    def __init__(self, tree: Mapping[str, Any], axes: Sequence[Axis]) -> None:
        self._tree = tree
        self._choices = [choice for axis in axes for choice in axis.choices]
        self._touching: dict[str, frozenset[int]] = {}
        self._found: dict[tuple[Any, ...], Any] = {}

    def is_known(self, key: str) -> bool:
        """Whether some cell has a value of a setting."""
        touching = [choice for choice in self._choices if id(choice) in self._touch(key)]
        return any(
            self._computed(key, choices) is not _NONE for choices in ([], *([e] for e in touching))
        )

    def has_value(self, key: str, cell: Cell, labels: Sequence[Any]) -> bool:
        """Whether a setting has one of some values in a cell.

        The name of a component stands for its ``kind``, here as in a file.
        """
        value = self._value(key, cell, self._touch(key), filled=False)
        if value is _NONE or value is None:  # a default, or what is filled in for null
            whole = self._touch(key.split(".", maxsplit=1)[0])
            value = self._value(key, cell, whole, filled=True)
        if value is _NONE:
            return False
        kind = value.get("kind", value) if isinstance(value, Mapping) else value
        return any(same_label(key, each, label) for each in (value, kind) for label in labels)

    def _value(self, key: str, cell: Cell, touch: frozenset[int], filled: bool) -> Any:
        """The value of a setting with some of the choices of a cell; defaults only if filled in."""
        choices = [choice for choice in cell.values() if id(choice) in touch]
        name = (key, filled, *map(id, choices))
        if name not in self._found:
            self._found[name] = self._computed(key, choices, filled)
        return self._found[name]

    def _touch(self, key: str) -> frozenset[int]:
        """The choices that set something of a setting, of what contains it, or its part's kind."""
        kind = f"{key.split('.', maxsplit=1)[0]}.kind"
        if key not in self._touching:
            self._touching[key] = frozenset(
                id(choice)
                for choice in self._choices
                if any(overlap(key, path) or overlap(kind, path) for path, _ in choice.assignments)
            )
        return self._touching[key]

    def _computed(self, key: str, choices: Sequence[Choice], filled: bool = True) -> Any:
        part, *path = key.split(".")
        if part not in PARTS:
            return _NONE
        here = {part: copy.deepcopy(self._tree.get(part, {}))}
        assignments = [each for choice in choices for each in choice.assignments]
        for place, value in sorted(assignments, key=lambda each: order_of(*each)):
            if place[0] == part:
                put(here, place, value)
        given = _at(here[part], path)
        cls = class_of_kind(part, here)
        if cls is None or not path:
            return given
        if path[0] not in cls.model_fields:  # of another kind
            return _NONE
        if not filled or not (given is _NONE or given is None):
            return given
        return _filled_in(cls, here[part], path)


def _at(node: Any, path: Sequence[str]) -> Any:
    """The value at a path of plain data."""
    for name in path:
        if isinstance(node, str) and name == "kind":
            continue  # a name is short for its kind
        if not isinstance(node, Mapping) or name not in node:
            return _NONE
        node = node[name]
    return node


def _filled_in(cls: type[Config], given: Any, path: Sequence[str]) -> Any:
    """A default as the configuration fills it in; that of its field where it cannot be checked."""
    settings = given if isinstance(given, Mapping) else {"kind": given}
    if _names_a_module(settings):
        return _default(cls, path)  # checking it could import a module
    try:
        made = cls.model_validate(settings)
    except ValidationError:  # a setting of another cell, or one that is reported later
        return _default(cls, path)
    return _at(made.model_dump(mode="json"), path)


def _names_a_module(data: Any) -> bool:
    """Whether some plain data contain what can be an import path."""
    if isinstance(data, Mapping):
        return any(map(_names_a_module, data.values()))
    if isinstance(data, list | tuple):
        return any(map(_names_a_module, data))
    return isinstance(data, str) and ":" in data


def _default(cls: type[Config], path: Sequence[str]) -> Any:
    """The default of a setting, as plain data."""
    if not path or path[0] not in cls.model_fields:
        return _NONE
    field = cls.model_fields[path[0]]
    if field.is_required():
        return _NONE
    value = field.get_default(call_default_factory=True)
    return _at(value.model_dump(mode="json") if isinstance(value, Config) else value, path[1:])
