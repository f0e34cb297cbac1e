"""The subject of an examination: an experiment, a model's class or a task's class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ablab.config import InputError, Problem, is_file, load_object
from ablab.experiments import Experiment, experiment
from ablab.model.config import ModelConfig
from ablab.tasks.base import Task
from ablab.tasks.config import TaskConfig

# Many predicted positions, and so many sums that evaluation does not repeat training samples.
DEFAULT_TASK = {"kind": "addition", "n_digits": 4, "target": "all"}
DEFAULT_MODEL = {"kind": "transformer", "n_layers": 1, "d_model": 32, "n_heads": 4}


def as_experiment(
    subject: Experiment | str | Path | Mapping[str, Any], *overrides: str, **settings: Any
) -> Experiment:
    """The experiment to examine for a subject.

    Args:
        subject: An experiment, an argument of :func:`ablab.experiments.experiment.experiment`, or
            an import path ``module:Class`` of a model's or a task's class. A model is examined on
            a small task, a task with a small transformer.
        overrides: Overrides in Hydra's grammar.
        settings: Top-level settings by name.

    Raises:
        InputError: The subject is none of these, or a setting is wrong.
    """
    if isinstance(subject, Experiment):
        if overrides or settings:
            raise InputError("overrides cannot be applied to an experiment that already exists")
        return subject
    if isinstance(subject, str) and ":" in subject and not is_file(Path(subject)):
        asked = experiment(_around(subject), *overrides, **settings)
        for variant in asked.variants:
            if subject not in (variant.parts.model.kind, variant.parts.task.kind):
                raise InputError(
                    Problem(
                        f"these overrides replace {subject}, the subject of the examination",
                        given=" ".join(overrides),
                        expected="overrides that do not change its kind",
                    )
                )
        return asked
    return experiment(subject, *overrides, **settings)


def _around(path: str) -> dict[str, Any]:
    """An experiment that uses one class."""
    found = load_object(path, "doctor")
    tree: dict[str, Any] = {
        "name": path.rpartition(":")[2],
        "question": f"Is {path} what it claims to be?",
        "train": {"steps": 100, "batch_size": 64},
    }
    if isinstance(found, type) and issubclass(found, Task | TaskConfig):
        return tree | {"task": {"kind": path}, "model": DEFAULT_MODEL}
    if isinstance(found, type) and issubclass(found, nn.Module | ModelConfig):
        return tree | {"task": DEFAULT_TASK, "model": {"kind": path}}
    raise InputError(
        Problem(
            f"{path} is neither a model nor a task",
            given=type(found).__name__,
            expected="a class: a torch.nn.Module or an ablab Task",
        )
    )
