"""Checks the parts of an experiment against their schemas and reports all problems at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import ValidationError

from ablab.config import Config, InputError, Problem, nearest
from ablab.config.own_parts import EXAMPLES, check_members
from ablab.experiments.resolve import resolved
from ablab.experiments.setting_problems import problems_of
from ablab.experiments.tree import Origins
from ablab.model.config import MODELS, ModelConfig
from ablab.model.user_config import config_of
from ablab.tasks.config import TASKS, TaskConfig
from ablab.tasks.factors import check_factors
from ablab.train.config import TrainConfig
from ablab.watching.config import WatchConfig

C = TypeVar("C", bound=Config)

TOP_LEVEL = (
    "name", "question", "logbook", "task", "model", "train", "watch", "grid", "cells",
    "made_by", "seeds", "sizes", "size", "answer", "expect", "analyze", "meant",
    "tune", "tuned", "halving",
)  # fmt: skip
PARTS = ("task", "model", "train", "watch")


@dataclass(frozen=True)
class Parts:
    """The checked configuration of a cell."""

    task: TaskConfig
    model: ModelConfig
    train: TrainConfig
    watch: WatchConfig


def part_class(part: str, tree: Mapping[str, Any], origins: Origins) -> type[Config]:
    """The configuration class of a part; for tasks and models, that of their ``kind``.

    Raises:
        InputError: The kind is unknown, or the kind of the task is missing.
    """
    if part == "train":
        return TrainConfig
    if part == "watch":
        return WatchConfig
    registry = TASKS if part == "task" else MODELS
    kind = tree.get("kind", None if part == "task" else "transformer")
    key = f"{part}.kind"
    if not isinstance(kind, str):
        raise InputError(
            Problem(
                f"{key} is missing" if kind is None else f"{key} is not a name",
                key,
                origins.of((part, "kind")),
                expected="one of " + ", ".join(registry.names()),
            )
        )
    try:
        found = registry.find(kind, key)
    except InputError as error:
        (problem,) = error.problems
        raise InputError(
            Problem(
                problem.message,
                key,
                origins.of((part, "kind")),
                kind,
                problem.expected,
                problem.suggestion,
            )
        ) from error
    base = TaskConfig if part == "task" else ModelConfig
    if ":" in kind:
        check_members(found, kind, key)
        found = _own_config(part, found, origins)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise InputError(
            Problem(
                f"{key}: {kind} is not a {part}",
                key,
                origins.of((part, "kind")),
                expected=f"a class whose Config is a {base.__name__}"
                + (", or a torch.nn.Module" if part == "model" else ""),
                lines=EXAMPLES[part] if ":" in kind else (),
            )
        )
    if ":" in kind:
        check_members(found, f"the Config of {kind}", key)
    return found


def _own_config(part: str, found: Any, origins: Origins) -> Any:
    """The configuration class of a user's component; the component itself if it is none."""
    if part == "task":
        names = [(base.__module__, base.__name__) for base in getattr(found, "__mro__", ())]
        return getattr(found, "Config", found) if ("ablab.tasks.base", "Task") in names else found
    try:
        return config_of(found) or found
    except ValueError as error:
        source = origins.of((part, "kind"))
        raise InputError(Problem(f"{part}.kind: {error}", f"{part}.kind", source)) from error


def check_parts(tree: Mapping[str, Any], origins: Origins) -> Parts:
    """Checks the parts of a cell, and reads the data that its task names.

    Raises:
        InputError: A part is invalid, or the data are missing; all problems are listed.
    """
    parts = check_without_data(tree, origins)
    return _with_data(tree, origins) if parts is None else parts


def check_without_data(
    tree: Mapping[str, Any], origins: Origins, known: Mapping[str, Any] | None = None
) -> Parts | None:
    """Checks the parts of a cell as far as that is possible without the data that its task names.

    Args:
        tree: The settings by part.
        origins: The sources of all values.
        known: Parts that have been checked before, which are not checked again.

    Returns:
        The parts; None if the task reads data (:attr:`ablab.tasks.config.TaskConfig.reads_data`),
        because then the number of steps and the sizes of the model can depend on them.

    Raises:
        InputError: A part is invalid; all problems are listed.
    """
    checked, problems = _check_each(tree, origins, known or {})
    if problems:
        raise InputError(*problems)
    task, model = checked["task"], checked["model"]
    if not task.reads_data:
        return _fitting(checked, origins)
    if ":" not in model.kind:  # a user's check can need the data
        _check_fit(task, model, origins)
    return None


def valid_parts(tree: Mapping[str, Any]) -> dict[str, Config]:
    """The parts that are valid by themselves, checked without the data that the task names."""
    checked, _ = _check_each(tree, Origins(), {})
    return {part: each for part, each in checked.items() if each is not None}


