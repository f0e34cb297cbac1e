"""LayerNorm: y = (x - mean(x)) / sqrt(var(x) + ε) · w + b (Ba, Kiros and Hinton, 2016)."""

from jaxtyping import Float
from torch import Tensor, nn

from ablab.model.config import NORMS
from ablab.model.parts import DividingNorm


@NORMS.register("layer")
class LayerNorm(nn.LayerNorm, DividingNorm):
    """Mean zero, variance one over the last axis, then a scale and a bias; ε defaults to 1e-5."""

    ablab_position_wise = True
    ablab_drawn = True
    ablab_divides = True

    def __init__(self, width: int, bias: bool, eps: float = 1e-5) -> None:
        super().__init__(width, eps=eps, bias=bias)

    def scale(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B 1"]:
        """Returns sqrt(var(x) + ε)."""
        return (x.var(-1, correction=0, keepdim=True) + self.eps).sqrt()

    def divide(self, x: Float[Tensor, "*B D"], scale: Float[Tensor, "*B 1"]) -> Tensor:
        """Returns (x - mean(x)) / scale · w + b."""
        y = (x - x.mean(-1, keepdim=True)) / scale * self.weight
        return y if self.bias is None else y + self.bias
