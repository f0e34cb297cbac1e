"""The input of an analysis: one model at one step, and what is known about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ablab.config import InputError, Problem
from ablab.tasks.base import Task


@dataclass(frozen=True)
class Subject:
    """A model to analyze. An analysis must not change it.

    Attributes:
        model: The model, in evaluation mode.
        given_task: The task that it is trained on; None if that is not known.
        run: The stored run's id; None for a model from elsewhere.
        step: The step of its parameters; None for a model from elsewhere.
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
    """Puts a model in evaluation mode and seeds torch's generator; restores both at the end."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield model
    finally:
        for module in training:
            module.training = True
