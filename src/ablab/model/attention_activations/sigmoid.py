"""Sigmoid: w_ij = σ(s_ij + b), with b = -log n by default.

Ramapuram et al., "Theory, analysis, and best practices for sigmoid self-attention" (2024,
arXiv 2409.04431). With this bias, the norm of the output is initially close to that of softmax.
"""

from torch import Tensor

from ablab.model.config import ATTENTION_ACTIVATIONS
from ablab.model.parts import Pointwise


@ATTENTION_ACTIVATIONS.register("sigmoid")
class Sigmoid(Pointwise):
    """The sigmoid of each score. The bias is ``attention.logit_bias``, which is in the scores."""

    kernel = "sigmoid"
    ablab_position_wise = True

    def weigh(self, scores: Tensor, length: Tensor) -> Tensor:
        """w_ij = σ(s_ij)."""
        return scores.sigmoid()
