"""Rotary positions: rotates pairs of entries of queries and keys by angles t · 10000^{-2i/K}.

Su et al., "RoFormer" (2021). Entry i is paired with entry i + K/2, as in GPT-NeoX and Llama. The
paper pairs neighbours, which is the same up to the order of a head's entries.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.model.config import POSITIONS
from ablab.model.parts import AttentionPosition, positions


@POSITIONS.register("rope")
class Rope(AttentionPosition):
    """Rotates queries and keys by their position, so that scores depend only on distances."""

    ablab_position_wise = True

    def __init__(self, n_heads: int, d_head: int) -> None:
        super().__init__(n_heads, d_head)
        if d_head % 2:
            raise ValueError(f"rope rotates pairs of entries, so d_head {d_head} must be even")
        self.d_head = d_head

    def rotate(
        self, q: Float[Tensor, "B T H K"], k: Float[Tensor, "B T G K"], first: int
    ) -> tuple[Float[Tensor, "B T H K"], Float[Tensor, "B T G K"]]:
        """Rotates each pair (a, b) to (a cos - b sin, b cos + a sin)."""
        places = positions(first, q.shape[1], q.device)
        pairs = torch.arange(self.d_head // 2, device=q.device).to(places.dtype)
        angles = places[:, None] * torch.pow(10000.0, -2 * pairs / self.d_head)
        cos, sin = angles.cos().to(q.dtype)[:, None], angles.sin().to(q.dtype)[:, None]
        return _rotated(q, cos, sin), _rotated(k, cos, sin)


def _rotated(
    x: Float[Tensor, "B T H K"], cos: Float[Tensor, "T 1 J"], sin: Float[Tensor, "T 1 J"]
) -> Float[Tensor, "B T H K"]:
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
