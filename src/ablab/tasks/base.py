"""What every task is: batches for training and evaluation, and the measures of its answers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ablab.tasks.config import TaskConfig


@dataclass(frozen=True)
class Batch:
    """Tokens that the model reads and the tokens that it should predict.

    Attributes:
        tokens: Integers of shape (..., B, T); leading axes are steps, where there are several.
        targets: Integers of shape (..., B, P), for the P positions ``Task.predicted``;
            ``IGNORED`` where nothing is predicted.
    """

    tokens: NDArray[np.int64]
    targets: NDArray[np.int64]


class Task(ABC):
    """A source of batches, each a pure function of (seed, step).

    A subclass is made from its configuration and keeps nothing that changes.
    """

    config: TaskConfig

    @property
    @abstractmethod
    def predicted(self) -> slice:
        """The positions of the sequence whose next token is predicted (P of them)."""

    @abstractmethod
    def draw(self, seed: int, first_step: int, steps: int, batch_size: int) -> Batch:
        """The batches of steps ``first_step`` … ``first_step + steps - 1``.

        Args:
            seed: The run's seed.
            first_step: The first step, from 1.
            steps: How many steps (K).
            batch_size: Samples in each batch (B).

        Returns:
            A batch whose arrays have the leading axes (K, B).
        """

    @abstractmethod
    def held_out(self, samples: int) -> Batch:
        """The evaluation sample of at most ``samples`` samples, the same for every run."""

    def evaluation_sets(self, samples: int) -> dict[str, Batch]:
        """Every sample that a run is evaluated on, by name.

        The set without a name, the empty string, is :meth:`held_out`; measures of another are kept
        as ``eval_MEASURE/NAME``.
        """
        return {"": self.held_out(samples)}

    def text(self, tokens: NDArray[np.int64]) -> str:
        """Tokens as a person writes them; here their numbers."""
        return " ".join(map(str, tokens))

    def tokens(self, text: str) -> NDArray[np.int64]:
        """What :meth:`text` wrote, as tokens.

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
        """Scalars that describe a batch of answers, by name, each a mean over the batch.

        Called under ``torch.vmap``, so it must not branch on a tensor's value. The names are kept
        as ``eval_NAME`` in the metrics.
        """
