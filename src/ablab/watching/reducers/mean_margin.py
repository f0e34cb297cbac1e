"""The mean margin of the target's logit over the largest other logit."""

import torch
from torch import Tensor

from ablab.watching.predictions import is_target, mean_predicted
from ablab.watching.reducer import Place, reducer


def _is_logits(place: Place) -> bool:
    return place.name == "logits"


@reducer("mean_margin", "answers", families=("activation",), applies=_is_logits)
def mean_margin(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over predictions of the target's logit minus the largest other logit."""
    true = is_target(logits, targets)
    own = torch.where(true, logits, 0.0).sum(-1)
    other = torch.where(true, -torch.inf, logits).amax(-1)
    return mean_predicted(own - other, targets)
