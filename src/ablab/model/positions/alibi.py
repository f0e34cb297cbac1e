"""ALiBi: adds -m_h (i - j) to s_ij, with a slope m_h for each head.

Press, Smith and Lewis, "Train short, test long" (2022). If H is a power of two, the slopes are
2^{-8h/H} for h = 1 … H. Otherwise they are the slopes of the next lower power of two, followed by
every second one of the next higher.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.model.config import POSITIONS
from ablab.model.parts import AttentionPosition


@POSITIONS.register("alibi")
class Alibi(AttentionPosition):
    """Decreases scores with the distance of query and key, at a different rate in each head."""

    score_bias_is_slopes = True
    ablab_position_wise = True

    def __init__(self, n_heads: int, d_head: int) -> None:
        super().__init__(n_heads, d_head)
        self.slopes = slopes(n_heads)

    def score_bias(
        self, queries: Float[Tensor, " Q"], keys: Float[Tensor, " S"]
    ) -> Float[Tensor, "H Q S"]:
        """-m_h |i - j|; the absolute value only matters in attention that is not causal."""
        distances = (queries[:, None] - keys[None, :]).abs()
        return torch.stack([-slope * distances for slope in self.slopes])


def slopes(n_heads: int) -> list[float]:
    """The slope of each head."""
    lower = 2 ** math.floor(math.log2(n_heads))
    own = [2 ** (-8 * h / lower) for h in range(1, lower + 1)]
    between = [2 ** (-8 * h / (2 * lower)) for h in range(1, 2 * lower + 1, 2)]
    return own + between[: n_heads - lower]
