"""The bug of the thinker's logbook, put back on purpose.

The recipe ``thinker-permuted`` trains both; ``ablab doctor`` finds the second.

Axes: B samples, S tokens of the question, T positions, D width, V vocabulary.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Encoder(nn.Module):
    """torch's encoder of one layer over the question; answer i is read where symbol i stands.

    Args:
        vocab_size: How many tokens there are.
        input_length: Positions of question and answer together.
        source_length: Those of the question.
        width: Width D.
        heads: Attention heads.
    """

    batch_first = True
    read: Tensor  # the question's position for each of the sequence's, (T,)

    def __init__(
        self,
        vocab_size: int,
        input_length: int,
        source_length: int,
        width: int = 32,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.source_length = source_length
        self.tokens = nn.Embedding(vocab_size, width)
        self.places = nn.Embedding(source_length, width)
        self.layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, batch_first=self.batch_first
        )
        self.out = nn.Linear(width, vocab_size)
        answered = torch.arange(input_length) - (source_length - 1)
        self.register_buffer("read", answered.clamp(min=0))

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """The logits at every position; those before the answer mean nothing."""
        question = tokens[:, : self.source_length]
        x = self.layer(self.tokens(question) + self.places.weight)  # (B, S, D)
        answers: Tensor = self.out(x)  # (B, S, V)
        return answers[:, self.read[: tokens.shape[1]]]


class PermutedEncoder(Encoder):
    """The same where torch takes the batch for the sequence: its first axis, by default.

    Attention then goes over the samples of a batch, position by position.
    """

    batch_first = False
