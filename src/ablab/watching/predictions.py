"""Answers beside what they should be, for reducers. Axes: B, P predicted positions, V."""

import torch
from torch import Tensor

from ablab.tasks.config import IGNORED


def is_target(logits: Tensor, targets: Tensor) -> Tensor:
    """Whether each class is the target, (B, P, V); nowhere where nothing is predicted."""
    return targets.unsqueeze(-1) == torch.arange(logits.shape[-1], device=logits.device)


def mean_predicted(values: Tensor, targets: Tensor) -> Tensor:
    """The mean of values (B, P) over the positions where something is predicted."""
    predicted = targets != IGNORED
    # Not by a product: what stands where nothing is predicted may be infinite.
    return torch.where(predicted, values, 0.0).sum() / predicted.sum().clamp(min=1)
