"""What reading needs of an experiment, written down when it is registered.

Later, reading a store must not import a module or read a corpus that a definition names, so what
depends on them is recorded as plain data while they are at hand anyway.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field

from ablab.config import Config
from ablab.experiments.declared import declared
from ablab.experiments.experiment import Experiment
from ablab.experiments.parts import PARTS, valid_parts
from ablab.tasks.config import LOSS_LIMITS, LOSSES, TASKS, Direction, Limits, TaskConfig
from ablab.watching.names import REDUCERS, STATISTIC_LIMITS, is_statistic, split_pattern

_UNKNOWN = object()
_OPEN = ConfigDict(extra="ignore")  # a later release can record more


class TaskRecord(Config):
    """What reading needs of a task."""

    model_config = _OPEN

    levels: dict[str, float]
    """Losses with a meaning, by name, in nats."""
    directions: dict[str, Direction] = Field(default_factory=dict)
    """Which values are better, by the name of a measure; it holds for ``NAME/…``, too. What was
    not declared is not recorded."""
    limits: dict[str, Limits] = Field(default_factory=dict)
    """The least and the greatest value of each measure, in the same way; None where there is no
    end."""
    vocabulary: dict[str, str] | None = None
    """How tokens are shown; None if the task does not say."""
    answer: str | None = None
    """The measure that questions about the task are about; None if the task does not say."""
    input_length: int | None = None
    """The input tokens of a sample (T); None if an earlier release registered the task."""
    source_length: int | None = None
    """The leading tokens that form the question (S); None if samples have no question."""
    factors: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The factors of the task's samples: the names of the values of each, in their order."""

    def direction_of(self, column: str) -> Direction | None:
        """Which values of a metrics column are better; None if the task does not declare it.

        A measure's columns begin with ``eval_``; ``eval_accuracy/digit_0`` is a part of
        ``accuracy``. Training lowers the loss, so ``train_loss`` and ``eval_loss`` need no
        declaration.
        """
        return declared(column, LOSSES | self.directions)

    def limits_of(self, column: str) -> Limits | None:
        """The range of a metrics column; None if the task does not declare it."""
        return declared(column, self.limits)


class Registration(Config):
    """What reading needs of an experiment."""

    model_config = _OPEN

    base: dict[str, Any] = Field(default_factory=dict)
    """The base configuration's value of each axis, resolved defaults included; for an axis of
    bundles, the first bundle that changes nothing. An axis without one is left out."""
    tasks: tuple[TaskRecord, ...] = ()
    """The distinct tasks."""
    task_of_variant: tuple[int, ...] = ()
    """For each variant, the place of its task in ``tasks``; empty if there is only one."""

    statistics: dict[str, Direction] = Field(default_factory=dict)
    """Which values of statistics are better, by the import path of their reducer."""
    statistic_limits: dict[str, Limits] = Field(default_factory=dict)
    """The least and the greatest value of statistics, by the import path of their reducer."""
    answer: str | None = None
    """The measure that the question is about; None if the experiment does not say."""

    def direction_of(self, column: str, variant: int = 0) -> Direction | None:
        """Which values of a metrics column are better, for the task of a variant.

        None if neither the task nor the statistic declares it.
        """
        reducer = column.rpartition("/")[2]
        if reducer in self.statistics:
            return self.statistics[reducer]
        task = self.task(variant)
        return None if task is None else task.direction_of(column)

    def limits_of(self, column: str, variant: int = 0) -> Limits | None:
        """The range of a metrics column, for the task of a variant; None if it is not declared."""
        reducer = column.rpartition("/")[2]
        if is_statistic(column):
            return self.statistic_limits.get(reducer) or STATISTIC_LIMITS.get(reducer)
        task = self.task(variant)
        return None if task is None else task.limits_of(column)

    def task(self, variant: int) -> TaskRecord | None:
        """The task of a variant, by its place in the grid's order; None if it is not recorded."""
        places = self.task_of_variant
        place = (places[variant] if variant < len(places) else -1) if places else 0
        return self.tasks[place] if 0 <= place < len(self.tasks) else None


def register(experiment: Experiment) -> Registration:
    """What reading needs of an experiment, whose modules and data are at hand."""
    places: dict[str, int] = {}
    tasks: list[TaskRecord] = []
    of_variant = []
    for variant in experiment.variants:
        made = _task(variant.parts.task, variant.parts.train.loss.is_own)
        key = made.model_dump_json()
        if key not in places:
            places[key] = len(tasks)
            tasks.append(made)
        of_variant.append(places[key])
    reducers = _own_reducers(experiment)
    return Registration(
        base=_base(experiment.definition, valid_parts(_tree(experiment.definition))),
        tasks=tuple(tasks),
        task_of_variant=tuple(of_variant) if len(tasks) > 1 else (),
        statistics={name: each.direction for name, each in reducers.items() if each.direction},
        statistic_limits={name: each.limits for name, each in reducers.items() if each.limits},
        answer=experiment.definition.get("answer"),
    )


