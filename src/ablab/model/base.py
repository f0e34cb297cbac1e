"""What every model is: a torch module whose forward pass takes a :class:`Forward`."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ablab.model.config import ModelConfig
from ablab.model.forward import Forward
from ablab.model.generate import Generates


class Model(Generates, ABC):
    """A model of one run: ``model(tokens)`` gives logits.

    Made by :meth:`make`; the parameters' initial values are drawn by :meth:`initialise` alone.

    Attributes:
        vocab_size: How many tokens there are (V).
        input_length: How many tokens a sample has in training (T).
        trims: Whether it gives the logits of ``Forward.first`` and later positions alone, without
            working out of the others what no logits read.
    """

    trims = False

    @abstractmethod
    def __init__(self, config: ModelConfig, vocab_size: int, input_length: int) -> None:
        super().__init__()
        self.vocab_size, self.input_length = vocab_size, input_length

    @classmethod
    def make(
        cls, config: Any, vocab_size: int, input_length: int, source_length: int | None
    ) -> "Model":
        """A model for a task; ``source_length`` is for those that read a question by itself.

        Args:
            config: The model's settings.
            vocab_size: How many tokens there are (V).
            input_length: How many tokens a sample has (T).
            source_length: How many of them, from the first, are the question; None where the task
                has no such border.
        """
        return cls(config, vocab_size, input_length)

    def trims_site(self, site: str) -> bool:
        """Whether a site's tensor is of the positions from ``Forward.first`` on alone."""
        return False

    @abstractmethod
    def initialise(self, generator: torch.Generator) -> None:
        """Batches every parameter anew, in place, from ``generator`` (on the CPU)."""

    @abstractmethod
    def forward(
        self, tokens: Int[Tensor, "B T"], forward: Forward | None = None
    ) -> Float[Tensor, "B Q V"]:
        """The logits of the next token at every position, or at those from ``forward.first`` on.

        Args:
            tokens: Token numbers in [0, V).
            forward: What to show, change and draw in this pass; none of it by default.
        """
