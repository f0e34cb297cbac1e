"""Measures shared by several tasks, for answers in which some positions have no target."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ablab.tasks.config import IGNORED


def is_right(logits: Float[Tensor, "B P V"], targets: Int[Tensor, "B P"]) -> Bool[Tensor, "B P"]:
    """Whether the most likely token is the target; false at positions without a target."""
    return logits.argmax(-1) == targets


def mean_over_predicted(
    values: Float[Tensor, "B P"], targets: Int[Tensor, "B P"]
) -> Float[Tensor, ""]:
    """The mean over samples of the mean over the predicted positions of each sample.

    A sample without predicted positions counts as zero.
    """
    known = targets != IGNORED
    sums = torch.where(known, values, 0.0).sum(-1)
    return (sums / known.sum(-1).clamp(min=1)).mean()


def accuracies(logits: Float[Tensor, "B P V"], targets: Int[Tensor, "B P"]) -> dict[str, Tensor]:
    """``accuracy`` and ``sequence_accuracy`` of a batch.

    ``accuracy`` is the mean over samples of the share of correct tokens in a sample.
    ``sequence_accuracy`` is the share of samples in which all predicted tokens are correct.
    """
    right = is_right(logits, targets)
    return {
        "accuracy": mean_over_predicted(right.float(), targets),
        "sequence_accuracy": (right | (targets == IGNORED)).all(-1).float().mean(),
    }
