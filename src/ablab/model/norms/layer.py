"""LayerNorm: y = (x - mean(x)) / sqrt(var(x) + ε) · w + b (Ba, Kiros and Hinton, 2016)."""

from torch import nn

from ablab.model.config import NORMS


@NORMS.register("layer")
class LayerNorm(nn.LayerNorm):
    """Mean zero, variance one over the last axis, then a scale and a bias; ε defaults to 1e-5."""

    ablab_position_wise = True
    ablab_drawn = True

    def __init__(self, width: int, bias: bool, eps: float = 1e-5) -> None:
        super().__init__(width, eps=eps, bias=bias)
