"""What a user names to be examined: an experiment, a model's class or a task's class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ablab.config import InputError, Problem, is_file, load_object
from ablab.experiments import Experiment, experiment
from ablab.model.config import ModelConfig
from ablab.tasks.base import Task
from ablab.tasks.config import TaskConfig

# Many predicted positions, and so many problems that evaluation meets none from training.
DEFAULT_TASK = {"kind": "addition", "n_digits": 4, "target": "all"}
DEFAULT_MODEL = {"kind": "transformer", "n_layers": 1, "d_model": 32, "n_heads": 4}


def as_experiment(
    subject: Experiment | str | Path | Mapping[str, Any], *overrides: str, **settings: Any
) -> Experiment:
    """The experiment that stands for what a user named.

    Args:
        subject: An experiment, what :func:`ablab.experiments.experiment.experiment` takes, or an
            import path ``module:Class`` of a model's or a task's class, which is put on a small
            task or under a small transformer.
        overrides: Overrides in Hydra's grammar.
        settings: Top-level settings by name.

    Raises:
        InputError: It is none of these, or a setting is wrong.
    """
    if isinstance(subject, Experiment):
        if overrides or settings:
            raise InputError("overrides belong to the making of the experiment")
        return subject
    if isinstance(subject, str) and ":" in subject and not is_file(Path(subject)):
        asked = experiment(_around(subject), *overrides, **settings)
        for variant in asked.variants:
            if subject not in (variant.parts.model.kind, variant.parts.task.kind):
                raise InputError(
                    Problem(
                        f"{subject} is not what these overrides leave to examine",
                        given=" ".join(overrides),
                        expected="overrides that keep the class's own kind",
                    )
                )
        return asked
    return experiment(subject, *overrides, **settings)


def _around(path: str) -> dict[str, Any]:
    """An experiment around one class."""
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
