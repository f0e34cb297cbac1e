"""Modules of a user's own, for tests: nothing of ablab in them."""

import torch
from torch import nn


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


def scaled(scores):
    """An attention activation: a function of the scores."""
    return scores * 0.5
