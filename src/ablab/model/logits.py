"""The scores' temperature and bias, fixed or learned by each head. Axes: B, H, K; Q, S."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from ablab.model.attention_config import AttentionConfig
from ablab.model.parts import Constant


class Temperature(nn.Module):
    """Divides queries, and with them the scores, by τ; learned, it is exp of a head's own number.

    Args:
        own: Attention's settings.
        n_heads: How many heads.
    """

    ablab_position_wise = True

    def __init__(self, own: AttentionConfig, n_heads: int) -> None:
        super().__init__()
        self.fixed = own.temperature
        self.log = Constant(n_heads, math.log(own.temperature)) if own.learned_temperature else None

    def forward(self, q: Float[Tensor, "B H Q K"]) -> Float[Tensor, "B H Q K"]:
        """Q / τ."""
        if self.log is not None:
            return q * (-self.log.weight).exp()[:, None, None].to(q.dtype)
        return q if self.fixed == 1.0 else q / self.fixed


class LogitBias(nn.Module):
    """Adds b to the scores, ``-log n`` or a number; learned, it is each head's own.

    Args:
        own: Attention's settings.
        n_heads: How many heads.
        n_keys: How many keys are read at most, the n of ``-log n``; a window makes it smaller.
    """

    ablab_position_wise = True

    def __init__(self, own: AttentionConfig, n_heads: int, n_keys: int) -> None:
        super().__init__()
        longest = min(n_keys, own.window or n_keys)
        bias = -math.log(longest) if own.logit_bias == "-log n" else own.logit_bias
        assert isinstance(bias, float), "the configuration fills logit_bias"
        self.fixed = bias
        self.learned = Constant(n_heads, bias) if own.learned_logit_bias else None

    def forward(self, scores: Float[Tensor, "B H Q S"]) -> Float[Tensor, "B H Q S"]:
        """S + b."""
        if self.learned is not None:
            return scores + self.learned.weight[:, None, None].to(scores.dtype)
        return scores if self.fixed == 0.0 else scores + self.fixed
