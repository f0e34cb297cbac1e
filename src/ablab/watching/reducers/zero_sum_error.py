"""The share of class gradients that no longer sum to zero, which precedes spikes of the loss."""

import torch
from torch import Tensor

from ablab.watching.predictions import is_target, mean_predicted
from ablab.watching.reducer import Place, reducer


def _is_logits(place: Place) -> bool:
    return place.name == "logits"


@reducer("zero_sum_error", "answers", families=("activation_grad",), applies=_is_logits)
def zero_sum_error(grads: Tensor, targets: Tensor) -> Tensor:
    """The share of predictions whose true class has a gradient of exactly 0 while another has not.

    The gradients of a prediction's logits sum to zero, p_true - 1 and all other p. Where p_true
    rounds to one, the first is lost and the rest push all logits down (arXiv 2605.06152, on
    loss spikes).
    """
    true = is_target(grads, targets)
    own = torch.where(true, grads, 0.0).abs().sum(-1)
    others = torch.where(true, 0.0, grads).abs().amax(-1)
    lost = ((own == 0) & (others != 0)).to(grads.dtype)
    return mean_predicted(lost, targets)
