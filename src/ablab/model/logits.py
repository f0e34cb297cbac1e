"""Temperature and bias of attention scores, fixed or learned per head. Axes: B, H, K; Q, S."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from ablab.model.attention_config import AttentionConfig
from ablab.model.parts import Constant


class Temperature(nn.Module):
    """Divides queries, and thereby their products with keys, by τ.

    If learned, each head has a parameter log τ. With ``temperature_of: scores``, the bias of the
    position encoding is divided as well.

    Args:
        own: The settings of attention.
        n_heads: The number of heads.
    """

    ablab_position_wise = True

    def __init__(self, own: AttentionConfig, n_heads: int) -> None:
        super().__init__()
        self.fixed = own.temperature
        self.of_scores = own.temperature_of == "scores"
        self.log = Constant(n_heads, math.log(own.temperature)) if own.learned_temperature else None

    def forward(self, q: Float[Tensor, "B H Q K"]) -> Float[Tensor, "B H Q K"]:
        """Returns q / τ."""
        if self.log is not None:
            return q * (-self.log.weight).exp()[:, None, None].to(q.dtype)
        return q if self.fixed == 1.0 else q / self.fixed

    @property
    def bias_divisor(self) -> float | None:
        """The divisor of the position encoding's bias; None if it is learned."""
        if not self.of_scores:
            return 1.0
        return self.fixed if self.log is None else None

    def divide_bias(self, bias: Float[Tensor, "H Q S"]) -> Float[Tensor, "H Q S"]:
        """The bias of the position encoding, divided by τ if the temperature is of the scores."""
        divisor = self.bias_divisor
        if divisor is None:
            assert self.log is not None, "only a learned temperature has no fixed divisor"
            return bias * (-self.log.weight).exp()[:, None, None].to(bias.dtype)
        return bias if divisor == 1.0 else bias / divisor


class LogitBias(nn.Module):
    """Adds b to the scores, a constant or ``-log n``. If learned, each head has its own b.

    Args:
        own: The settings of attention.
        n_heads: The number of heads.
        n_keys: The maximum number of keys, which is n unless a window is smaller.
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
        """Returns s + b."""
        if self.learned is not None:
            return scores + self.learned.weight[:, None, None].to(scores.dtype)
        return scores if self.fixed == 0.0 else scores + self.fixed
