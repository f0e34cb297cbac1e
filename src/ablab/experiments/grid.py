"""The grid: axes, and the cells of their product in a deterministic order."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.limits import MAX_DEPTH, check_axis
from ablab.experiments.parts import PARTS, TOP_LEVEL, suggest_key
from ablab.experiments.tree import Origins, Path

# Columns of the metrics, which the name of an axis of bundles must not clash with.
_COLUMNS = frozenset(
    {"run", "experiment", "seed", "step", "train_loss", "lr", "grad_norm"}
    | {"value", "not_before", "reason", "status"}  # of tables of measures
)


@dataclass(frozen=True)
class Choice:
    """One value of an axis.

    Attributes:
        label: The label in tables.
        assignments: The settings, by path.
    """

    label: Any
    assignments: tuple[tuple[Path, Any], ...]


@dataclass(frozen=True)
class Axis:
    """A key with several values, or a name with several bundles of settings."""

    key: str
    choices: tuple[Choice, ...]
    source: str | None = field(default=None, compare=False)


def read_grid(grid: Any, origins: Origins) -> list[Axis]:
    """The axes of a ``grid:`` mapping, in order.

    A list is an axis of values for the setting of its key. A mapping is an axis of named bundles:
    the user chooses its key, and each entry is the name of a bundle with its settings.

    Raises:
        InputError: An axis is empty or repeats a value, or its key is not a setting.
    """
    if not isinstance(grid, Mapping):
        raise InputError(
            Problem(
                "grid is not a mapping of axes",
                "grid",
                origins.of(("grid",)),
                grid,
                "key: [value, value, …] for each axis",
            )
        )
    axes, problems = [], []
    for key, values in grid.items():
        source = origins.of(("grid", key))
        try:
            if isinstance(values, Mapping):
                axes.append(_bundles(key, values, source))
            else:
                axes.append(make_axis(key, values, source))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    return axes


def make_axis(key: str, values: Any, source: str | None) -> Axis:
    """An axis of values for one setting.

    Raises:
        InputError: There are no values or repeated values, or the key cannot be an axis.
    """
    path = check_key(key, source)
    if not isinstance(values, list | tuple):
        raise InputError(
            Problem(
                f"the axis {key} is not a list",
                f"grid.{key}",
                source,
                values,
                f"grid: {{{key}: [value, value, …]}}",
            )
        )
    if not values:
        raise InputError(
            Problem(
                f"the axis {key} is empty", f"grid.{key}", source, expected="at least one value"
            )
        )
    check_axis(key, len(values), source, values)
    seen: set[str] = set()
    for value in values:
        text = json.dumps(value, sort_keys=True, default=str)
        if text in seen:
            raise InputError(
                Problem(f"the axis {key} has {value} twice", f"grid.{key}", source, values)
            )
        seen.add(text)
    return Axis(key, tuple(Choice(value, ((path, value),)) for value in values), source)


def check_key(key: Any, source: str | None) -> Path:
    """The path of a dotted key that belongs to a part of the configuration.

    Raises:
        InputError: The key does not belong to any part; the nearest valid key is suggested.
    """
    if not isinstance(key, str):  # from Python, or a number in YAML
        raise InputError(Problem("a key is not text", "grid", source, key, "a setting's key"))
    path = tuple(key.split("."))
    if len(path) > MAX_DEPTH:
        raise InputError(Problem("a key has too many dots", None, source, key, "a setting's key"))
    if path[0] == "seeds":
        raise InputError(
            Problem(
                "seeds cannot be an axis: all variants use the same seeds",
                "seeds",
                source,
                expected="seeds=5 for the seeds 0 to 4, or a list, seeds=[0,7]",
            )
        )
    if path[0] not in PARTS or "" in path:
        problem = f"{key} cannot be an axis" if path[0] in TOP_LEVEL else f"{key} is not a setting"
        raise InputError(Problem(problem, key, source, suggestion=suggest_key(key)))
    return path


def cells(axes: Sequence[Axis]) -> Iterator[tuple[Choice, ...]]:
    """The product of the axes; the last one changes fastest."""
    return itertools.product(*(axis.choices for axis in axes))


def _bundles(key: str, bundles: Mapping[str, Any], source: str | None) -> Axis:
    if key in _COLUMNS or key.startswith(("_", "eval_")):
        raise InputError(
            Problem(
                f"the axis {key} has the same name as a column of the metrics",
                f"grid.{key}",
                source,
                expected="a different name for these bundles",
            )
        )
    if key.split(".", maxsplit=1)[0] in TOP_LEVEL:
        raise InputError(
            Problem(
                f"{key} is a setting; bundles need a different name",
                f"grid.{key}",
                source,
                expected=f"{key}: [value, value, …], or name: {{label: {{key: value, …}}, …}}",
            )
        )
    if not bundles:
        raise InputError(
            Problem(
                f"the axis {key} is empty", f"grid.{key}", source, expected="at least one value"
            )
        )
    choices = []
    for label, settings in bundles.items():
        if not isinstance(settings, Mapping):
            raise InputError(
                Problem(
                    f"the bundle {label!r} of the axis {key} is not a mapping of settings",
                    f"grid.{key}.{label}",
                    source,
                    settings,
                    "{key: value, …}",
                )
            )
        assignments = tuple((check_key(name, source), value) for name, value in settings.items())
        choices.append(Choice(label, assignments))
    return Axis(key, tuple(choices), source)
