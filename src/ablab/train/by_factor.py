"""The loss and accuracy of runs by the factors of a task's samples. Axes: R, B, P."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ablab.tasks.base import Batch, Task
from ablab.tasks.config import IGNORED
from ablab.tasks.factors import DOES_NOT_APPLY, column_suffix


@dataclass(frozen=True)
class Group:
    """The tokens of a batch with one value of a factor.

    Attributes:
        suffix: What follows the name of a measure: ``/FACTOR.VALUE``.
        tokens: Their indices in the flattened (B * P).
        weights: The weight of each in the mean over the group, which sum to 1.
    """

    suffix: str
    tokens: NDArray[np.int64]
    weights: NDArray[np.float64]


Groups = tuple[Group, ...]


def make_groups(task: Task, chosen: Literal["all", "none"] | Sequence[str], batch: Batch) -> Groups:
    """The tokens of a batch by the values of a task's factors; a value without tokens has none.

    In the mean of a loss, samples have equal weight, and so have the predicted tokens of a sample.
    Each token keeps that weight in its group. Therefore the mean over the groups of a factor that
    applies to all tokens, weighted by their share, is the mean over the batch.

    Args:
        task: The task.
        chosen: ``all`` factors, ``none``, or the names of some.
        batch: Arrays with the leading axis B.

    Raises:
        ValueError: The task's labels are not those that its configuration declares.
    """
    declared = task.config.factors
    names = [] if chosen == "none" else [n for n in declared if chosen == "all" or n in chosen]
    if not names:
        return ()
    labels = task.factors(batch)
    known = batch.targets != IGNORED  # (B, P)
    weights = known / np.maximum(known.sum(-1, keepdims=True), 1)
    found = []
    for name in names:
        own = _labels(name, labels, len(declared[name]), batch.targets.shape)
        own = np.where(known, own, DOES_NOT_APPLY).ravel()
        for label, value in enumerate(declared[name]):
            (tokens,) = np.nonzero(own == label)
            if len(tokens):
                mine = weights.ravel()[tokens]
                found.append(Group(column_suffix(name, value), tokens, mine / mine.sum()))
    return tuple(found)


def means_by_group(
    groups: Sequence[Group], values: dict[str, Float[np.ndarray, "R B P"]]
) -> dict[str, NDArray[np.float64]]:
    """The mean of each measure over each group, (R,), by ``MEASURE/FACTOR.VALUE``.

    Args:
        groups: The groups.
        values: The value of each token, by measure.
    """
    flat = {name: every.reshape(len(every), -1) for name, every in values.items()}
    return {
        name + group.suffix: (every[:, group.tokens] * group.weights).sum(-1)
        for group in groups
        for name, every in flat.items()
    }


def _labels(
    name: str, labels: dict[str, NDArray[np.int64]], values: int, shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """A factor's labels of predicted positions, (B, P), after a check."""
    if name not in labels:
        raise ValueError(f"the task declares the factor {name}, but its factors() has no labels")
    own = np.asarray(labels[name])
    if own.shape not in (shape, shape[:1]):
        raise ValueError(
            f"the labels of the factor {name} have shape {own.shape}; expected {shape[:1]} for "
            f"labels of samples or {shape} for labels of predicted positions"
        )
    if own.dtype.kind not in "iu" or own.min() < DOES_NOT_APPLY or own.max() >= values:
        raise ValueError(
            f"the labels of the factor {name} are not integers from 0 to {values - 1}, or "
            f"{DOES_NOT_APPLY} where it does not apply"
        )
    return own if own.ndim == 2 else np.broadcast_to(own[:, None], shape)
