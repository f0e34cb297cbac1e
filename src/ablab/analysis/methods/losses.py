"""Losses of logits in analyses, exact for small losses. Axes: S samples, V tokens."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Values = NDArray[np.float64]

# Exponentials of much less are subnormal or zero, and take 20 times as long and more.
_LEAST = {torch.float64: -700.0, torch.float32: -87.0}


def log_sum_exp(values: Tensor) -> Tensor:
    """``values.logsumexp(-1)``, bit for bit, without exponentials that underflow.

    The sum is at least 1, and no term changes by more than 1e-37.

    Args:
        values: (…, V), in single or double precision.
    """
    largest = values.amax(-1, keepdim=True)
    top = torch.where(largest.isinf(), 0.0, largest)
    terms = (values - top).clamp_(min=_LEAST[values.dtype]).exp_()
    found = terms.sum(-1).log_() + top[..., 0]
    return torch.where(largest[..., 0] == -torch.inf, -torch.inf, found)


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each sample in nats, (S,), with full relative precision near zero.

    log(1 + Σ_c exp(l_c - l_t)) over the tokens c other than the target t.

    Args:
        logits: (S, V).
        targets: The target tokens, (S,).
    """
    margins = logits - logits.gather(1, targets[:, None])
    margins = margins.scatter_(1, targets[:, None], -torch.inf)
    return F.softplus(log_sum_exp(margins), threshold=40)  # above, it is its argument


def weighted_mean(values: Values, weights: Values, own: NDArray[np.bool_]) -> float:
    """The weighted mean of some samples' values.

    Args:
        values: (S,).
        weights: (S,).
        own: Which samples, (S,).
    """
    return float(weights[own] @ values[own] / weights[own].sum())
