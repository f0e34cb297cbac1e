"""What an analysis looks at: one model at one step, and what is known about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ablab.config import InputError, Problem
from ablab.tasks.base import Task


@dataclass(frozen=True)
class Subject:
    """A model that is looked at; an analysis must leave it as it is.

    Attributes:
        model: The model, in evaluation mode.
        given_task: The task that it is trained on; None where that is not known.
        run: The stored run's id; None for a model from elsewhere.
        step: The step after which it is looked at; None for a model from elsewhere.
    """

    model: nn.Module
    given_task: Task | None = None
    run: str | None = None
    step: int | None = None

    @property
    def task(self) -> Task:
        """The task that the model is trained on.

        Raises:
            InputError: It is not known.
        """
        if self.given_task is None:
            raise InputError(
                Problem(
                    "the model's task is not known",
                    "task",
                    expected="ablab.analyze(model, …, task=…), or a stored run",
                )
            )
        return self.given_task


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode and torch's generator at a fixed state; both are put back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield model
    finally:
        for module in training:
            module.training = True
