"""The fraction of predictions whose target has probability one."""

import torch
from torch import Tensor

from ablab.watching.predictions import is_target, mean_predicted
from ablab.watching.reducer import Place, reducer


def _is_logits(place: Place) -> bool:
    return place.name == "logits"


@reducer("full_confidence", "answers", families=("activation",), applies=_is_logits)
def full_confidence(logits: Tensor, targets: Tensor) -> Tensor:
    """The fraction of predictions whose target has softmax 1, in the precision of the logits."""
    own = torch.where(is_target(logits, targets), logits.softmax(-1), 0.0).sum(-1)
    return mean_predicted((own == 1).to(logits.dtype), targets)