def _check_each(
    tree: Mapping[str, Any], origins: Origins, known: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Problem]]:
    """The valid parts, without data that the task names, and the problems of the others."""
    checked: dict[str, Any] = {}
    problems: list[Problem] = []
    sized = None  # the task, if its sizes need no data
    for part in PARTS:
        try:
            checked[part] = (
                known[part] if part in known else _check_part(part, tree, sized, origins)
            )
        except InputError as error:
            problems += error.problems
        else:
            if part == "task" and not checked[part].reads_data:
                sized = checked[part]
    return checked, problems


def _with_data(tree: Mapping[str, Any], origins: Origins) -> Parts:
    """The parts of a cell whose settings are valid and whose task reads data."""
    task = _check_part("task", tree, None, origins)
    try:
        task.check_data()
    except ValueError as error:
        raise InputError(*_data_problems(error, origins)) from error
    rest = {part: _check_part(part, tree, task, origins) for part in PARTS if part != "task"}
    return _fitting({"task": task} | rest, origins)


def _check_part(
    part: str, tree: Mapping[str, Any], task: TaskConfig | None, origins: Origins
) -> Any:
    """Checks one part.

    Args:
        part: The part.
        tree: The settings of all parts.
        task: The task; None if its sizes are not known. Training settings that depend on them are
            left out then, and None is returned if those that remain are valid one by one.
        origins: The sources of the settings.
    """
    data = tree.get(part, {})
    if isinstance(data, str):
        data = {"kind": data}
    if not isinstance(data, Mapping):
        what = f"{part} is not a mapping of settings"
        raise InputError(Problem(what, part, origins.of((part,)), data))
    settings = data
    try:
        cls = part_class(part, data, origins)
        if part == "train":
            settings = resolved(data, task, origins)
        return cls.model_validate(dict(settings))
    except ValidationError as error:
        found = error.errors()
        if task is None and settings != data:
            # What concerns training as a whole can depend on what was left out.
            found = [each for each in found if each["loc"]]
            if not found:
                return None
        raise InputError(*problems_of(part, cls, found, origins)) from error
    except InputError:
        raise
    except Exception as error:  # a user's configuration class can raise anything
        reason = f"{type(error).__name__}: {error}"
        what = f"{part} is not valid ({reason})"
        raise InputError(Problem(what, part, origins.of((part,)))) from error


def _fitting(checked: dict[str, Any], origins: Origins) -> Parts:
    """The checked parts, if the model can be trained on the task."""
    parts = Parts(**checked)
    _check_fit(parts.task, parts.model, origins)
    _check_factors(parts.task, parts.train, origins)
    return parts


def _check_factors(task: TaskConfig, train: TrainConfig, origins: Origins) -> None:
    """Checks the names of the task's factors, and those that evaluation asks for."""
    try:
        check_factors(task.factors)
    except ValueError as error:
        raise InputError(Problem(f"task: {error}", "task", origins.of(("task", "kind")))) from error
    path = ("train", "evaluate", "factors")
    for name in () if isinstance(train.evaluate.factors, str) else train.evaluate.factors:
        if name not in task.factors:
            known = ", ".join(task.factors)
            raise InputError(
                Problem(
                    f"{'.'.join(path)}: the task {task.kind} has no factor {name}",
                    ".".join(path),
                    origins.inside(path) or origins.of(path),
                    name,
                    f"all, none, or some of {known}" if known else "all or none",
                    nearest(name, list(task.factors)),
                )
            )


def _check_fit(task: TaskConfig, model: ModelConfig, origins: Origins) -> None:
    try:
        model.check_task(task)
    except ValueError as error:
        source = origins.of(("model", "kind")) or origins.of(("model",))
        raise InputError(Problem(f"model: {error}", "model", source)) from error


def _data_problems(error: ValueError, origins: Origins) -> list[Problem]:
    """What :meth:`ablab.tasks.config.TaskConfig.check_data` found, with keys and sources."""
    source = origins.inside(("task",)) or origins.of(("task",))
    if not isinstance(error, InputError):
        return [Problem(f"task: {error}", "task", source)]
    problems = []
    for cause in error.problems:
        key = cause.key if cause.key and cause.key.startswith("task.") else "task"
        path = tuple(key.split("."))
        own = origins.inside(path) or origins.of(path)
        problems.append(replace(cause, key=key, source=own))
    return problems


def check_settings(cls: type[C], data: Mapping[str, Any], prefix: str) -> C:
    """Validates settings.

    Args:
        cls: The class of the settings.
        data: The settings.
        prefix: Put in front of the keys in errors.

    Raises:
        InputError: A setting is invalid; all problems are listed.
    """
    try:
        return cls.model_validate(dict(data))
    except ValidationError as error:
        raise InputError(*problems_of(prefix, cls, error.errors(), Origins())) from error
