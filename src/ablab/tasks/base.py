"""The base class of tasks: batches for training and evaluation, and measures of answers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ablab.tasks.config import IGNORED, TaskConfig
from ablab.tasks.groups import CyclicGroup, NoCyclicGroupError


@dataclass(frozen=True)
class Batch:
    """Input tokens and target tokens.

    Attributes:
        tokens: Integers of shape (..., B, T); leading axes are steps, if there are several.
        targets: Integers of shape (..., B, P), for the P positions ``Task.predicted``;
            ``IGNORED`` at positions without a prediction.
    """

    tokens: NDArray[np.int64]
    targets: NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """All samples of a task.

    Attributes:
        batch: The samples, each once.
        train: Whether training can draw each sample, (B,); None if nothing is held out.
    """

    batch: Batch
    train: NDArray[np.bool_] | None


class Task(ABC):
    """A source of batches, each a pure function of (seed, step).

    A subclass is constructed from its configuration and has no mutable state. What probes and
    contrasts need (from :attr:`table_size` to :meth:`similar`) is optional. A class that overrides
    :meth:`draw` does not inherit it from a task with other samples (:func:`member`).
    """

    config: TaskConfig

    @property
    @abstractmethod
    def predicted(self) -> slice:
        """The positions at which the next token is predicted (P of them)."""

    @abstractmethod
    def draw(self, seed: int, first_step: int, steps: int, batch_size: int) -> Batch:
        """The batches for steps ``first_step`` … ``first_step + steps - 1``.

        Args:
            seed: The seed of the run.
            first_step: The first step, counted from 1.
            steps: The number of steps (K).
            batch_size: The number of samples per batch (B).

        Returns:
            A batch whose arrays have the leading axes (K, B).
        """

    @abstractmethod
    def held_out(self, samples: int) -> Batch:
        """At most ``samples`` evaluation samples, the same for every run."""

    def evaluation_sets(self, samples: int) -> dict[str, Batch]:
        """All evaluation sets, by name.

        The set with an empty name is :meth:`held_out`. The measures of other sets are stored as
        ``eval_MEASURE/NAME``.
        """
        return {"": self.held_out(samples)}

    def factors(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """The label of each sample for each factor that the configuration declares.

        Args:
            batch: Samples, with the leading axis B.

        Returns:
            By the name of the factor, an index into the names of its values
            (:attr:`ablab.tasks.config.TaskConfig.factors`): of shape (B,) for labels of samples, or
            (B, P) for labels of predicted positions. ``ablab.tasks.factors.DOES_NOT_APPLY`` (-1)
            leaves a sample or position out.
        """
        return {}

    @property
    def table_size(self) -> int | None:
        """The number of distinct samples, for tasks with :meth:`table`; None for others."""
        return None

    def table(self) -> Table:
        """All samples. Only for a small :attr:`table_size`.

        Raises:
            ValueError: The task does not have a table.
        """
        raise ValueError(f"the task {self.config.kind} does not list all of its samples")

    @property
    def held_out_share(self) -> float | None:
        """The share of all samples that training never draws; None if it is not known."""
        return None

    @property
    def strata(self) -> tuple[str, ...] | None:
        """The factors by which a probe is stratified, each with a label per sample.

        None stands for those factors of the configuration that label samples, not positions.
        """
        return None

    def probe_factors(self, batch: Batch) -> dict[str, NDArray[np.int64]]:
        """Further labels of each sample, with any number of values, for probes.

        They replace labels of :meth:`factors` with the same name.

        Args:
            batch: Samples, with the leading axis B.

        Returns:
            Integers by the name of the factor: of shape (B,) for labels of samples, or (B, T) for
            labels of input positions. ``ablab.tasks.factors.DOES_NOT_APPLY`` (-1) leaves a sample
            or position out. By default, ``token_T``, the token at each input position T.
        """
        return {f"token_{place}": own for place, own in enumerate(batch.tokens.T)}

    def similar(self, batch: Batch, factor: str, seed: int) -> Batch:
        """Samples that differ from given ones in few tokens, from which contrasts are chosen.

        Args:
            batch: Samples, with the leading axis B.
            factor: The factor that is to differ.
            seed: The seed of what is drawn.

        Returns:
            Arrays with the leading axes (B, K): K samples for each given one, which may include
            the given one. By default, the token at one position is replaced by that of another
            sample, and the targets are not known (``IGNORED``).

        Raises:
            ValueError: The task has no contrasts for this factor.
        """
        name, _, place = factor.rpartition("_")
        if name != "token":
            raise ValueError(
                f"the task {self.config.kind} has no contrasts for {factor}; expected token_T, "
                f"which redraws the token at input position T"
            )
        tokens = np.repeat(batch.tokens[:, None], len(batch.tokens), axis=1)
        tokens[:, :, int(place)] = batch.tokens[:, int(place)]
        targets = np.full((*tokens.shape[:2], batch.targets.shape[-1]), IGNORED)
        return Batch(tokens, targets)

    def cyclic_groups(self) -> dict[str, CyclicGroup]:
        """The cyclic groups in which the task adds, by the name of the answer.

        Raises:
            NoCyclicGroupError: There is none; the message has the reason.
        """
        raise NoCyclicGroupError(f"the task {self.config.kind} does not add in a cyclic group")

    def text(self, tokens: NDArray[np.int64]) -> str:
        """Tokens as readable text; by default, their numbers."""
        return " ".join(map(str, tokens))

    def tokens(self, text: str) -> NDArray[np.int64]:
        """Converts the output of :meth:`text` back to tokens.

        Raises:
            ValueError: There is no such token.
        """
        found = np.array([int(word) for word in text.split()], dtype=np.int64)
        if ((found < 0) | (found >= self.config.vocab_size)).any():
            raise ValueError(f"tokens are numbers from 0 to {self.config.vocab_size - 1}")
        return found

    @abstractmethod
    def measures(
        self,
        logits: Float[Tensor, "B P V"],
        tokens: Int[Tensor, "B T"],
        targets: Int[Tensor, "B P"],
    ) -> dict[str, Tensor]:
        """Scalar measures of a batch of answers by name, each a mean over the batch.

        Runs under ``torch.vmap``, so it must not branch on the value of a tensor. In the metrics,
        the measures are stored as ``eval_NAME``.
        """


def member(task: Task, name: str) -> Any:
    """An attribute or method of a task that describes its samples.

    If the task's class overrides ``draw``, but not this member, it may have other samples than the
    class that it inherits the member from. In that case, this is the member of :class:`Task`.

    Args:
        task: The task.
        name: The name of the member.
    """
    drawing, describing = (
        next(base for base in type(task).__mro__ if each in vars(base)) for each in ("draw", name)
    )
    if issubclass(describing, drawing):
        return getattr(task, name)
    return vars(Task)[name].__get__(task)
