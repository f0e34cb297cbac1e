"""ReLU: w_ij = max(s_ij, 0) (Wortsman et al., 2023, arXiv 2309.08586, who divide by n)."""

from torch import Tensor

from ablab.model.config import ATTENTION_ACTIVATIONS
from ablab.model.parts import Pointwise


@ATTENTION_ACTIVATIONS.register("relu")
class Relu(Pointwise):
    """The positive part of each score."""

    kernel = "relu"
    ablab_position_wise = True

    def weigh(self, scores: Tensor, length: Tensor) -> Tensor:
        """w_ij = max(s_ij, 0)."""
        return scores.relu()
