"""The input of an analysis: one model at one step, and what is known about it."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ablab.analysis.passes import Pass, Passes
from ablab.analysis.replacement import Replacement
from ablab.config import InputError, Problem
from ablab.model.base import Model
from ablab.tasks.base import Task
from ablab.tasks.probe import Probe, probe


class DoesNotApplyError(Exception):
    """An analysis does not apply to a model or its task; the text says why."""


@dataclass(frozen=True)
class Probing:
    """Which samples analyses look at.

    Attributes:
        samples: The largest number of samples; None for each task's own: its whole table where
            that is small, else a sample.
        seed: The seed of that sample.
    """

    samples: int | None = None
    seed: int = 0


WHOLE = Probing()


class Together:
    """What models of one shape and one task share while they are analyzed.

    Args:
        models: The models.
        task: Their task; None if it is not known.
        probing: Which samples are looked at.
        beside: Others of the same task, whose samples are shared.

    Attributes:
        passes: Their forward passes; None if they are not ablab models.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        task: Task | None,
        probing: Probing,
        beside: "Together | None" = None,
    ) -> None:
        self.passes = Passes(models) if isinstance(models[0], Model) else None
        self._task, self._probing = task, probing
        self._beside = beside
        self._probe: Probe | None = None

    def probe(self, task: Task) -> Probe:
        """The samples on which the models are looked at."""
        if self._beside is not None:
            return self._beside.probe(task)
        if self._probe is None:
            self._probe = probe(task, samples=self._probing.samples, seed=self._probing.seed)
        return self._probe


@dataclass(frozen=True)
class Subject:
    """A model to analyze. An analysis must not change it.

    Attributes:
        model: The model, in evaluation mode.
        given_task: The task that it is trained on; None if that is not known.
        run: The stored run's id; None for a model from elsewhere.
        step: The step of its parameters; None for a model from elsewhere.
        together: What it shares with the models that are analyzed with it.
        place: Its place among them.
        find_last: Gives the subject of the run's last step; None for a model from elsewhere.
        memo: What analyses have worked out about this subject, by any key. It is theirs to use.
    """

    model: nn.Module
    given_task: Task | None = None
    run: str | None = None
    step: int | None = None
    together: Together | None = field(default=None, repr=False)
    place: int = 0
    find_last: "Callable[[], Subject] | None" = field(default=None, repr=False)
    memo: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.together is None:
            alone = Together([self.model], self.given_task, WHOLE)
            object.__setattr__(self, "together", alone)

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

    @property
    def probe(self) -> Probe:
        """The samples on which it is looked at: the task's whole table, or a sample.

        Raises:
            InputError: The task is not known.
        """
        assert self.together is not None, "__post_init__ sets it"
        return self.together.probe(self.task)

    @property
    def last(self) -> "Subject":
        """The run's model at its last kept step; the model itself if it is from elsewhere.

        An analysis that uses it declares the input ``last_model``, so that its findings of earlier
        steps are computed again when the run goes on.
        """
        return self if self.find_last is None else self.find_last()

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        read: Sequence[str] = (),
        replace: Sequence[Replacement] = (),
        first: int = 0,
    ) -> Pass:
        """A forward pass without gradients, whose tensors at sites are read or replaced.

        Analyses of one model share a pass over the same tokens, and models that are analyzed
        together share one call where that is faster.

        Args:
            tokens: Token ids.
            read: Names or patterns of sites to read.
            replace: Replacements.
            first: The first position whose logits are needed. The logits, and the sites behind the
                keys and values of the last block, then have no earlier positions, and models that
                can (:attr:`ablab.model.base.Model.trims`) do not compute these. Other models, and
                other sites, have all positions, so those from the end are to be read: ``x[:, -1]``.

        Raises:
            InputError: It is not an ablab model, a name matches no site, or a replacement does not
                fit its site.
        """
        return next(self.forward_each(tokens, [replace], read, first))

    def forward_each(
        self,
        tokens: Int[Tensor, "B T"],
        replacements: Sequence[Sequence[Replacement]],
        read: Sequence[str] = (),
        first: int = 0,
    ) -> Iterator[Pass]:
        """Forward passes over the same samples, each with its replacements.

        They are computed as they are asked for. Those over few samples are computed together, which
        is faster than one after the other.

        Args:
            tokens: Token ids.
            replacements: The replacements of each pass.
            read: Names or patterns of sites to read.
            first: The first position whose logits are needed, as in :meth:`forward`.

        Raises:
            InputError: As in :meth:`forward`.
        """
        assert self.together is not None, "__post_init__ sets it"
        if self.together.passes is None:
            raise InputError(
                Problem(
                    "the model has no sites",
                    given=type(self.model).__name__,
                    expected="an ablab model, for analyses that read or replace tensors",
                )
            )
        return self.together.passes.forward_each(self.place, tokens, replacements, read, first)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Puts a model in evaluation mode and seeds torch's generator on the CPU; restores both."""
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # not that of devices, which costs more
            yield model
    finally:
        for module in training:
            module.training = True
