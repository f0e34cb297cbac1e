"""Training settings that depend on the task: converts epochs and full batches to numbers."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.tree import Origins
from ablab.tasks.config import TaskConfig
from ablab.train.config import TrainConfig


def resolved(data: Mapping[str, Any], task: TaskConfig | None, origins: Origins) -> dict[str, Any]:
    """The training settings, with epochs converted to steps and a full batch to a number.

    Both depend on the task. If the task itself is invalid, they are dropped without a check.

    Raises:
        InputError: Both epochs and steps are given, or the task has no finite training set.
    """
    data = dict(data)
    if data.get("epochs") is None and data.get("batch_size") != "full":
        return data
    if data.get("epochs") is not None and data.get("steps") is not None:
        raise InputError(
            Problem(
                "train.epochs and train.steps cannot both be given",
                "train.epochs",
                origins.of(("train", "epochs")),
                f"{data['epochs']} epochs, {data['steps']} steps",
                "one of the two; train.steps=null removes the steps",
            )
        )
    epochs = _number(data.pop("epochs", None))
    if data.get("batch_size") == "full":
        del data["batch_size"]
        if task is not None:
            data["batch_size"] = _train_size("batch_size", "full", task, origins)
    if epochs is None:
        return data
    data.pop("steps", None)
    batch_size = _number(data.get("batch_size", TrainConfig.model_fields["batch_size"].default))
    if not _is_positive(epochs) or not _is_positive(batch_size):
        return data | {"epochs": epochs}  # reported by their own checks
    if task is not None:
        size = _train_size("epochs", epochs, task, origins)
        # Exact decimals: 1.1 epochs of 100 samples are 110, which binary fractions miss.
        data["steps"] = math.ceil(Fraction(str(epochs)) * size / Fraction(str(batch_size)))
    return data


def _number(value: Any) -> Any:
    """A number that is written as text, as other settings may be; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _is_positive(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value > 0
    )


def _train_size(name: str, given: Any, task: TaskConfig, origins: Origins) -> int:
    """The number of samples in an epoch of the task."""
    if task.train_size is None:
        raise InputError(
            Problem(
                f"train.{name}: the task {task.kind} has no finite training set",
                f"train.{name}",
                origins.of(("train", name)),
                given,
                "a number of steps and a batch size, or a task with a finite training set",
            )
        )
    return task.train_size
