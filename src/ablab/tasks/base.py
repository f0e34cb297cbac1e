"""The base class of tasks: batches for training and evaluation, and measures of answers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ablab.tasks.config import TaskConfig


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


class Task(ABC):
    """A source of batches, each a pure function of (seed, step).

    A subclass is constructed from its configuration and has no mutable state.
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
