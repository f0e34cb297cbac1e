"""Settings of training that hang on the task: epochs as steps, a full batch as a number."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from ablab.config import InputError, Problem
from ablab.experiments.tree import Origins
from ablab.tasks.config import TaskConfig
from ablab.train.config import TrainConfig


def resolved(data: Mapping[str, Any], task: TaskConfig | None, origins: Origins) -> dict[str, Any]:
    """Training's settings with epochs made steps and a full batch made a number.

    Both hang on the task; where that is in error itself, they are left out, unchecked.

    Raises:
        InputError: Epochs and steps are both given, or the task's samples have no end.
    """
    data = dict(data)
    if data.get("epochs") is None and data.get("batch_size") != "full":
        return data
    if data.get("epochs") is not None and data.get("steps") is not None:
        raise InputError(
            Problem(
                "train.epochs and train.steps are both given",
                "train.epochs",
                origins.of(("train", "epochs")),
                f"{data['epochs']} epochs, {data['steps']} steps",
                "one of the two; train.steps=null takes the steps away",
            )
        )
    epochs = data.pop("epochs", None)
    if data.get("batch_size") == "full":
        del data["batch_size"]
        if task is not None:
            data["batch_size"] = _train_size("batch_size", "full", task, origins)
    if epochs is None:
        return data
    data.pop("steps", None)
    batch_size = data.get("batch_size", TrainConfig.model_fields["batch_size"].default)
    if not _is_positive(epochs) or not _is_positive(batch_size):
        return data | {"epochs": epochs}  # whose own check says what is wrong
    if task is not None:
        size = _train_size("epochs", epochs, task, origins)
        # As it was written down: 1.1 epochs of 100 samples are 110, which binary fractions miss.
        data["steps"] = math.ceil(Fraction(str(epochs)) * size / Fraction(str(batch_size)))
    return data


def _is_positive(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value > 0
    )


def _train_size(name: str, given: Any, task: TaskConfig, origins: Origins) -> int:
    """How many samples an epoch of the task visits."""
    if task.train_size is None:
        raise InputError(
            Problem(
                f"train.{name}: the task {task.kind} draws samples without end",
                f"train.{name}",
                origins.of(("train", name)),
                given,
                "a number of steps and of samples, or a task with a training set of some size",
            )
        )
    return task.train_size
