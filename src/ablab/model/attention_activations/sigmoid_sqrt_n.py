"""Sigmoid divided by the square root of the row's length: w_ij = σ(s_ij) / √n_i.

n_i is the number of keys visible to query i. Wortsman et al. (2023, arXiv 2309.08586) scale by
n^(-α); this is α = 1/2.
"""

from torch import Tensor

from ablab.model.config import ATTENTION_ACTIVATIONS
from ablab.model.parts import Pointwise


@ATTENTION_ACTIVATIONS.register("sigmoid_sqrt_n")
class SigmoidSqrtN(Pointwise):
    """The sigmoid of each score, divided by the square root of the number of visible keys."""

    ablab_position_wise = True

    def weigh(self, scores: Tensor, length: Tensor) -> Tensor:
        """w_ij = σ(s_ij) / √n_i."""
        return scores.sigmoid() / length.sqrt()
