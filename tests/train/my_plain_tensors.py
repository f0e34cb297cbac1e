"""Modules with tensors that are not registered, for tests."""

import torch
from torch import nn


class Projects(nn.Module):
    """Adds a projection that is drawn with the model, and is neither a parameter nor a buffer."""

    def __init__(self, vocab_size: int, input_length: int, width: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.projection = torch.randn(width, width)
        self.out = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        x = self.embedding(tokens)
        return self.out(x + x.cumsum(1) @ self.projection)


class Fixed(Projects):
    """The same with the same projection for every seed."""

    def __init__(self, vocab_size: int, input_length: int, width: int = 4) -> None:
        super().__init__(vocab_size, input_length, width)
        self.projection = torch.eye(width)
