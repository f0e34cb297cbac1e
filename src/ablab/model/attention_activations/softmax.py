"""Softmax: w_ij = exp(s_ij) / Σ_k exp(s_ik) (Vaswani et al., "Attention is all you need", 2017)."""

from torch import Tensor

from ablab.model.config import ATTENTION_ACTIVATIONS
from ablab.model.parts import Normalised


@ATTENTION_ACTIVATIONS.register("softmax")
class Softmax(Normalised):
    """Softmax over the keys that are visible to a query; rows sum to one."""

    kernel = "softmax"
    ablab_position_wise = True

    def weights(self, scores: Tensor, hidden: Tensor | None) -> Tensor:
        """w_ij = exp(s_ij) / Σ_k exp(s_ik)."""
        return scores.softmax(dim=-1)
