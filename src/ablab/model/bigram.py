"""The bigram model: a table of vocabulary × vocabulary logits."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ablab.model.base import Model
from ablab.model.bigram_config import BigramConfig
from ablab.model.forward import Forward


class Bigram(Model):
    """The logits of the next token are a row of a table, selected by the current token."""

    caches = True

    def __init__(self, config: BigramConfig, vocab_size: int, input_length: int) -> None:
        super().__init__(config, vocab_size, input_length)
        self.config = config
        self.embedding = nn.Embedding(vocab_size, vocab_size)

    def initialise(self, generator: torch.Generator) -> None:
        """Normal entries of ``init_std``."""
        nn.init.normal_(self.embedding.weight, std=self.config.init_std, generator=generator)

    def forward(
        self, tokens: Int[Tensor, "B T"], forward: Forward | None = None
    ) -> Float[Tensor, "B T V"]:
        """The logits of the next token at every position."""
        forward = Forward() if forward is None else forward
        return forward.site("logits", forward.kernels.embed(tokens, self.embedding.weight))
