"""The base class of models: a torch module whose forward pass takes a :class:`Forward`."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ablab.model.config import ModelConfig
from ablab.model.forward import Forward
from ablab.model.generate import Generates


class Model(Generates, ABC):
    """The model of one run: ``model(tokens)`` returns logits.

    :meth:`make` creates it and :meth:`initialise` draws its parameters.

    Attributes:
        vocab_size: The number of tokens in the vocabulary (V).
        input_length: The number of tokens per sample in training (T).
        trims: Whether it returns logits only for ``Forward.first`` and later positions, and skips
            what these do not need.
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
        """Creates a model for a task.

        Args:
            config: The model's settings.
            vocab_size: The number of tokens in the vocabulary (V).
            input_length: The number of tokens per sample (T).
            source_length: The number of tokens of the question, which come first; None if the task
                has no separate question.
        """
        return cls(config, vocab_size, input_length)

    def trims_site(self, site: str) -> bool:
        """Whether a site's tensor contains only the positions from ``Forward.first`` on."""
        return False

    @abstractmethod
    def initialise(self, generator: torch.Generator) -> None:
        """Draws every parameter in place from ``generator``, which is on the CPU."""

    @abstractmethod
    def forward(
        self, tokens: Int[Tensor, "B T"], forward: Forward | None = None
    ) -> Float[Tensor, "B Q V"]:
        """The logits of the next token at every position, or at those from ``forward.first`` on.

        Args:
            tokens: Token numbers in [0, V).
            forward: Taps, noise, kernels and cache of this pass; by default none.
        """
