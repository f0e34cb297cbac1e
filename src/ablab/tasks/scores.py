"""Measures that several tasks share, of answers in which some positions are not predicted."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ablab.tasks.config import IGNORED


def is_right(logits: Float[Tensor, "B P V"], targets: Int[Tensor, "B P"]) -> Bool[Tensor, "B P"]:
    """Whether the likeliest token is the target; false where nothing is predicted."""
    return logits.argmax(-1) == targets


def mean_over_predicted(
    values: Float[Tensor, "B P"], targets: Int[Tensor, "B P"]
) -> Float[Tensor, ""]:
    """The mean over samples of each sample's mean over its predicted positions.

    A sample without any predicted position counts as zero.
    """
    known = targets != IGNORED
    sums = torch.where(known, values, 0.0).sum(-1)
    return (sums / known.sum(-1).clamp(min=1)).mean()


def accuracies(logits: Float[Tensor, "B P V"], targets: Int[Tensor, "B P"]) -> dict[str, Tensor]:
    """``accuracy`` and ``sequence_accuracy`` of a batch.

    ``accuracy`` is the mean over samples of the share of a sample's predicted tokens that are
    right, ``sequence_accuracy`` the share of samples that are right in every predicted token.
    """
    right = is_right(logits, targets)
    return {
        "accuracy": mean_over_predicted(right.float(), targets),
        "sequence_accuracy": (right | (targets == IGNORED)).all(-1).float().mean(),
    }
