"""Rotary positions: pairs of a query's or key's entries are turned by an angle t · 10000^{-2i/K}.

Su et al., "RoFormer" (2021). Entry i goes with entry i + K/2, as in GPT-NeoX and Llama; the paper
pairs neighbours, which is the same up to the order of a head's entries.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.model.config import POSITIONS
from ablab.model.parts import AttentionPosition, positions


@POSITIONS.register("rope")
class Rope(AttentionPosition):
    """Queries and keys are turned by where they stand, so scores depend on distances alone."""

    def __init__(self, n_heads: int, d_head: int) -> None:
        super().__init__(n_heads, d_head)
        if d_head % 2:
            raise ValueError(f"rope turns pairs of entries, so d_head {d_head} must be even")
        self.d_head = d_head

    def rotate(self, x: Float[Tensor, "B T H K"], first: int) -> Float[Tensor, "B T H K"]:
        """(a, b) becomes (a cos - b sin, b cos + a sin)."""
        half = self.d_head // 2
        places = positions(first, x.shape[1], x.device)
        pairs = torch.arange(half, device=x.device).to(places.dtype)
        angles = places[:, None] * torch.pow(10000.0, -2 * pairs / self.d_head)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        cos, sin = cos[:, None], sin[:, None]  # (T, 1, K / 2)
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
