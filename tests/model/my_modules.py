"""Modules and parts of a user's own, for tests."""

import torch
from torch import nn

from ablab.model.attention_activations.softmax import Softmax
from ablab.model.parts import AttentionPosition


class Encoder(nn.Module):
    """A causal transformer of torch's own parts, with dropout."""

    def __init__(self, vocab_size: int, input_length: int, width: int = 8, p: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.places = nn.Parameter(torch.randn(input_length, width) * 0.1)
        self.layer = nn.TransformerEncoderLayer(width, 2, 16, dropout=0.0, batch_first=True)
        self.dropout = nn.Dropout(p)
        self.out = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.places
        mask = torch.full((x.shape[1], x.shape[1]), -torch.inf, dtype=x.dtype).triu(1)
        return self.out(self.dropout(self.layer(x, src_mask=mask)))


class Averages(nn.Module):
    """The mean of what was read so far, with a buffer and dropout: little to compile."""

    def __init__(self, vocab_size: int, input_length: int, width: int = 4, p: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.register_buffer("counts", torch.arange(1.0, input_length + 1)[:, None])
        self.dropout = nn.Dropout(p)
        self.out = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        return self.out(self.dropout(self.embedding(tokens).cumsum(1) / self.counts))


class Recurrent(nn.Module):
    """A GRU, which torch cannot run for several sets of parameters at once."""

    def __init__(self, vocab_size: int, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        return self.out(self.gru(self.embedding(tokens))[0])


class HiddenDropout(nn.Module):
    """Dropout that torch draws by itself."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 8)
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)

    def forward(self, tokens):
        x = self.embedding(tokens)
        return self.attention(x, x, x)[0]


class Flat(nn.Module):
    """Returns logits of two axes."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, vocab_size)

    def forward(self, tokens):
        return self.embedding(tokens).flatten(0, 1)


class Anything(nn.Module):
    """Takes what it is given."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()


class OverPositions(nn.Module):
    """Takes the mean of each channel over all positions away."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()

    def forward(self, x):
        return x - x.mean(1, keepdim=True)


def scaled(scores):
    """An attention activation: a function of the scores."""
    return scores * 0.5


class SharedDropout(nn.Module):
    """One dropout in two places."""

    def __init__(self, vocab_size: int, p: float = 0.5) -> None:
        super().__init__()
        drop = nn.Dropout(p)
        self.embedding = nn.Embedding(vocab_size, 8)
        self.layers = nn.Sequential(nn.Linear(8, 8), drop, nn.Linear(8, 8), drop)
        self.logits = nn.Linear(8, vocab_size)

    def forward(self, tokens):
        return self.logits(self.layers(self.embedding(tokens)))


class BatchNormed(nn.Module):
    """Takes statistics over a batch."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(vocab_size)


class OddDefault(nn.Module):
    """Has a default that cannot be written down."""

    def __init__(self, vocab_size: int, activation=nn.GELU) -> None:
        super().__init__()


class OddName(nn.Module):
    """Has an argument called as a setting of ablab's own."""

    def __init__(self, vocab_size: int, kind: int = 3) -> None:
        super().__init__()


class LearnedBias(AttentionPosition):
    """What is added to the scores is learned for each head and distance, as in T5."""

    def __init__(self, n_heads, d_head):
        super().__init__(n_heads, d_head)
        self.table = nn.Parameter(torch.randn(n_heads, 32))

    def score_bias(self, queries, keys):
        distances = (queries[:, None] - keys).abs().long().clamp(max=31)
        return self.table[:, distances]


class HalfSoftmax(Softmax):
    """Half of softmax's weights."""

    def weights(self, scores, hidden):
        return super().weights(scores, hidden) / 2
