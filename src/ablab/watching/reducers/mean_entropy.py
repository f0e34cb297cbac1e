"""The mean entropy of probabilities: how widely attention is distributed."""

import torch
from torch import Tensor

from ablab.watching.reducer import Place, reducer


def _is_distribution(place: Place) -> bool:
    return place.is_distribution


@reducer("mean_entropy", families=("activation",), applies=_is_distribution, is_mean=True)
def mean_entropy(x: Tensor) -> Tensor:
    """Mean over all rows of -Σ p log p, in nats, with 0 log 0 = 0 (Shannon, 1948).

    Only for rows that are probabilities, such as the patterns of softmax. The weights of other
    attention activations are not, so they have no column.
    """
    logs = x.clamp(min=torch.finfo(x.dtype).tiny).log()
    entropies: Tensor = torch.linalg.vecdot(x, logs)
    return -entropies.mean()
