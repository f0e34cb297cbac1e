"""What every model is: a torch module whose forward pass takes a :class:`Forward`."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ablab.model.config import ModelConfig
from ablab.model.forward import Forward


class Model(nn.Module, ABC):
    """A model of one run: ``model(tokens)`` gives logits.

    Made as ``Model(config, vocab_size, input_length)``; the parameters' initial values are drawn by
    :meth:`initialise` alone.
    """

    @abstractmethod
    def __init__(self, config: ModelConfig, vocab_size: int, input_length: int) -> None:
        super().__init__()

    @abstractmethod
    def initialise(self, generator: torch.Generator) -> None:
        """Draws every parameter anew, in place, from ``generator`` (on the CPU)."""

    @abstractmethod
    def forward(
        self, tokens: Int[Tensor, "B T"], forward: Forward | None = None
    ) -> Float[Tensor, "B T V"]:
        """The logits of the next token at every position.

        Args:
            tokens: Token numbers in [0, V).
            forward: What to show, change and draw in this pass; none of it by default.
        """
