"""Right models with parts that look like bugs: projections side by side, several tables, chunks."""

import torch
from torch import nn
from torch.nn import functional as F


class Projections(nn.Module):
    """Queries, keys and values as one module, whose layers read the same input."""

    def __init__(self, width):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x):
        return torch.cat([self.query(x), self.key(x), self.value(x)], -1)


class Block(nn.Module):
    def __init__(self, width, chunk):
        super().__init__()
        self.norm, self.other = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projections, self.chunk = Projections(width), chunk
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        parts = self.projections(self.norm(x)).chunk(3, -1)
        q, k, v = (each.unflatten(-1, (4, -1)).transpose(1, 2) for each in parts)
        place = torch.arange(x.shape[1], device=x.device)
        seen = place[:, None] >= place
        if self.chunk:
            seen = seen & (place[:, None] // self.chunk == place // self.chunk)
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x + self.out(z.transpose(1, 2).flatten(2))
        return x + self.mlp(self.other(x))


class Plain(nn.Module):
    """A usual transformer."""

    chunk = 0

    def __init__(self, vocab_size, input_length, width=32):
        super().__init__()
        self.token = nn.Embedding(vocab_size, width)
        self.make_positions(input_length, width)
        self.blocks = nn.ModuleList([Block(width, self.chunk) for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocab_size)

    def make_positions(self, length, width):
        self.place = nn.Embedding(length, width)

    def positions(self, place):
        return self.place(place)

    def forward(self, tokens):
        x = self.token(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Axial(Plain):
    """Positions are those of a row and of a column."""

    def make_positions(self, length, width):
        self.row, self.column = nn.Embedding(-(-length // 4), width), nn.Embedding(4, width)

    def positions(self, place):
        return self.row(place // 4) + self.column(place % 4)


class Segments(Plain):
    """A table of two segments beside that of positions."""

    def make_positions(self, length, width):
        self.place, self.segment = nn.Embedding(length, width), nn.Embedding(2, width)

    def positions(self, place):
        return self.place(place) + self.segment((place >= 4).long())


class Chunked(Plain):
    """Attention within chunks of five positions."""

    chunk = 5


class Clamped(Plain):
    """A bug: two tables that together do not tell all positions apart."""

    def make_positions(self, length, width):
        self.row, self.column = nn.Embedding(2, width), nn.Embedding(4, width)

    def positions(self, place):
        return self.row((place // 4).clamp(max=1)) + self.column((place % 4).clamp(max=2))


class LinearMlp(Plain):
    """A bug: no activation between the layers of an MLP."""

    def __init__(self, vocab_size, input_length, width=32):
        super().__init__(vocab_size, input_length, width)
        for block in self.blocks:
            block.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.Linear(4 * width, width))
