"""Cells as text: ``key=value, …``."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablab.experiments.grammar import parse
from ablab.experiments.grid import INACTIVE


def parse_cell(text: str) -> dict[str, Any]:
    """The settings of a cell: ``key=value, …``, as after ``where`` in an expectation.

    Raises:
        InputError: The text does not follow the grammar.
    """
    return cell_of(parse(f"where {text}", "where", "cell"))


def cell_of(tree: Any) -> dict[str, Any]:
    """The settings of a parsed cell; none without one."""
    if tree is None:
        return {}
    return {str(pair.children[0]): value_of(str(pair.children[1])) for pair in tree.children}


def value_of(text: str) -> Any:
    """A value as YAML reads it: a number, true, false, null, or text."""
    if text.startswith('"'):
        return text[1:-1]
    constants = {"true": True, "false": False, "null": None}
    if text.lower() in constants:
        return constants[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def same_label(label: Any, value: Any) -> bool:
    """Whether a value written by a user equals a label of an axis."""
    if isinstance(label, bool) or isinstance(value, bool):
        return label is value or str(label).lower() == str(value).lower()
    if isinstance(label, int | float) and isinstance(value, int | float):
        return float(label) == float(value)
    return str(label) == str(value) or (label is None and value is None)


def matches(labels: Sequence[Any], value: Any, null_is_inactive: bool = False) -> list[bool]:
    """Which of the labels of a key in all runs a value written by a user is.

    Args:
        labels: The labels, ``inactive`` in runs in which the key does not vary.
        value: The value.
        null_is_inactive: Whether these have null instead, as in a column of a frame.
    """
    is_null = value == INACTIVE and null_is_inactive and INACTIVE not in labels
    wanted = None if is_null else value
    return [same_label(label, wanted) for label in labels]


def in_cell(variants: Sequence[Mapping[str, Any]], cell: Mapping[str, Any]) -> list[bool]:
    """Which of the variants of runs are in a cell, which has to have some of their keys."""
    found = [True] * len(variants)
    for key, value in cell.items():
        labels = [variant.get(key) for variant in variants]
        match = matches(labels, value)
        found = [
            was and here and key in variant
            for was, here, variant in zip(found, match, variants, strict=True)
        ]
    return found


def cell_text(cell: Mapping[str, Any] | None) -> str:
    """A cell as :func:`parse_cell` reads it."""
    return ", ".join(f"{key}={_shown(value)}" for key, value in (cell or {}).items())


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return f'"{value}"' if isinstance(value, str) and (" " in value or "," in value) else str(value)
