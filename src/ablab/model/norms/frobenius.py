"""Frobenius norm: y = x / sqrt(Σ x² + ε), the attention-norms logbook's ``fro_norm``.

Each vector has its own norm: the sum runs over the last axis alone. (``torch.norm`` without its
``dim`` would take one norm of a whole batch, which is the bug that the logbook tells of.)
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ablab.model.config import NORMS


@NORMS.register("frobenius")
class FrobeniusNorm(nn.Module):
    """A Euclidean norm of one over the last axis; nothing is learned; ε = 1e-12."""

    ablab_position_wise = True

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """X / sqrt(Σ x² + ε)."""
        return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-12)
