"""RMSNorm: y = x / sqrt(mean(x²) + ε) · w (Zhang and Sennrich, 2019)."""

from torch import nn

from ablab.model.config import NORMS


@NORMS.register("rms")
class RMSNorm(nn.RMSNorm):
    """A root mean square of one over the last axis, then a learned scale; ε = 1e-5."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__(width, eps=1e-5)
