"""The bug of the thinker's logbook, put back on purpose.

The recipe ``thinker-permuted`` trains both; ``ablab doctor`` finds the second.

Axes: B samples, S tokens of the question, T positions, D width, V vocabulary.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Copier(nn.Module):
    """torch's encoder and decoder of one layer each; answers are learned queries of the question.

    Nothing but attention brings a symbol to its answer.

    Args:
        vocab_size: How many tokens there are.
        input_length: Positions of question and answer together.
        source_length: Those of the question, more than the answer has.
        width: Width D.
        heads: Attention heads.
    """

    batch_first = True
    read: Tensor  # the query whose answer each position gives, (T,)

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
        self.queries = nn.Embedding(source_length, width)
        first, hidden = self.batch_first, 4 * width
        self.encode = nn.TransformerEncoderLayer(width, heads, hidden, 0.0, batch_first=first)
        self.decode = nn.TransformerDecoderLayer(width, heads, hidden, 0.0, batch_first=first)
        self.out = nn.Linear(width, vocab_size)
        answered = torch.arange(input_length) - (source_length - 1)
        self.register_buffer("read", answered.clamp(min=0))

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """The logits at every position; those before the answer mean nothing."""
        question = self.tokens(tokens[:, : self.source_length]) + self.places.weight  # (B, S, D)
        queries = self.queries.weight.expand_as(question)
        answers: Tensor = self.out(self.decode(queries, self.encode(question)))  # (B, S, V)
        return answers[:, self.read[: tokens.shape[1]]]


class PermutedCopier(Copier):
    """The same where torch takes the batch for the sequence: its first axis, by default.

    Attention then goes over the samples of a batch, position by position. There is no error, for
    question and queries have one length.
    """

    batch_first = False
