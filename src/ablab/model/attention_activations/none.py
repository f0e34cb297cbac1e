"""No activation: w_ij = s_ij, linear attention without a feature map.

As in von Oswald et al., "Transformers learn in-context by gradient descent" (2023).
"""

from torch import Tensor

from ablab.model.config import ATTENTION_ACTIVATIONS
from ablab.model.parts import Pointwise


@ATTENTION_ACTIVATIONS.register("none")
class Linear(Pointwise):
    """The scores themselves as weights."""

    ablab_position_wise = True

    def weigh(self, scores: Tensor, length: Tensor) -> Tensor:
        """w_ij = s_ij."""
        return scores