def derived_directions(definition: Mapping[str, Any]) -> TaskRecord:
    """The directions and ranges of an experiment that an earlier release registered without them.

    Those of a task that ablab ships are known; a user's task is not imported.
    """
    task = definition.get("task", {})
    kind = task.get("kind") if isinstance(task, Mapping) else task
    if isinstance(kind, str) and kind in TASKS.names():
        found = TASKS.find(kind, "task.kind")
        directions, limits = dict(found.measure_directions), dict(found.measure_limits)
        return TaskRecord(levels={}, directions=directions, limits=limits)
    return TaskRecord(levels={}, directions=dict(LOSSES), limits=dict(LOSS_LIMITS))


def derived_lengths(task: Mapping[str, Any]) -> tuple[int, int | None] | None:
    """The input tokens and the question's tokens of a task that was registered without them.

    None for a user's task, which is not imported.

    Args:
        task: The settings of the task, as stored with a run.
    """
    kind = task.get("kind")
    if not isinstance(kind, str) or kind not in TASKS.names():
        return None
    try:
        found = TASKS.find(kind, "task.kind").model_validate(dict(task))
        return found.input_length, found.source_length
    except ValueError:  # settings of another release, or with digests of its corpus
        length = task.get("seq_len")
        return (length, None) if isinstance(length, int) else None


def derived_base(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The base of an experiment that an earlier release registered, as far as it is plain data.

    Defaults of a part are known only if no component of that part has an import path.
    """
    tree = _tree(definition)
    plain = {part: data for part, data in tree.items() if not _can_import(part, data)}
    parts = valid_parts({"task": "addition"} | plain)
    return _base(definition, {part: each for part, each in parts.items() if part in plain})


def _tree(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {part: definition.get(part, {}) for part in PARTS}


def _task(task: TaskConfig, own_loss: bool) -> TaskRecord:
    """What is recorded of a task; a user's loss may be below zero."""
    limits = dict(task.measure_limits)
    if own_loss:
        limits.pop("loss", None)
    return TaskRecord(
        levels=task.natural_levels,
        directions=dict(task.measure_directions),
        limits=limits,
        vocabulary=task.vocabulary_record,
        answer=task.answer,
        input_length=task.input_length,
        source_length=task.source_length,
        factors=task.factors,
    )


def _own_reducers(experiment: Experiment) -> dict[str, Any]:
    """A user's own reducers, by import path, with what they declare."""
    patterns = {name for variant in experiment.variants for name in variant.parts.watch.statistics}
    own = {reducer for *_, reducer in map(split_pattern, patterns) if ":" in reducer}
    found = {name: getattr(REDUCERS.find(name), "reducer", None) for name in sorted(own)}
    return {name: made for name, made in found.items() if made is not None}


def _can_import(part: str, data: Any) -> bool:
    """Whether checking a part can import a module: a component has an import path, with a colon."""
    if part == "task" and isinstance(data, Mapping):  # other settings of a task can be paths
        data = data.get("kind")
    if isinstance(data, Mapping):
        return any(_can_import("", value) for value in data.values())
    if isinstance(data, list | tuple):
        return any(_can_import("", value) for value in data)
    return isinstance(data, str) and ":" in data


def _base(definition: Mapping[str, Any], parts: Mapping[str, Config]) -> dict[str, Any]:
    """The value of each axis in the checked parts, or else in the definition."""
    found = {}
    for key, choices in definition["grid"].items():
        if isinstance(choices, Mapping):
            for label, settings in choices.items():
                if all(
                    any(same(each, value) for each in _values(definition, parts, name))
                    for name, value in settings.items()
                ):
                    found[key] = label
                    break
            continue
        values = _values(definition, parts, key)
        on_axis = [each for each in values if any(same(each, choice) for choice in choices)]
        if values:
            found[key] = (on_axis or values)[0]
    return found


def _values(definition: Mapping[str, Any], parts: Mapping[str, Config], key: str) -> list[Any]:
    """The value of a setting as it was checked and as it was given, as far as they are known."""
    path = key.split(".")
    found = (_at(parts, path), _at(definition, path))
    return [each for each in found if each is not _UNKNOWN]


def _at(node: Any, path: list[str]) -> Any:
    """The value at a path, as plain data."""
    for name in path:
        if isinstance(node, Config):
            node = getattr(node, name, _UNKNOWN) if name in type(node).model_fields else _UNKNOWN
        elif isinstance(node, Mapping):
            node = node.get(name, node.get(int(name), _UNKNOWN) if name.isdecimal() else _UNKNOWN)
        else:
            return _UNKNOWN
    return _plain(node)


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def same(value: Any, level: Any) -> bool:
    """Equality that distinguishes True from 1."""
    return bool(isinstance(value, bool) == isinstance(level, bool) and value == level)
