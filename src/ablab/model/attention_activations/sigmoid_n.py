"""Sigmoid divided by the row's length: w_ij = σ(s_ij) / n_i, with n_i keys visible to query i.

The factor 1 / n is that of Wortsman et al., "Replacing softmax with ReLU in vision
transformers" (2023, arXiv 2309.08586), who also try it with sigmoid.
"""

from torch import Tensor

from ablab.model.config import ATTENTION_ACTIVATIONS
from ablab.model.parts import Pointwise


@ATTENTION_ACTIVATIONS.register("sigmoid_n")
class SigmoidN(Pointwise):
    """The sigmoid of each score, divided by the number of keys visible to its query."""

    ablab_position_wise = True

    def weigh(self, scores: Tensor, length: Tensor) -> Tensor:
        """w_ij = σ(s_ij) / n_i."""
        return scores.sigmoid() / length
