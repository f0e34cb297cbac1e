"""A small causal transformer without anything of ablab in it, and copies with a bug each."""

import math

import torch
from torch import nn


class Healthy(nn.Module):
    """One layer of causal attention and an MLP."""

    def __init__(self, vocab_size: int, input_length: int, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.tokens = nn.Embedding(vocab_size, width)
        self.places = nn.Embedding(input_length, width)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.logits = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        x = self.embed(tokens)
        x = x + self.attend(self.norm(x))
        x = x + self.mlp(x)
        return self.logits(x)

    def embed(self, tokens):
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.tokens(tokens) + self.places(places)

    def attend(self, x):
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(x).chunk(3, -1)
        )
        q, k = self.normed(q), self.normed(k)
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        hidden = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
        return self.out((self.weigh(scores, hidden) @ v).transpose(1, 2).flatten(-2))

    def normed(self, x):
        return x

    def weigh(self, scores, hidden):
        return scores.masked_fill(hidden, -torch.inf).softmax(-1)


class NormWithoutAxis(Healthy):
    def normed(self, x):
        return x / torch.norm(x) * x.shape[-1]


class UnmaskedTanh(Healthy):
    def weigh(self, scores, hidden):
        return scores.masked_fill(hidden, -torch.inf).tanh()


class UnmaskedLinear(Healthy):
    def weigh(self, scores, hidden):
        return scores / scores.shape[-1]


class Swapped(nn.Module):
    """torch's own encoder, whose first axis is the sequence unless it is told otherwise."""

    def __init__(self, vocab_size: int, input_length: int, width: int = 16) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.places = nn.Embedding(input_length, width)
        self.layer = nn.TransformerEncoderLayer(width, 2, 32, dropout=0.0)
        self.logits = nn.Linear(width, vocab_size)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.places.weight[: tokens.shape[1]]
        return self.logits(self.layer(x))


class InPlaceCache(Healthy):
    def __init__(self, vocab_size: int, input_length: int, width: int = 16) -> None:
        super().__init__(vocab_size, input_length, width)
        self.register_buffer("k_cache", torch.zeros(64, 2, input_length, width // 2))

    def normed(self, x):
        self.k_cache[: x.shape[0], :, : x.shape[2]] = x
        return self.k_cache[: x.shape[0], :, : x.shape[2]] * 1.0


class NoPlaces(Healthy):
    def embed(self, tokens):
        return self.tokens(tokens) + 0 * self.places.weight[: tokens.shape[1]]


class ListOfLayers(Healthy):
    def __init__(self, vocab_size: int, input_length: int, width: int = 16) -> None:
        super().__init__(vocab_size, input_length, width)
        self.more = [nn.Linear(width, width) for _ in range(2)]

    def embed(self, tokens):
        x = super().embed(tokens)
        for layer in self.more:
            x = x + layer(x)
        return x
