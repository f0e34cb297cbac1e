"""The fraction of predictions whose logit gradients no longer sum to zero; precedes loss spikes."""

import torch
from torch import Tensor

from ablab.watching.predictions import is_target, mean_predicted
from ablab.watching.reducer import Place, reducer


def _is_logits(place: Place) -> bool:
    return place.name == "logits"


@reducer("zero_sum_error", "answers", families=("activation_grad",), applies=_is_logits)
def zero_sum_error(grads: Tensor, targets: Tensor) -> Tensor:
    """The fraction of predictions whose target has a gradient of exactly 0 while another has not.

    The gradients of a prediction's logits are p - 1 for the target and p for every other class;
    they sum to zero. If the target's p rounds to one, its gradient is lost, and the others push
    all logits down (arXiv 2605.06152, on loss spikes).
    """
    true = is_target(grads, targets)
    own = torch.where(true, grads, 0.0).abs().sum(-1)
    others = torch.where(true, 0.0, grads).abs().amax(-1)
    lost = ((own == 0) & (others != 0)).to(grads.dtype)
    return mean_predicted(lost, targets)
