"""Softmax with a one in its denominator: w_ij = exp(s_ij) / (1 + Σ_k exp(s_ik)).

Miller, "Attention is off by one" (2023), calls it softmax1: a query can attend to nothing.
"""

from torch import Tensor

from ablab.model.config import ATTENTION_ACTIVATIONS
from ablab.model.parts import Normalised


@ATTENTION_ACTIVATIONS.register("softmax1")
class Softmax1(Normalised):
    """Softmax with an additional score of zero that has no key; rows sum to less than one."""

    kernel = "softmax1"
    ablab_position_wise = True

    def weights(self, scores: Tensor, hidden: Tensor | None) -> Tensor:
        """w_ij = exp(s_ij - m) / (exp(-m) + Σ_k exp(s_ik - m)), m the largest score or zero."""
        largest = scores.detach().amax(-1, keepdim=True).clamp(min=0.0)  # (…, Q, 1)
        powers = (scores - largest).exp()
        return powers / (powers.sum(-1, keepdim=True) + (-largest).exp())
