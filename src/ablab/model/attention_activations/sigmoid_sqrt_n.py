"""Sigmoid over the root of the row's length: w_ij = σ(s_ij) / √n_i.

n_i is the number of keys that query i sees. Wortsman et al. (2023, arXiv 2309.08586) scale by
n to a power of their choice; this is the power of one half.
"""

from torch import Tensor

from ablab.model.config import ATTENTION_ACTIVATIONS
from ablab.model.parts import Pointwise


@ATTENTION_ACTIVATIONS.register("sigmoid_sqrt_n")
class SigmoidSqrtN(Pointwise):
    """The sigmoid of each score, over the root of the number of keys that its query sees."""

    ablab_position_wise = True

    def weigh(self, scores: Tensor, length: Tensor) -> Tensor:
        """w_ij = σ(s_ij) / √n_i."""
        return scores.sigmoid() / length.sqrt()
