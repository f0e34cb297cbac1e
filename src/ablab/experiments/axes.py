"""The axes of a grid: values of a setting, or named bundles of settings."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.limits import MAX_DEPTH, check_axis
from ablab.experiments.overrides import parse_values
from ablab.experiments.parts import PARTS, TOP_LEVEL
from ablab.experiments.setting_keys import suggest_key
from ablab.experiments.sweep_values import sweep_values
from ablab.experiments.sweeps import Bounds, Sweep, check_sweep
from ablab.experiments.tree import Path
from ablab.experiments.whole_numbers import is_whole

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
    """A key with several values, or a name with several bundles of settings.

    Attributes:
        key: The key or name.
        choices: The values or bundles.
        source: Their source.
        reduced_by: The sources of overrides that replace settings of its bundles.
    """

    key: str
    choices: tuple[Choice, ...]
    source: str | None = field(default=None, compare=False)
    reduced_by: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class SweepContext:
    """What the values of sweeps depend on, besides the sweeps.

    Attributes:
        name: The name of the experiment.
        tree: The settings by part, whose kinds say which settings are whole numbers.
    """

    name: str
    tree: Mapping[str, Any]

    def is_whole(self, key: str, bounds: Bounds) -> bool:
        """Whether the values of a range are whole numbers.

        Those of a user's component, whose settings are not known here, are if both ends are.
        """
        known = is_whole(key, self.tree)
        if known is None:
            return isinstance(bounds.low, int) and isinstance(bounds.high, int)
        return known

    def bounds(
        self, sweep: Sweep, key: str, source: str | None, counted: bool = True
    ) -> tuple[Bounds, bool]:
        """The arguments of a sweep, and whether its values are whole numbers.

        Args:
            sweep: The sweep.
            key: The axis.
            source: Where it was written.
            counted: Whether it has an ``n``; one within a Sobol sequence has none.

        Raises:
            InputError: An argument of the sweep is invalid, or there are no such numbers.
        """
        if "." not in key:
            problem, expected = f"the axis {key} is not a number", f"a setting such as {key}.KEY"
            raise InputError(Problem(problem, key, source, str(sweep), expected))
        found = check_sweep(sweep, key, source, counted)
        whole = self.is_whole(key, found)
        if whole and math.ceil(found.low) > math.floor(found.high):
            problem = f"the axis {key}: there is no whole number from {found.low} to {found.high}"
            expected = f"a range with a whole number, which {key} is"
            raise InputError(Problem(problem, key, source, str(sweep), expected))
        return found, whole

    def values(
        self, sweep: Sweep, key: str, source: str | None, paired: bool = False
    ) -> list[int | float]:
        """The values of a sweep.

        Args:
            sweep: The sweep.
            key: The axis.
            source: Where it was written.
            paired: Whether they are paired with those of other keys.

        Raises:
            InputError: An argument of the sweep is invalid, or there are too few numbers.
        """
        bounds, whole = self.bounds(sweep, key, source)
        try:
            return sweep_values(bounds, self.name, key, whole, paired)
        except ValueError as error:
            problem, expected = f"the axis {key}: {error}", "a smaller n, or a wider range"
            raise InputError(Problem(problem, key, source, str(sweep), expected)) from error


def make_axis(key: str, values: Any, source: str | None, context: SweepContext) -> Axis:
    """An axis of values for one setting, given as a list or a sweep.

    Raises:
        InputError: There are no values or repeated values, or the key cannot be an axis.
    """
    check_key(key, source)
    found = listed(key, values, source, context)
    seen: set[str] = set()
    for value in found:
        text = as_text(value)
        if text in seen:
            raise InputError(
                Problem(f"the axis {key} has {value} twice", f"grid.{key}", source, values)
            )
        seen.add(text)
    return values_axis(key, found, source)


def values_axis(key: str, values: list[Any], source: str | None) -> Axis:
    """The axis of distinct values of one setting."""
    path = tuple(key.split("."))
    return Axis(key, tuple(Choice(value, ((path, value),)) for value in values), source)


def as_text(value: Any) -> str:
    """A value as text, by which values are told apart: 1 is 1.0, and not true."""
    return json.dumps(_whole_as_int(value), sort_keys=True, default=str)


def _whole_as_int(value: Any) -> Any:
    """A value in which whole numbers are of type int."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _whole_as_int(inner) for key, inner in value.items()}
    return [_whole_as_int(e) for e in value] if isinstance(value, list | tuple) else value


def listed(key: str, values: Any, source: str | None, context: SweepContext) -> list[Any]:
    """The values of an axis as a list.

    Raises:
        InputError: They are neither a list nor a sweep, or there are none or too many.
    """
    if isinstance(values, str):
        values = parse_values(values, key, source)
    if isinstance(values, Sweep):
        values = context.values(values, key, source)
    if not isinstance(values, list | tuple):
        expected = f"grid: {{{key}: [value, value, …]}}"
        problem = f"the axis {key} is not a list"
        raise InputError(Problem(problem, f"grid.{key}", source, values, expected))
    if not values:
        problem = f"the axis {key} is empty"
        raise InputError(Problem(problem, f"grid.{key}", source, expected="at least one value"))
    check_axis(key, len(values), source, values)
    return _with_sweeps(key, list(values), source, context)


def _with_sweeps(
    key: str, values: list[Any], source: str | None, context: SweepContext
) -> list[Any]:
    """The values of an axis, with those of sweeps among them; numbers are in order then."""
    if not any(isinstance(each, Sweep) for each in values):
        return values
    found: list[Any] = []
    for value in values:
        own = context.values(value, key, source) if isinstance(value, Sweep) else [value]
        found += [each for each in own if each not in found]
    numbers = all(isinstance(each, int | float) for each in found)
    return sorted(found) if numbers else found


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


def make_bundles(key: str, bundles: Mapping[str, Any], source: str | None) -> Axis:
    """An axis of named bundles of settings.

    Raises:
        InputError: The name is that of a column or a setting, or a bundle is no mapping.
    """
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
