"""The run under examination: its task, small batches, models, and results that checks share.

Axes: B batch, T sequence, P predicted positions, V vocabulary.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ablab.model.base import Model
from ablab.tasks.base import Task
from ablab.tasks.random import Stream, words
from ablab.train.run import Run
from ablab.train.schedule_config import ScheduleConfig
from ablab.train.stack import initial_model, make_task

_TRIAL_BATCH = 8


class Patient:
    """A run under examination, which is trained for a few steps at most.

    Every use gets a new model, so that one check cannot affect another.

    Args:
        run: The run.
        compiles: Whether checks compile programs, which takes seconds; else they trace them.
    """

    def __init__(self, run: Run, compiles: bool = False) -> None:
        self.run = run
        self.compiles = compiles
        self._notes: dict[str, list[str]] = {}

    def note(self, check: str, text: str) -> None:
        """Adds a figure to the report of a check, also if it finds no problem."""
        self._notes.setdefault(check, []).append(text)

    def notes(self, check: str) -> tuple[str, ...]:
        """The figures of a check."""
        return tuple(self._notes.get(check, ()))

    @cached_property
    def task(self) -> Task:
        """The run's task."""
        return make_task(self.run)

    @cached_property
    def predicted(self) -> list[int]:
        """The positions whose next token is predicted, in ascending order."""
        return list(range(self.run.task.input_length)[self.task.predicted])

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The model's configuration as plain data."""
        return self.run.model.model_dump()

    def batch(self, samples: int, step: int = 1) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B P"]]:
        """A training batch: tokens (B, T) and targets (B, P)."""
        drawn = self.task.draw(self.run.seed, step, 1, samples)
        return torch.from_numpy(drawn.tokens[0]), torch.from_numpy(drawn.targets[0])

    def model(self) -> Model:
        """A new model with the run's initial parameters."""
        return initial_model(self.run)

    def shaken(self) -> Model:
        """A model with perturbed parameters, in evaluation mode and the highest precision possible.

        A layer that starts at zero (an output layer, a gate) hides all earlier ones, so parameters
        are perturbed by uniform noise with standard deviation 0.02 + rms / 10.
        """
        model = self.model().to(self.precision).eval()
        with torch.no_grad():
            for number, parameter in enumerate(model.parameters()):
                raw = words(0, Stream.INITIAL, number, 1, parameter.numel())[0]
                noise = torch.from_numpy(raw / np.float64(2**63) - 1).reshape(parameter.shape)
                spread = 0.02 + 0.1 * float(parameter.double().square().mean().sqrt())
                parameter.add_((noise * 3**0.5 * spread).to(parameter.dtype))
        return model

    @cached_property
    def precision(self) -> torch.dtype:
        """float64 if the model runs in it, else float32."""
        try:
            with torch.no_grad():
                logits = self.model().double().eval()(self.batch(2)[0])
        except Exception:  # the check "types" reports it
            return torch.float32
        return logits.dtype if logits.dtype == torch.float64 else torch.float32

    @property
    def tolerance(self) -> float:
        """The smallest relative difference that counts as a change in :attr:`precision`."""
        return 1e-9 if self.precision == torch.float64 else 1e-4

    def loss(
        self, model: Model, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B P"]
    ) -> Float[Tensor, ""]:
        """The mean cross-entropy of the predicted tokens, in nats."""
        logits = model(tokens)[:, self.task.predicted]  # (B, P, V)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    @cached_property
    def training_error(self) -> tuple[str, str] | None:
        """The error of two forward and backward passes, as (order, message); None if they work.

        Two orders are tried: one pass after the other, as in training, and both forward passes
        before both backward passes, as in gradient accumulation.
        """
        first, second = self.batch(_TRIAL_BATCH, 1), self.batch(_TRIAL_BATCH, 2)
        orders = {
            "forward, backward, forward, backward": (1, 1),
            "forward, forward, backward, backward": (2,),
        }
        for order, groups in orders.items():
            model = self.model().train()
            batches = iter((first, second))
            try:
                for size in groups:
                    losses = [self.loss(model, *next(batches)) for _ in range(size)]
                    for loss in losses:
                        loss.backward()  # type: ignore[no-untyped-call]
            except RuntimeError as error:
                return order, str(error)
        return None

    @cached_property
    def stackable(self) -> bool:
        """Whether the optimizer can train several runs at once."""
        return self.run.train.optimizer_config.stackable

    @property
    def trains(self) -> bool:
        """Whether ablab can train the model: passes work, and no parameter is frozen."""
        frozen = any(not parameter.requires_grad for parameter in self.model().parameters())
        return not frozen and self.training_error is None

    @cached_property
    def without_gradient(self) -> dict[str, str]:
        """The trainable parameters without a gradient, and what they get instead."""
        found = self._without_gradient(self.shaken())
        if not found:
            return {}
        training = self._without_gradient(self.shaken().train())  # may use more of the model
        return {name: what for name, what in found.items() if name in training}

    def _without_gradient(self, model: Model) -> dict[str, str]:
        self.loss(model, *self.batch(_TRIAL_BATCH)).backward()  # type: ignore[no-untyped-call]
        found = {}
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            if parameter.grad is None:
                found[name] = "no gradient"
            elif not parameter.grad.any():
                found[name] = "a gradient of zeros"
        return found

    def trial(self, seed: int | None = None) -> Run:
        """The run with small batches, a constant learning rate and :attr:`precision`."""
        train = self.run.train
        name = "float64" if self.precision == torch.float64 else "float32"
        trial = train.model_copy(
            update={
                "batch_size": min(train.batch_size, _TRIAL_BATCH),
                "lr": 1e-3,
                "schedule": ScheduleConfig(),
                "precision": name,
                "loss": train.loss.model_copy(update={"dtype": name}),
            }
        )
        return replace(self.run, train=trial, seed=self.run.seed if seed is None else seed)
