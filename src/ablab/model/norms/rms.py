"""RMSNorm: y = x / sqrt(mean(x²) + ε) · w (Zhang and Sennrich, 2019)."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ablab.model.config import NORMS
from ablab.model.parts import DividingNorm


@NORMS.register("rms")
class RMSNorm(nn.RMSNorm, DividingNorm):
    """Root mean square one over the last axis, then a learned scale; ε defaults to 1e-5."""

    ablab_position_wise = True
    ablab_drawn = True
    ablab_divides = True

    def __init__(self, width: int, bias: bool, eps: float = 1e-5) -> None:
        super().__init__(width, eps=eps)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Normalizes, then scales; separately, because x may have half precision."""
        return F.rms_norm(x, self.normalized_shape, eps=self.eps) * self.weight

    def scale(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B 1"]:
        """Returns sqrt(mean(x²) + ε)."""
        return (x.square().mean(-1, keepdim=True) + (self.eps or 0.0)).sqrt()

    def divide(self, x: Float[Tensor, "*B D"], scale: Float[Tensor, "*B 1"]) -> Tensor:
        """Returns x / scale · w."""
        return x / scale * self.weight
