"""Modules of a user with dropout on tensors whose first axis is not that of samples."""

import torch
from torch import nn


class _Sums(nn.Module):
    """Logits from sums over the tokens so far."""

    def __init__(self, vocab_size, input_length, width=8):
        super().__init__()
        self.token = nn.Embedding(vocab_size, width)
        self.place = nn.Embedding(input_length, width)
        self.drop = nn.Dropout(0.25)
        self.head = nn.Linear(width, vocab_size)

    def places(self, tokens):
        return self.place(torch.arange(tokens.shape[1], device=tokens.device))


class Flattened(_Sums):
    """Drops from (B T, D)."""

    def forward(self, tokens):
        x = (self.token(tokens) + self.places(tokens)).cumsum(1)
        return self.head(self.drop(x.flatten(0, 1)).view_as(x))


class OfPositions(_Sums):
    """Drops from (T, D), which all samples share."""

    def forward(self, tokens):
        return self.head((self.token(tokens) + self.drop(self.places(tokens))).cumsum(1))


class SequenceFirst(_Sums):
    """Drops from (T, B, D)."""

    def forward(self, tokens):
        return self.head(self.drop(self.token(tokens.T)).cumsum(0)).transpose(0, 1)


class OfTokens(_Sums):
    """Drops from as many entries as there are different tokens, not in proportion to samples."""

    def forward(self, tokens):
        rows, places = torch.unique(tokens, return_inverse=True)
        return self.head(self.drop(self.token(rows))[places].cumsum(1))
