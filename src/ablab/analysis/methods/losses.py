"""Losses of logits in analyses, exact for small losses. Axes: S samples, V tokens."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Values = NDArray[np.float64]


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each sample in nats, (S,), with full relative precision near zero.

    log(1 + Σ_c exp(l_c - l_t)) over the tokens c other than the target t.

    Args:
        logits: (S, V).
        targets: The target tokens, (S,).
    """
    margins = logits - logits.gather(1, targets[:, None])
    margins = margins.scatter_(1, targets[:, None], -torch.inf)
    return F.softplus(margins.logsumexp(1), threshold=40)  # above, it is its argument


def weighted_mean(values: Values, weights: Values, own: NDArray[np.bool_]) -> float:
    """The weighted mean of some samples' values.

    Args:
        values: (S,).
        weights: (S,).
        own: Which samples, (S,).
    """
    return float(weights[own] @ values[own] / weights[own].sum())
