"""Frobenius norm: y = x / sqrt(Σ x² + ε), ``fro_norm`` in the attention-norms logbook.

Each vector has its own norm: the sum is over the last axis only. (``torch.norm`` without ``dim``
computes one norm of the complete batch, which is the bug described in the logbook.)
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ablab.model.config import NORMS
from ablab.model.parts import DividingNorm


@NORMS.register("frobenius")
class FrobeniusNorm(DividingNorm):
    """Euclidean norm one over the last axis, without learned parameters; ε defaults to 1e-12."""

    ablab_position_wise = True
    ablab_divides = True

    def __init__(self, width: int, bias: bool, eps: float = 1e-12) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Returns x / sqrt(Σ x² + ε)."""
        return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + self.eps)

    def scale(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B 1"]:
        """Returns sqrt(Σ x² + ε)."""
        return (x.square().sum(-1, keepdim=True) + self.eps).sqrt()

    def divide(self, x: Float[Tensor, "*B D"], scale: Float[Tensor, "*B 1"]) -> Tensor:
        """Returns x / scale."""
        return x / scale
