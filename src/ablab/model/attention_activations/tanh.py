"""Tanh: w_ij = tanh(s_ij), ``tanh`` in the attention-norms logbook. Weights can be negative."""

from torch import Tensor

from ablab.model.config import ATTENTION_ACTIVATIONS
from ablab.model.parts import Pointwise


@ATTENTION_ACTIVATIONS.register("tanh")
class Tanh(Pointwise):
    """The hyperbolic tangent of each score."""

    kernel = "tanh"
    ablab_position_wise = True

    def weigh(self, scores: Tensor, length: Tensor) -> Tensor:
        """w_ij = tanh(s_ij)."""
        return scores.tanh()
