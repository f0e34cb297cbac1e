"""Helpers for reducers that compare logits with targets. Axes: B, P predicted positions, V."""

import torch
from torch import Tensor

from ablab.tasks.config import IGNORED


def is_target(logits: Tensor, targets: Tensor) -> Tensor:
    """Whether each class is the target, (B, P, V); false at positions without a prediction."""
    return targets.unsqueeze(-1) == torch.arange(logits.shape[-1], device=logits.device)


def mean_predicted(values: Tensor, targets: Tensor) -> Tensor:
    """The mean of values (B, P) over the positions that have a target."""
    predicted = targets != IGNORED
    # No multiplication by the mask: values at other positions may be infinite.
    return torch.where(predicted, values, 0.0).sum() / predicted.sum().clamp(min=1)
